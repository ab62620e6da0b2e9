"""The same question written otherwise: misspelt, in capitals, as keywords, abbreviated.

Each rewrite is a pure function of a text and a random generator, and answers None where there is
nothing to change. They keep what is asked: numbers stand, words keep their order, and a name in the
midst of a sentence is not respelt. All but the misspelling draw nothing from the generator.
Abbreviations, British spelling and stop words are those of English.

After the perturbations of Penha, Câmara and Hauff, "Evaluating the robustness of retrieval
pipelines with query variation generators", ECIR 2022; the edits of a misspelling are the four of
Damerau, "A technique for computer detection and correction of spelling errors", CACM 1964.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from numpy.random import Generator


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One way to write a question otherwise."""

    rewrite: Callable[[str, Generator], str | None]  # None: there is nothing to change
    description: str  # one line, for printing
    phrase: str  # begins a sentence on what was measured: "With misspellings"


def misspelling(text: str, rng: Generator) -> str | None:
    """One edit in a third of the words of four letters and more, at least in one.

    An edit is a neighbouring key of a QWERTY keyboard, two letters swapped, a letter left out or a
    letter doubled, never at the first letter. Words with a digit are left alone, and so are scripts
    without upper and lower case, whose typing errors are others.
    """
    words = [m for m in _WORD.finditer(text) if _is_misspellable(m[0], text[m.end() : m.end() + 1])]
    spans = [match.span() for match in words]
    if not spans:
        return None
    count = max(1, round(len(spans) / 3))
    chosen = sorted(rng.choice(len(spans), size=count, replace=False).tolist())
    pieces, end = [], 0
    for start, stop in (spans[i] for i in chosen):
        pieces += [text[end:start], _edited(text[start:stop], rng)]
        end = stop
    return "".join([*pieces, text[end:]])


def lower_case(text: str, _: Generator) -> str | None:
    """Without capitals."""
    return _unless_same(text, text.lower())


def upper_case(text: str, _: Generator) -> str | None:
    """In capitals only."""
    return _unless_same(text, text.upper())


def no_punctuation(text: str, _: Generator) -> str | None:
    """Without quotation marks, brackets, dashes and the marks that divide or end a sentence.

    Marks in numbers (3.5, 1,000, -5) and symbols (C#, 50%, AT&T, km/h) stay. An apostrophe goes
    without a trace (whats), and so does the full stop of an abbreviation (US, eg); other marks
    leave a blank.
    """
    bare = _MARK.sub(_without_mark, text)
    return None if bare == text else " ".join(bare.split()) or None


def keywords(text: str, _: Generator) -> str | None:
    """What would be typed into a search box: no stop word, question word or question mark.

    None where no word would go, or fewer than two would remain.
    """
    stripped = [word.strip(_AROUND_WORDS) for word in _FINAL_STOP.sub("", text).split()]
    words = [word for word in stripped if any(map(str.isalnum, word))]
    kept = [
        word
        for index, word in enumerate(words)
        if word.lower().replace("’", "'") not in _STOP_WORDS or _is_name(words, index)
    ]
    return " ".join(kept) if 1 < len(kept) < len(words) else None


def abbreviation(text: str, _: Generator) -> str | None:
    """With the short forms that a reader of English would use: US, WWII, km, Prof., %, etc."""
    return _unless_same(text, _shortened(text, _ABBREVIATIONS))


def contraction(text: str, _: Generator) -> str | None:
    """With the contractions of spoken English: what's, don't, it's."""
    return _unless_same(text, _shortened(text, _CONTRACTIONS))


def british_spelling(text: str, _: Generator) -> str | None:
    """American spelling made British: colour, centre, organise, travelled; not within names."""
    words = list(_WORD.finditer(text))
    written = [match[0] for match in words]
    pieces, end = [], 0
    for index, match in enumerate(words):
        if not _is_name(written, index):
            pieces += [text[end : match.start()], _british(match[0])]
            end = match.end()
    return _unless_same(text, "".join([*pieces, text[end:]]))


