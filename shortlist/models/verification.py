"""Real text that an export is checked on, written for this: questions, and what answers them.

The data of an evaluation would not do: a model must be refused or accepted without it.
"""

from __future__ import annotations

# Of different lengths, so that padding and dynamic shapes are exercised.
VERIFICATION_TEXTS = (
    "How do plants make food?",
    "Plants make sugar from water and carbon dioxide, with light as the source of energy.",
    "tea",
    "The first lighthouse keepers trimmed wicks by hand, several times every night, and wrote the "
    "weather, the passing ships and the state of the lamp into a book that nobody was to read.",
    "Naïve café owners — 42 % of them — said: “¿qué?”",
)

# (question, passage that answers it)
QUESTIONS_AND_ANSWERS = (
    ("why is the sky blue", "Air scatters short wavelengths of sunlight far more than long ones."),
    (
        "How long does it take to boil an egg?",
        "A medium egg put into boiling water has a firm white and a soft yolk after about six "
        "minutes; after ten the yolk is hard all the way through.",
    ),
    (
        "who painted the ceiling of the Sistine Chapel",
        "Michelangelo worked on the vault between 1508 and 1512, standing on a scaffold of his own "
        "design. He had thought of himself as a sculptor and took the commission unwillingly. The "
        "scenes from Genesis are painted in fresco, on plaster laid fresh every morning, so that "
        "each day's work had to be finished before it dried.",
    ),
    (
        "what is compound interest?",
        "Interest is paid on the sum first put in and on all the interest that it has earned.",
    ),
    (
        "Can dogs eat chocolate?",
        "Theobromine, harmless to people, is broken down slowly by dogs: dark chocolate can poison "
        "a small one. Signs are restlessness, vomiting and a fast heartbeat; call a vet at once.",
    ),
    (
        "how to remove a stripped screw",
        "Lay a wide rubber band over the head and press the driver through it into the recess. If "
        "that does not grip, cut a new slot with a small saw or drill out the head.",
    ),
    (
        "What causes the tides in the ocean?",
        "The Moon pulls more strongly on the water that is near it than on the Earth as a whole, "
        "and least on the water at the far side, so that two bulges form. As the Earth turns "
        "beneath them most coasts see two high waters a day, about fifty minutes later each day "
        "because the Moon has moved on. The Sun does the same at a little under half the strength: "
        "when both stand in one line the range is greatest, and at half moon it is smallest.",
    ),
    ("capital of Mongolia", "Ulaanbaatar lies in a valley of the Tuul, 1,350 metres high."),
    (
        "difference between a virus and a bacterium",
        "A bacterium is a living cell that feeds and divides by itself. A virus is a piece of "
        "genetic material in a coat of protein; only inside a cell can it be copied. Antibiotics "
        "act against the first and not against the second.",
    ),
    (
        "When did the Berlin Wall fall?",
        "On the evening of 9 November 1989 a spokesman announced, by mistake, that the new rules "
        "for travel were in force immediately. Crowds went to the crossings, and before midnight "
        "the guards at Bornholmer Straße opened the barrier.",
    ),
    (
        "python list vs tuple",
        "A tuple cannot be changed once it is made, so it can be the key of a dictionary; a list "
        "grows and shrinks with append(), pop() and del.",
    ),
    (
        "how do vaccines work",
        "They show the immune system a harmless part or form of a germ. Cells that recognise it "
        "multiply and some of them remain for years, so that the germ itself meets a defence that "
        "is ready in days instead of weeks.",
    ),
    (
        "What should I do if my phone falls in water?",
        "Switch it off, take out the card, wipe it and let it lie in moving air for two days. Rice "
        "does not help, and heat from a dryer drives the water further in.",
    ),
    (
        "average rainfall in the Atacama desert",
        "Some stations between the coast and the Andes have recorded less than 3 mm a year, and "
        "years without a single drop. Two ranges of mountains and a cold current offshore keep "
        "moist air away; where fog drifts in from the sea, nets catch enough water for villages.",
    ),
    (
        "is it safe to take ibuprofen and paracetamol together",
        "Healthy adults may take both at their usual doses, since they work in different ways and "
        "are broken down by different organs. People with ulcers, asthma or kidney disease should "
        "ask a pharmacist about ibuprofen first.",
    ),
    (
        "Who invented the printing press?",
        "Movable type of fired clay was used in China by Bi Sheng about 1040, and of metal in "
        "Korea in the fourteenth century. Johannes Gutenberg, a goldsmith of Mainz, put together a "
        "hand mould for casting type, an oily ink and a press like those of wine growers, and by "
        "1455 had printed some 180 copies of a Bible. Within fifty years there were presses in "
        "more than two hundred towns of Europe, and books cost a tenth of what a scribe asked.",
    ),
    ("best way to learn chess openings", "Play one opening, and go over the games that you lost."),
    (
        "how is glass recycled",
        "It is sorted by colour, crushed to cullet, cleaned of labels and metal, and melted with "
        "sand, soda and lime. Each tenth of cullet in the furnace saves about three per cent of "
        "the energy, and the glass is as good as new however often this is done.",
    ),
    (
        "why do cats purr",
        "Muscles of the larynx narrow the glottis 25 to 150 times a second while the cat breathes "
        "in and out. Cats purr when they are content, but also when hurt or giving birth.",
    ),
    (
        "What does the heart rate of a trained runner look like at rest?",
        "Forty to fifty beats a minute are usual: the heart moves more blood with every beat.",
    ),
    (
        "symptoms of vitamin D deficiency",
        "Often there are none. Long lasting shortage softens the bones: adults feel a dull ache "
        "in the back and hips and weakness in the thighs, and children's legs bend.",
    ),
    (
        "How were the pyramids built?",
        "Blocks of limestone were quarried beside the site and dragged on sledges over wetted sand "
        "and up ramps, whose remains have been found; granite came by boat from Aswan. Papyri from "
        "Wadi al-Jarf, the diary of a foreman named Merer, tell of some forty men who carried "
        "stone from Tura on the Nile and on canals, month after month, in the twenty-seventh "
        "year of Khufu. They were paid in bread, beer and cloth, lived in a town with bakeries "
        "and a harbour, and were buried near the king. How the last blocks were raised to the "
        "top is still argued about.",
    ),
    ("convert 100 fahrenheit to celsius", "100 °F are 37.8 °C: subtract 32, then times 5/9."),
    (
        "which planet has the most moons",
        "Saturn, with 274 that are confirmed; Jupiter follows with fewer than a hundred.",
    ),
)
