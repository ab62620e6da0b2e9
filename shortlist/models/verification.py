"""Real text that an export is checked on, written for this: questions, and what answers them.

The data of an evaluation would not do: a model must be refused or accepted without it.
"""

from __future__ import annotations

# Of different lengths: an export must follow the shapes.
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

# For a model that reads texts in many languages an English one proves little.
IN_OTHER_LANGUAGES = (
    "Im Herbst ziehen die Kraniche in großen Keilen über das Moor nach Südwesten.",
    "La fábrica cerró en 1987 y desde entonces el edificio sirve de almacén municipal.",
    "Весной снег тает быстро, и дороги в долине на две недели становятся непроезжими.",
    "秋になると、山の木の葉が赤や黄色に変わります。",
)

# Short and long, plain and odd: what the scales of an int8 graph must have room for. None of them
# is among the texts that the graph is then held to.
TEXTS_OF_MANY_KINDS = (
    "what time is it",
    "Bread",
    "where do swifts sleep?",
    "how much does it cost to rewire a three bedroom house uk",
    "Is it true that hot water freezes faster than cold water?",
    "The ferry leaves at seven from the old pier, and on Sundays at nine; dogs travel free, "
    "bicycles cost four crowns, and whoever misses it can walk round the bay in three hours at "
    "low tide.",
    "Swifts feed, mate and even sleep on the wing, rising at dusk to some two thousand metres "
    "and gliding down through the night with one half of the brain awake. A young bird that "
    "leaves the nest may not touch anything solid again for two or three years.",
    "def median(values: list[float]) -> float:\n    ordered = sorted(values)\n    middle = "
    "len(ordered) // 2\n    if len(ordered) % 2:\n        return ordered[middle]\n    return "
    "(ordered[middle - 1] + ordered[middle]) / 2\n",
    "SELECT name, COUNT(*) AS visits FROM guests WHERE arrived >= '2019-05-01' GROUP BY name "
    "HAVING COUNT(*) > 3 ORDER BY visits DESC LIMIT 20;",
    '{"id": 4711, "status": "shipped", "items": [{"sku": "AX-90", "qty": 2, "price": 19.95}], '
    '"address": null}',
    "ERROR 2021-03-14T02:11:09Z [worker-7] connection reset by peer (attempt 3 of 5), retrying "
    "in 8.0s: https://example.org/api/v2/orders?page=17&sort=-created",
    "Ingredients: 250 g flour, 125 g butter, 1 egg, a pinch of salt, 2 tbsp cold water. Rub the "
    "butter into the flour, bind it with the egg and the water, and let it rest for half an hour.",
    "Total revenue rose 12.4 % to $3.81bn (2018: $3.39bn), while operating income fell to $402m "
    "on restructuring charges of $118m; the board proposes a dividend of 27 cents a share.",
    "Patients received 40 mg of the drug or placebo twice daily for 12 weeks (n = 214). The "
    "primary endpoint, change in FEV1 from baseline, improved by 0.11 L (95% CI 0.04 to 0.18; p "
    "= 0.002). Adverse events were mild: headache in 9 %, nausea in 6 %, and two withdrawals for "
    "rash.",
    "The heat flux q from a surface at temperature T is proportional to T^4; for a grey body it "
    "is multiplied by the emissivity. At high Reynolds numbers the boundary layer becomes "
    "turbulent and the transfer of heat by convection grows by an order of magnitude.",
    "This Agreement shall be governed by and construed in accordance with the laws of the State "
    "in which the Property is situated, and any dispute arising hereunder shall be submitted to "
    "arbitration, the costs of which shall be borne equally by the Parties.",
    "WORST HOTEL EVER!!! the room smelled of smoke, no hot water, staff couldn't care less... "
    "and they charged us TWICE for parking :( never again, save ur money ppl",
    "I bought these headphones for my commute; they're light, they fold flat, and after eight "
    "months the left hinge is only a little loose. The bass is thin. For the price I'd buy them "
    "again.",
    "Anna Karolina Lindqvist (born 3 April 1911 in Umeå; died 19 August 1987) was a Swedish "
    "botanist and illustrator. She described 41 species of lichens, four of which carry her "
    "name, and was the first woman to lead the herbarium, from 1952 until she retired in 1976.",
    "The Battle of the Two Bridges was fought on 2 November 1632 between some 9,000 men under "
    "Duke Albrecht and a smaller force that held the northern bank. Fog hid the crossing until "
    "noon; by nightfall the town was burning, and both sides claimed the victory.",
    "The river rises in the Grey Mountains at 2,140 m, flows north-west for 312 km through the "
    "towns of Karst, Ohm and Lower Vale, and enters the sea in a delta of seven arms. Its basin "
    "of 18,400 square kilometres is home to 1.2 million people, most of whom live along the last "
    "sixty kilometres, where the soil is deep and the winters are mild. Floods in April and May, "
    "when the snow melts, were feared until the reservoir was finished in 1968; since then the "
    "river has risen above its banks only twice. Trout and grayling live in the upper course, "
    "bream and pike below the falls. Barges of up to a thousand tonnes reach Ohm, and a canal, "
    "dug by hand between 1794 and 1811, links it with the lakes in the east.",
    "- sunscreen\n- passports (2x)\n- adapter, charger\n- book for L.\n- call bank re: card abroad",
    "Do not go where the path may lead; and if you must, take bread.",
    "“Nobody,” said the captain, “leaves this ship before the lamp is lit.” Then he sat down on "
    "a coil of rope, and the wind, which had been rising since noon, dropped all at once.",
    "RT @harbour_news: gates CLOSED until 18:30 due to high water 🌊 #flood #traffic",
    "Der Zug nach Süden fährt heute von Gleis 7; Reisende mit Fahrrädern steigen bitte hinten ein.",
    "El museo abre de martes a domingo, y los jueves la entrada es gratuita después de las seis.",
    "Les élèves ont planté douze pommiers derrière l'école, où il n'y avait que des orties.",
    "Поезд опоздал на сорок минут, и мы успели выпить чаю на станции.",
    "図書館は九時に開きます。月曜日は休みです。",
    "ذهبت إلى السوق صباحا واشتريت الخبز والتمر.",
    "नदी के किनारे एक पुराना बरगद का पेड़ है।",
    "x_i = a_i + b_i * t, for i = 1, ..., n; min ||Ax - b||^2 s.t. x >= 0",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "!!! ??? ... --- *** ((( ))) [[ ]] {{ }} << >> // \\\\ && || == != ~~ ``",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa zzzzzzzz qwertyuiop asdfghjkl",
    "tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea tea",
    "",
)

# Cut to what a model reads, but for those that read whole chapters.
LONG_TEXT = " ".join(answer for _, answer in QUESTIONS_AND_ANSWERS)