REWRITES: Mapping[str, Rewrite] = {
    "misspelling": Rewrite(
        misspelling,
        "one typing error in every third word of four letters and more, at least in one",
        "With misspellings",
    ),
    "lower case": Rewrite(lower_case, "without capitals", "In lower case"),
    "upper case": Rewrite(upper_case, "in capitals only", "In upper case"),
    "no punctuation": Rewrite(
        no_punctuation,
        "without question marks, commas, apostrophes, hyphens",
        "Without punctuation",
    ),
    "keywords": Rewrite(keywords, "without stop words and question words", "As keywords"),
    "abbreviation": Rewrite(
        abbreviation,
        "abbreviated where a reader would: US, WWII, km, Prof., %",
        "With abbreviations",
    ),
    "contraction": Rewrite(
        contraction, "contracted as in speech: what's, don't, it's", "With contractions"
    ),
    "British spelling": Rewrite(
        british_spelling,
        "American spelling made British: colour, centre, -ise",
        "In British spelling",
    ),
}
"""name -> rewrite, in the order in which tables show them."""


def _unless_same(before: str, after: str) -> str | None:
    return None if after == before else after


def _is_name(words: Sequence[str], index: int) -> bool:
    """Whether a word has a capital that marks a name.

    A first word is marked as an acronym only (IT, US), and none in a text whose longer words all
    have capitals.
    """
    word = words[index]
    if not word[:1].isupper() or word[:2] in ("I", "I'", "I’"):
        return False
    is_marked = index > 0 or (len(word) > 1 and word.isupper())
    return is_marked and not all(w[:1].isupper() for w in words if len(w) > 3 and w[0].isalpha())


def _in_case_of(word: str, lower: str) -> str:
    """`lower` in the case of `word`: capitals only, a capital first, or as it is."""
    if len(word) > 1 and word.isupper():
        return lower.upper()
    return lower[:1].upper() + lower[1:] if word[:1].isupper() else lower


# misspelling

_WORD = re.compile(r"[^\W_]+")
_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """Letter -> letters whose keys touch its own; each row stands half a key to the right."""
    place = {
        letter: (row, column)
        for row, keys in enumerate(_KEY_ROWS)
        for column, letter in enumerate(keys)
    }
    touching = {(0, -1), (0, 1), (-1, 0), (-1, 1), (1, 0), (1, -1)}
    return {
        a: "".join(b for b in place if (place[b][0] - row, place[b][1] - column) in touching)
        for a, (row, column) in place.items()
    }


_NEIGHBOURS = _neighbours()


def _is_misspellable(word: str, behind: str) -> bool:
    """Whether it is letters with a case only, four at least, and none bears an accent apart."""
    cased = all(c.isalpha() and c.lower() != c.upper() for c in word)
    return len(word) >= 4 and cased and unicodedata.category(behind or " ")[0] != "M"


def _edited(word: str, rng: Generator) -> str:
    """`word` with one edit behind its first letter, which always gives another word."""
    after_first = range(1, len(word))
    places = {
        "neighbour": [i for i in after_first if word[i].lower() in _NEIGHBOURS],
        "swap": [i for i in after_first[:-1] if word[i] != word[i + 1]],
        "leave out": list(after_first),
        "double": list(after_first),
    }
    kinds = [kind for kind in places if places[kind]]
    kind = kinds[rng.integers(len(kinds))]
    i = places[kind][rng.integers(len(places[kind]))]
    head, letter, tail = word[:i], word[i], word[i + 1 :]
    if kind == "neighbour":
        keys = _NEIGHBOURS[letter.lower()]
        return head + _in_case_of(letter, keys[rng.integers(len(keys))]) + tail
    if kind == "swap":
        return head + tail[0] + letter + tail[1:]
    return head + tail if kind == "leave out" else head + letter + letter + tail


# no punctuation

# not within a number, and no sign or point before one
_MARK = re.compile(r"(?!(?<=\d).(?=\d))(?!(?<!\w)[-.,](?=\d))[^\w\s]")
_APOSTROPHES = "'’ʼ"
_SYMBOLS = "#%&@*/\\†‡•§¶‰·"  # Unicode counts them as punctuation; readers say them
_DIVIDING_STOP = re.compile(r"(?<=[^\W\d_]{2})\.(?=[^\W\d_]{2})")  # example.com; not U.S., e.g.


def _without_mark(match: re.Match[str]) -> str:
    """What stands in the place of a mark: itself, nothing, or a blank."""
    mark = match[0]
    if unicodedata.category(mark)[0] != "P" or mark in _SYMBOLS:
        return mark
    is_point = mark == "." and not _DIVIDING_STOP.match(match.string, match.start())
    return "" if is_point or mark in _APOSTROPHES else " "


