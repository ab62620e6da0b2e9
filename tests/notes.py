"""Eight short notes, what many tests search."""

NOTES = [
    "Plants make sugar from water, air and light. This is called photosynthesis.",
    "Tea is made by pouring hot water over the dried leaves of an evergreen shrub.",
    "A glacier is a river of ice that flows slowly downhill under its own weight.",
    "The cello is held between the knees and sounds an octave lower than the viola.",
    "Vaccines teach the immune system to recognise a germ before it meets it.",
    "A lighthouse warns ships of rocks with a lamp that can be seen for miles.",
    "Bees tell each other where flowers are by dancing in the dark of the hive.",
    "Chess is played on sixty-four squares by two players with sixteen pieces each.",
]
