"""What a reader of the page would see of a template; most templates are furniture and give "".

A template's parts arrive already rendered: positional ones as a list, named ones as a dict.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Positional: TypeAlias = list[str]
Named: TypeAlias = dict[str, str]
_Rule: TypeAlias = Callable[[Positional, Named], str]

_NAMED = re.compile(r"(\w[\w .-]{0,40}?)\s*=(.*)", re.DOTALL)
_PREFIX = re.compile(r"(?:template|mall|vorlage|modèle|plantilla|veidne|taiss)\s*:\s*")

_UNITS = {
    "km2": "km²", "m2": "m²", "cm2": "cm²", "mi2": "sq mi", "sqmi": "sq mi", "sqft": "sq ft",
    "ft2": "sq ft", "m3": "m³", "km3": "km³", "cm3": "cm³", "c": "°C", "f": "°F", "in": "in",
    "foot": "ft", "impgal": "imp gal", "usgal": "US gal", "nmi": "nmi", "kph": "km/h",
}  # fmt: skip
_RANGES = {
    "-": "–", "–": "–", "to": " to ", "to(-)": " to ", "and": " and ", "or": " or ", "x": " × ",
    "by": " by ", "×": " × ", "+/-": " ± ", "±": " ± ", "and(-)": " and ",
}  # fmt: skip


def render(name: str, parts: list[str]) -> str:
    """Render the template `name` with the raw `parts` between its bars.

    >>> render("convert", ["5", "km", "mi"])
    '5 km'
    >>> render("Infobox person", ["name = Ada"])
    ''
    """
    key = _PREFIX.sub("", " ".join(name.replace("_", " ").split()).casefold())
    positional: Positional = []
    named: Named = {}
    for part in parts:
        if match := _NAMED.match(part.lstrip()):
            named[match[1].strip().casefold()] = match[2].strip()
        else:
            positional.append(part.strip())
    while f"{len(positional) + 1}" in named:  # {{lang|fr|2=mot}} is how an equals sign is written
        positional.append(named[f"{len(positional) + 1}"])
    if key.startswith(("lang-", "vol-")):
        return _first(positional, named)
    if key.startswith(("formatnum:", "lc:", "uc:", "lcfirst:", "ucfirst:")):
        return " ".join(name.split()).partition(":")[2]
    rule = RULES.get(key)
    return rule(positional, named) if rule else ""


def _at(index: int) -> _Rule:
    def rule(positional: Positional, _: Named) -> str:
        return positional[index] if -len(positional) <= index < len(positional) else ""

    return rule


def _first(positional: Positional, named: Named) -> str:
    return positional[0] if positional else named.get("text", "")


def _always(text: str) -> _Rule:
    return lambda *_: text


def _joined(separator: str) -> _Rule:
    return lambda positional, _: separator.join(part for part in positional if part)


def _around(before: str, after: str) -> _Rule:
    def rule(positional: Positional, _: Named) -> str:
        return f"{before}{positional[0]}{after}" if positional and positional[0] else ""

    return rule


def _convert(positional: Positional, _: Named) -> str:
    """{{convert|5|-|10|km|mi}} -> "5–10 km", {{convert|6|ft|2|in|m}} -> "6 ft 2 in"."""
    values = [part.replace("&nbsp;", " ") for part in positional]
    if len(values) < 2:
        return "".join(values)
    text, rest = values[0], values[1:]
    while len(rest) >= 3 and rest[0].casefold() in _RANGES:
        text += _RANGES[rest[0].casefold()] + rest[1]
        rest = rest[2:]
    text += " " + _unit(rest[0])
    if len(rest) >= 3 and re.fullmatch(r"[\d.,/+]+", rest[1]) and rest[2].isalpha():
        text += f" {rest[1]} {_unit(rest[2])}"  # a second figure with its unit, not a precision
    return text


def _unit(name: str) -> str:
    return _UNITS.get(name.casefold() if len(name) > 1 else name.lower(), name)


def _value(positional: Positional, named: Named) -> str:
    """{{val|1.5|e=6|u=m/s}} -> "1.5×10^6 m/s"."""
    number = positional[0] if positional else ""
    if len(positional) > 1 and positional[1]:
        number += f"±{positional[1]}"
    power = f"×10^{named['e']}" if named.get("e") else ""
    unit = named.get("u") or named.get("ul") or ""
    return f"{number}{power} {unit}".rstrip()


def _fraction(positional: Positional, _: Named) -> str:
    match positional:
        case [whole, top, bottom, *_]:
            return f"{whole} {top}/{bottom}"
        case [top, bottom]:
            return f"{top}/{bottom}"
        case [bottom]:
            return f"1/{bottom}"
        case _:
            return ""


def _nihongo(positional: Positional, _: Named) -> str:
    english, *others = positional or [""]
    inside = ", ".join(part for part in others[:2] if part)
    return f"{english} ({inside})" if english and inside else english or inside


def _as_of(positional: Positional, named: Named) -> str:
    word = "as of" if named.get("lc") else "As of"
    word = "Since" if named.get("since") else word
    return named.get("alt") or f"{word} {'-'.join(part for part in positional[:3] if part)}"


def _quote(positional: Positional, named: Named) -> str:
    """Stand quotations on their own, as the reader sees them."""
    text = named.get("text") or named.get("quote") or (positional[0] if positional else "")
    return f"\n\n{text}\n\n"


def _nuclide(positional: Positional, named: Named) -> str:
    """{{nuclide|Carbon|14}} -> "carbon-14"."""
    parts = positional or [named.get("element", ""), named.get("mass", "")]
    return "-".join(part for part in parts[:2] if part)


_RULES_BY_NAMES: list[tuple[str, _Rule]] = [
    (
        "nowrap, nobr, small, smaller, big, larger, nobold, noitalic, unicode, vanchor, linktext, "
        "visible anchor, abbr, tooltip, mono, code, kbd, key, keypress, var, samp, tt, em, strong, "
        "sc, smallcaps, small caps, resize, overline, underline, strike, sic, native name, "
        "not a typo, proper name, nastaliq, hebrew, polytonic, cuneiform, ill, illm, "
        "interlanguage link, flag, flagu, flagcountry, lipp, pisilipp, plipp, väiksem, pisi, "
        "suurem, title, gloss, unichar, section link, nts, number, ordinal, center, right, indent, "
        "poem, asiantitle, sub",
        _first,
    ),
    ("audio, lang, langx, rtl-lang, script, wikt-lang, color, colour, langwithname, tlit", _at(1)),
    ("transl, transliteration, fontcolor, font color, align, hover title", _at(-1)),
    ("quote, blockquote, cquote, quotation, rquote, quote box, tsitaat, zitat", _quote),
    ("convert, cvt, conv", _convert),
    ("val", _value),
    ("frac, sfrac, fraction", _fraction),
    ("nihongo", _nihongo),
    ("as of, asof", _as_of),
    ("chem, chem2", _joined("")),
    ("nuclide, nuclide2, simplenuclide, simplenuclide2", _nuclide),
    ("hlist, ubl, unbulleted list, plainlist, flatlist, vunblist", _joined(", ")),
    ("birth date, birth date and age, death date, death date and age, start date, end date, date",
     _joined("-")),
    ("sup", _around("<sup>", "</sup>")),
    ("e", _around("×10^", "")),
    ("pow", _joined("^")),
    ("angbr, angle bracket", _around("⟨", "⟩")),
    ("circa, c., ca.", _around("c. ", "")),
    ("fl., floruit", _around("fl. ", "")),
    ("lit, literal translation", _around("lit. '", "'")),
    ("us$, usd", _around("US$", "")),
    ("gbp, £", _around("£", "")),
    ("eur, €", _around("€", "")),
    ("inr, ₹", _around("₹", "")),
    ("uss", _around("USS ", "")),
    ("hms", _around("HMS ", "")),
    ("ndash, en dash", _always("–")),
    ("snd, spnd, snds, spaced ndash, spaced en dash", _always(" – ")),
    ("mdash, em dash, mdashb", _always("—")),
    ("nbsp, space, spaces, thinsp, hair space", _always(" ")),
    ("', apostrophe", _always("'")),
    ("'s", _always("'s")),
    ("!, pipe", _always("|")),
    ("=", _always("=")),
    ("okina", _always("ʻ")),
    ("sharp", _always("♯")),
    ("flat", _always("♭")),
]  # fmt: skip

RULES = {name: rule for names, rule in _RULES_BY_NAMES for name in names.split(", ")}
"""Folded name -> what is shown. Pronunciations, notes and boxes are missing on purpose."""