# keywords

_AROUND_WORDS = "?!,;:…\"“”„«»‘’'()[]{}¿¡。？！"
_FINAL_STOP = re.compile(r"(?<![.\s])(?<!\.\w)\.+\W*$")  # not that of U.S.
_STOP_LIST = """
    a about after all also am an and any are aren't as at be because been before being between
    both but by can can't could couldn't did didn't do does doesn't doing don't during each
    every for from had hadn't has hasn't have haven't having he her here hers him his how how's
    i i'd i'll i'm i've if in into is isn't it it's its just let's many may me might mine much
    must my of off on one's onto or our ours over shall she should shouldn't so some such than
    that that's the their theirs them then there there's these they they're this those through
    to too under until up upon us very was wasn't we we're were weren't what what's whats when
    when's where where's whether which while who who's whom whose why why's will with within
    would wouldn't you you're your yours
"""
_STOP_WORDS = frozenset(_STOP_LIST.split())


# abbreviation, contraction

# short form = long forms, divided by |; each stands for whole words in any case
_ACRONYMS = """
    USA = United States of America
    US = United States
    UK = United Kingdom
    EU = European Union
    UN = United Nations
    USSR = Soviet Union
    NYC = New York City
    LA = Los Angeles
    WWII = World War II | World War Two | Second World War
    WWI = World War I | World War One | First World War
    NASA = National Aeronautics and Space Administration
    NATO = North Atlantic Treaty Organization
    WHO = World Health Organization
    FBI = Federal Bureau of Investigation
    CIA = Central Intelligence Agency
    NBA = National Basketball Association
    NFL = National Football League
    MIT = Massachusetts Institute of Technology
    GDP = gross domestic product
    CEO = chief executive officer
    AI = artificial intelligence
    IQ = intelligence quotient
    CPU = central processing unit | central processor
    GPS = global positioning system
    DNA = deoxyribonucleic acid
    RNA = ribonucleic acid
    HIV = human immunodeficiency virus
    MRI = magnetic resonance imaging
    UV = ultraviolet
    CO2 = carbon dioxide
    TV = television
    TVs = televisions
    PM = prime minister
    MP = member of parliament
    MPs = members of parliament
    km/h = kilometers per hour | kilometres per hour
    mph = miles per hour
    km² = square kilometers | square kilometres
    km = kilometer | kilometre | kilometers | kilometres
    cm = centimeter | centimetre | centimeters | centimetres
    mm = millimeter | millimetre | millimeters | millimetres
    kg = kilogram | kilograms | kilo | kilos
    mg = milligram | milligrams
    ml = milliliter | millilitre | milliliters | millilitres
    °C = degrees Celsius | degrees centigrade
    °F = degrees Fahrenheit
"""
# these take the case of what they stand for
_SHORT_WORDS = """
    etc. = and so on | and so forth | et cetera
    e.g. = for example | for instance
    vs. = versus
    approx. = approximately
    the no. of = the number of
    dr. = doctor
    prof. = professor
    govt = government
    govts = governments
    dept = department
    depts = departments
    max = maximum
    min = minimum
    avg = average
    temp = temperature
    temps = temperatures
    info = information
    intl = international
    lab = laboratory
    labs = laboratories
    exam = examination
    exams = examinations
    math = mathematics
    photo = photograph
    photos = photographs
    phone = telephone
    fridge = refrigerator
    flu = influenza
    ad = advertisement
    ads = advertisements
    app = application
    apps = applications
    mn = million
    bn = billion
    hrs = hours
    mins = minutes
    secs = seconds
    yrs = years
    ft = feet
    lbs = pounds
    w/o = without
"""
_CONTRACTED_NOT = """
    can't = cannot | can not
    won't = will not
    don't = do not
    doesn't = does not
    didn't = did not
    isn't = is not
    aren't = are not
    wasn't = was not
    weren't = were not
    couldn't = could not
    wouldn't = would not
    shouldn't = should not
    haven't = have not
    hasn't = has not
    hadn't = had not
"""
# only before another word: nobody says "what it's"
_CONTRACTED_VERBS = """
    what's = what is
    who's = who is
    where's = where is
    how's = how is
    there's = there is
    it's = it is
    i'm = I am
    you're = you are
    we're = we are
    they're = they are
"""
# only with a capital: a march is no month
_CAPITALISED = """
    Jan. = January
    Feb. = February
    Mar. = March
    Apr. = April
    Aug. = August
    Sept. = September
    Oct. = October
    Nov. = November
    Dec. = December
    Mon. = Monday
    Tue. = Tuesday
    Wed. = Wednesday
    Thu. = Thursday
    Fri. = Friday
"""
# only with a capital, behind another word: Harvard University, not Road House
_AFTER_NAMES = """
    Univ. = University
    Assoc. = Association
    Co. = Company
    Corp. = Corporation
    Ave. = Avenue
    Rd. = Road
"""
# only before a name: a president alone is none to shorten
_BEFORE_NAMES = """
    Pres. = President
    Gov. = Governor
    Sen. = Senator
    Rep. = Representative
    Capt. = Captain
    Lt. = Lieutenant
    Sgt. = Sergeant
    Rev. = Reverend
    Mr. = Mister
    St. = Saint
    Mt. = Mount
    Ft. = Fort
"""

_Shortening: TypeAlias = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _rows(table: str) -> dict[str, str]:
    """Long form in lower case, one blank between words -> short form."""
    rows = (line.split(" = ") for line in table.strip().splitlines())
    return {
        long.strip().lower(): short.strip() for short, forms in rows for long in forms.split("|")
    }


def _shortening(
    table: str,
    *,
    follows_case: bool = False,
    any_case: bool = True,
    behind: str = "",
    ahead: str = "",
) -> _Shortening:
    """Pattern of a table's long forms, longest first, and what to put in the place of a match."""
    rows = _rows(table)
    longest = sorted(rows, key=len, reverse=True)
    written = longest if any_case else [long.capitalize() for long in longest]
    forms = "|".join(r"\s+".join(map(re.escape, long.split())) for long in written)

    def replaced(match: re.Match[str]) -> str:
        short = rows[" ".join(match[1].lower().split())]
        if follows_case:
            short = _in_case_of(match[1], short)
        if not short.endswith("."):
            return short + match[2]
        is_possessive = match.string[match.end() :].startswith(("'", "’"))
        return match[0] if is_possessive else short  # its full stop is the sentence's too

    pattern = rf"{behind}(?<![\w'’-])((?a:{forms}))(?![\w-]){ahead}(\.?)"
    return re.compile(pattern, re.IGNORECASE if any_case else 0), replaced


_ABBREVIATIONS: tuple[_Shortening, ...] = (
    (re.compile(r"(?:(?<=\d)\s+|\b)(?:percent|per\s+cent)\b", re.IGNORECASE), "%"),
    _shortening(_ACRONYMS),
    _shortening(_SHORT_WORDS, follows_case=True),
    _shortening(_CAPITALISED, any_case=False),
    _shortening(_AFTER_NAMES, any_case=False, behind=r"(?<=\w\s)"),
    _shortening(_BEFORE_NAMES, any_case=False, ahead=r"(?=\s+[A-Z])"),
)
_CONTRACTIONS = (
    _shortening(_CONTRACTED_NOT, follows_case=True),
    _shortening(_CONTRACTED_VERBS, follows_case=True, ahead=r"(?=\s+\w)"),
)


def _shortened(text: str, shortenings: Iterable[_Shortening]) -> str:
    for pattern, replacement in shortenings:
        text = pattern.sub(replacement, text)
    return text


# British spelling

# American, British; words that are British in one sense only (program, practice, tire) are left out
_DIFFERENT = """
    aging ageing airplane aeroplane airplanes aeroplanes aluminum aluminium analog analogue
    analogs analogues anemia anaemia anemic anaemic anesthesia anaesthesia anesthetic anaesthetic
    anesthetics anaesthetics archeological archaeological archeologist archaeologist
    archeologists archaeologists archeology archaeology armory armoury artifact artefact
    artifacts artefacts ax axe behavioral behavioural behaviorally behaviourally catalog catalogue
    catalogs catalogues centerpiece centrepiece cesarean caesarean cesium caesium
    counselor counsellor counselors counsellors cozy cosy defense defence defenseless defenceless
    defenses defences dialog dialogue dialogs dialogues diarrhea diarrhoea donut doughnut
    donuts doughnuts edema oedema enroll enrol enrollment enrolment enrollments enrolments
    enrolls enrols esophagus oesophagus estrogen oestrogen fecal faecal feces faeces fetal foetal
    fetus foetus fetuses foetuses fulfill fulfil fulfillment fulfilment fulfills fulfils
    gonorrhea gonorrhoea gray grey grayish greyish grays greys gynecology gynaecology
    hematology haematology hemoglobin haemoglobin hemophilia haemophilia hemorrhage haemorrhage
    hemorrhages haemorrhages hemorrhoid haemorrhoid hemorrhoids haemorrhoids
    installment instalment installments instalments jewelry jewellery judgment judgement
    judgments judgements leukemia leukaemia maneuver manoeuvre maneuvered manoeuvred
    maneuvering manoeuvring maneuvers manoeuvres marvelous marvellous marvelously marvellously
    math maths mold mould molded moulded molding moulding molds moulds moldy mouldy molt moult
    molting moulting mom mum moms mums mustache moustache mustaches moustaches offense offence
    offenses offences orthopedic orthopaedic pajamas pyjamas paleolithic palaeolithic
    paleontologist palaeontologist paleontologists palaeontologists paleontology palaeontology
    pediatric paediatric pediatrician paediatrician pediatricians paediatricians
    pediatrics paediatrics pedophile paedophile pedophilia paedophilia plow plough plowed ploughed
    plowing ploughing plows ploughs pretense pretence savory savoury skeptic sceptic
    skeptical sceptical skepticism scepticism skeptics sceptics skillful skilful
    skillfully skilfully smolder smoulder smoldering smouldering sulfate sulphate
    sulfates sulphates sulfide sulphide sulfides sulphides sulfur sulphur sulfuric sulphuric
    thalassemia thalassaemia willful wilful willfully wilfully woolen woollen woolens woollens
"""
_OUR = """
    arbor ardor armor behavior candor clamor clangor color demeanor discolor dishonor disfavor
    endeavor favor fervor flavor glamor harbor honor humor labor misdemeanor multicolor neighbor
    odor parlor rancor rigor rumor savior savor splendor succor tumor unfavor valor vapor vigor
    watercolor
"""
_OUR_ENDINGS = (
    " s ed ing ings er ers ful fully less able ably ite ites itism ist ists hood hoods ly"
)
_RE = """
    amphitheater caliber center centiliter centimeter epicenter fiber goiter kilometer liter louver
    luster meager meter micrometer milliliter millimeter nanometer ocher saber scepter
    sepulcher somber specter theater
"""
_RE_ENDINGS = {"": "re", "s": "res", "ed": "red", "ing": "ring"}
_DOUBLED_L = """
    bevel cancel channel chisel counsel dial dishevel duel enamel equal fuel funnel gravel grovel
    initial jewel kennel label level libel marvel model panel parcel pedal pencil quarrel refuel
    revel rival shovel shrivel signal snivel snorkel spiral stencil swivel total travel tunnel
    unravel yodel
"""


def _british_words() -> dict[str, str]:
    pairs = _DIFFERENT.split()
    words = dict(zip(pairs[::2], pairs[1::2], strict=True))
    for stem in _OUR.split():
        words |= {stem + end: stem[:-2] + "our" + end for end in _OUR_ENDINGS.split(" ")}
    for stem in _RE.split():
        words |= {stem + end: stem[:-2] + british for end, british in _RE_ENDINGS.items()}
    for stem in _DOUBLED_L.split():
        words |= {stem + end: stem + "l" + end for end in ("ed", "ing", "er", "ers", "ings")}
    words |= {"fiberglass": "fibreglass", "honorable": "honourable"}
    return words


_BRITISH = _british_words()
# three letters at least before it, which leaves out size, prize, seize, maize
_IZE = re.compile(r"(\w{3,})iz(es?|ed|ers?|ing|able|ations?|ational|ationally)")
_YZE = re.compile(r"(\w*ly)z(es?|ed|ers?|ing)")
_KEEPS_Z = re.compile(r"(assi|beli|(cap|down|king|mid|out|over|re|super|under|up)si)z.*")


def _british(word: str) -> str:
    lower = word.lower()
    if lower in _BRITISH:
        return _in_case_of(word, _BRITISH[lower])
    found = _IZE.fullmatch(lower)
    if found and not _KEEPS_Z.fullmatch(lower):
        return _in_case_of(word, f"{found[1]}is{found[2]}")
    if found := _YZE.fullmatch(lower):
        return _in_case_of(word, f"{found[1]}s{found[2]}")
    return word
