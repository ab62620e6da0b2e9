"""A study as one HTML file that opens from disk and asks the network for nothing.

The tables are written here, so that they can be read, printed and searched without scripts; the
plots and the per-query inspector are drawn in the browser from the study's own JSON. Passages are
other people's text: whatever they hold is escaped, and the page's content security policy runs
only the scripts whose SHA-256 it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shortlist.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from jinja2 import Environment

_REQUIRED = ("title", "created_by", "created")
_SECTIONS = {  # anchor -> what the table of contents calls it
    "task": "Task",
    "counts": "Queries counted",
    "pareto": "Quality and time",
    "systems": "Systems",
    "comparisons": "Comparisons",
    "depth_curves": "Depth",
    "robustness": "Robustness",
    "kinds": "Kinds of queries",
    "inspector": "Query by query",
    "environment": "Environment",
}
_FAMILIES = {  # of measures
    "nDCG": "How good the order of the first {k} is, weighted by grade and position: 1 is the "
    "best order possible, and a relevant passage counts less the lower it stands.",
    "MRR": "1 divided by the rank of the first relevant passage among the first {k}, 0 where "
    "there is none: 1 for rank 1, 0.5 for rank 2, 0.1 for rank 10.",
    "Recall": "The share of a query's relevant passages that are among the first {k}.",
    "MAP": "The precision at the rank of each relevant passage, averaged.",
    "P": "The share of the first {k} that are relevant.",
    "Success": "The share of queries with a relevant passage among the first {k}.",
}
_TERMS = (  # block of the study, term, what it means
    (
        "systems",
        "95 % interval",
        "How far the mean moves when the queries are drawn again, with replacement (bootstrap): "
        "95 of 100 draws lie between the two ends.",
    ),
    (
        "systems",
        "Frontier",
        "The systems that no other beats in quality without being slower.",
    ),
    (
        "systems",
        "Recommended",
        "What the verdict is about: not always the best figure, but what is worth its time.",
    ),
    (
        "comparisons",
        "p",
        "How often chance alone would make a difference as large, were the systems alike "
        "(randomisation test); after Holm it allows for the number of comparisons.",
    ),
    (
        "comparisons",
        "Detectable",
        "The smallest true difference that this many queries show in four of five experiments.",
    ),
    (
        "depth_curves",
        "Ceiling",
        "What a reranker without fault would reach with the passages that it was given.",
    ),
    (
        "depth_curves",
        "Knee",
        "The depth beyond which further passages bring little.",
    ),
    (
        "inspector",
        "8 → 1",
        "The rank of a passage in the first system, then in the second; 1 is best.",
    ),
)
_MOST_STORIES = 5  # relevant passages of a query whose way is told; more are only counted
_NOTHING = "–"
_UNITS = ("B", "kB", "MB", "GB", "TB")


def write_report(study: Mapping[str, Any], path: str | Path) -> None:
    """Write the study as one self-contained HTML file of about 5 MB, replacing what was there.

    Raises what `render` raises, and `UsageError` where the file cannot be written.
    """
    page, target = render(study), Path(path)
    part = Path(f"{target}.part")  # an interrupted write leaves the old report
    try:
        part.write_text(page, encoding="utf-8", errors="replace", newline="\n")
        part.replace(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UsageError(
            f"{target}: the report cannot be written ({error.strerror}); give the path of a file "
            "in a folder that exists and may be written to"
        ) from error


def check_extra() -> None:
    """Refuse before the work what could not be shown after it.

    Raises `MissingExtraError` where Jinja2 or plotly is not installed.
    """
    if missing := [name for name in ("jinja2", "plotly") if find_spec(name) is None]:
        raise MissingExtraError(
            f"the report needs {' and '.join(missing)}: pip install 'shortlist[report]'"
        )


def render(study: Mapping[str, Any]) -> str:
    """Return the page for a study, which is what its JSON holds.

    ``title``, ``created_by`` and ``created`` are needed. Each of the blocks ``dataset``, ``task``,
    ``counts``, ``warnings``, ``recommendation``, ``systems`` (with ``measures`` and ``primary``),
    ``comparisons``, ``depth_curves``, ``robustness`` (with ``robustness_sentences``), ``kinds``,
    ``inspector`` and ``environment`` is left out of the page where it is missing or empty. Times
    are milliseconds, sizes bytes.

    Raises `DataError` for a study without what is needed and for numbers that are not finite, and
    `MissingExtraError` where Jinja2 or plotly is not installed.
    """
    _check(study)
    check_extra()
    from plotly.offline import get_plotlyjs

    environment = _environment()
    shown = _shown(study)
    plots = [get_plotlyjs()] if {"pareto", "depth_curves"} & set(shown) else []
    scripts = [_in_script(text) for text in (*plots, _template("report.js"))]
    return environment.get_template("report.html.j2").render(
        study=study,
        style=_template("report.css"),
        scripts=scripts,
        policy=_policy(scripts),
        data=_embedded(_page_data(study)),
        sections={anchor: _SECTIONS[anchor] for anchor in shown},
        primary=_primary(study),
        recommended=_recommended(study),
        columns=_time_columns(study.get("systems") or ()),
        forest=_forest(study.get("comparisons") or ()),
        detectable=_detectable(study.get("comparisons") or ()),
        texts={q["id"]: q["text"] for q in _inspected(study)},
        robustness=_robustness(study.get("robustness") or ()),
        kinds=_pivot(study.get("kinds") or (), "kind"),
        glossary=_glossary(study),
    )


def _check(study: Mapping[str, Any]) -> None:
    if missing := [name for name in _REQUIRED if not isinstance(study.get(name), str)]:
        raise DataError(
            f"the study has no {', '.join(missing)}; expected the JSON that an evaluation writes, "
            f"with {', '.join(_REQUIRED)} as strings; got {sorted(study)[:10]}"
        )
    if wrong := list(_not_finite(study, "")):
        raise DataError(
            f"the study holds numbers that are not finite, such as {wrong[:10]}; write null for "
            "what could not be measured"
        )


def _not_finite(value: Any, place: str) -> Iterator[str]:
    """Where NaN and infinity stand: "systems.0.mean.nDCG@10"."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _not_finite(inner, f"{place}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place.removeprefix(".")


# the page


def _environment() -> Environment:
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("shortlist.evaluation"),
        autoescape=True,
        undefined=ChainableUndefined,  # a figure that a study lacks is shown as a dash
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": _figure,
        "signed": _signed,
        "percent": _percent,
        "range": _range,
        "whole": _whole,
        "ms": _ms,
        "size": _size,
        "p": _p,
        "plain": _plain,
        "heat": _heat,
    }
    environment.tests["number"] = _is_number
    environment.globals["at"] = _at
    return environment


def _template(name: str) -> str:
    return files("shortlist.evaluation").joinpath("templates", name).read_text("utf-8")


def _in_script(text: str) -> str:
    """Keep a script from ending its element early, in the newlines that a browser hashes."""
    text = re.sub("<(/script|!--)", r"<\\\1", text, flags=re.IGNORECASE)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _policy(scripts: Iterable[str]) -> str:
    """Nothing is fetched; only these scripts run. plotly sets styles, so inline ones are let be."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON in which no element can begin or end."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _page_data(study: Mapping[str, Any]) -> dict[str, Any]:
    """What the scripts draw; each passage of the inspector once, however many rankings have it."""
    inspector = study.get("inspector") or {}
    passages: dict[str, dict[str, str]] = {}
    queries = [_inspectable(study, query, passages) for query in _inspected(study)]
    return {
        "primary": _primary(study),
        "systems": study.get("systems") or [],
        "depth_curves": study.get("depth_curves") or [],
        "inspector": {
            "systems": inspector.get("systems") or {},
            "measure": inspector.get("measure"),
            "passages": passages,
            "queries": queries,
        },
    }


# the inspector


def _inspected(study: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    queries: Sequence[Mapping[str, Any]] = (study.get("inspector") or {}).get("queries") or ()
    return queries


def _inspectable(
    study: Mapping[str, Any], query: Mapping[str, Any], passages: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """One query with ids for passages; their texts go into `passages`."""

    def without_text(row: Mapping[str, Any]) -> dict[str, Any]:
        text = {"title": row.get("title") or "", "text": row.get("text") or ""}
        if not passages.get(row["id"], text)["text"] or row["id"] not in passages:
            passages[row["id"]] = text  # a judgement alone may come without its passage
        return {name: value for name, value in row.items() if name not in text}

    mover = _mover(study)
    relevant = query.get("relevant") or ()
    lists = ("relevant", "ranking_before", "ranking_after")
    compact = {name: [without_text(row) for row in query.get(name) or ()] for name in lists}
    stories = [_story(row, mover, several=len(relevant) > 1) for row in relevant[:_MOST_STORIES]]
    if len(relevant) > _MOST_STORIES:
        stories.append(f"It has {len(relevant) - _MOST_STORIES} more relevant passages.")
    return {**query, **compact, "stories": stories}


def _mover(study: Mapping[str, Any]) -> str:
    """Who changed the order: the reranker, where the two systems differ in nothing else."""
    names = (study.get("inspector") or {}).get("systems") or {}
    systems = {system.get("name"): system for system in study.get("systems") or ()}
    before, after = (systems.get(names.get(side)) or {} for side in ("before", "after"))
    same = before.get("retriever") is not None and before["retriever"] == after.get("retriever")
    if same and after.get("depth") and not before.get("depth"):
        return "The reranker"
    return str(names.get("after") or "The second system")


def _story(row: Mapping[str, Any], mover: str, *, several: bool) -> str:
    """One sentence: what became of a relevant passage between the two systems."""
    before, after = row.get("rank_before"), row.get("rank_after")
    title = " ".join(str(row.get("title") or row.get("text") or row["id"]).split())
    title = title if len(title) <= 60 else f"{title[:59].rstrip()}…"
    what = f"the relevant passage “{title}”" if several else "the relevant passage"
    if before is None and after is None:
        return f"{what[0].upper()}{what[1:]} was never retrieved."
    if before is None:
        return f"{mover} found {what}, which was not retrieved before, at {after}."
    if after is None:
        return f"{mover} lost {what}, which was at {before}."
    if before == after:
        return f"{mover} left {what} at {after}."
    return f"{mover} {'lifted' if after < before else 'buried'} {what} from {before} to {after}."


# the tables


def _shown(study: Mapping[str, Any]) -> list[str]:
    """The sections that there is something for, in their order."""
    timed = any(
        ((system.get("ms") or {}).get("p50") or 0) > 0
        and _is_number((system.get("mean") or {}).get(_primary(study)))
        for system in study.get("systems") or ()
    )
    there = {"pareto": timed, "inspector": bool(_inspected(study))}
    return [anchor for anchor in _SECTIONS if there.get(anchor, bool(study.get(anchor)))]


def _primary(study: Mapping[str, Any]) -> str:
    """The measure that the page is about, by default the first; "" without any."""
    return str(study.get("primary") or next(iter(study.get("measures") or ()), ""))


def _recommended(study: Mapping[str, Any]) -> Mapping[str, Any] | None:
    name = (study.get("recommendation") or {}).get("system")
    for system in study.get("systems") or ():
        if system.get("name") == name or (name is None and system.get("recommended")):
            return dict(system)
    return None


def _time_columns(systems: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which of the stages were timed at all."""
    timed = [system.get("ms") or {} for system in systems]
    return [name for name in ("encode", "retrieve", "rerank") if any(ms.get(name) for ms in timed)]


def _forest(comparisons: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Measure -> ends of the axis that its differences are drawn on; zero lies between them."""
    ends: dict[str, tuple[float, float]] = {}
    for row in comparisons:
        values = [x for x in (row.get("low"), row.get("high"), row.get("difference")) if x]
        low, high = ends.get(row["measure"], (0.0, 0.0))
        ends[row["measure"]] = min(low, *values, 0), max(high, *values, 0)
    margin = {name: (high - low) * 0.06 or 0.001 for name, (low, high) in ends.items()}
    return {name: (low - margin[name], high + margin[name]) for name, (low, high) in ends.items()}


def _at(value: float, low: float, high: float) -> str:
    """Where a value stands between two ends, in percent."""
    return f"{100 * (value - low) / (high - low):.2f}"


def _detectable(comparisons: Iterable[Mapping[str, Any]]) -> list[str]:
    """How small a difference the queries could show, in words, a sentence a measure."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in comparisons:
        if _is_number(row.get("detectable")) and row.get("queries"):
            found.setdefault((row["measure"], row["queries"]), []).append(row["detectable"])
    sentences = []
    for (measure, queries), values in found.items():
        low, high = _figure(min(values)), _figure(max(values))
        span = low if low == high else f"{low} to {high}, depending on the pair,"
        sentences.append(
            f"With {queries:,} queries, a difference in {measure} must be at least {span} to be "
            "shown in four of five such experiments; a smaller one may be there unseen."
        )
    return sentences


def _pivot(rows: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Rows by their `name`, columns by system: {"systems", "rows": {name: {system: row}}}."""
    table: dict[str, dict[str, Mapping[str, Any]]] = {}
    systems: dict[str, None] = {}
    for row in rows:
        systems[row["system"]] = None
        table.setdefault(row[name], {})[row["system"]] = row
    return {"systems": list(systems), "rows": table}


def _robustness(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Measure -> its table of changes by systems."""
    by_measure: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_measure.setdefault(row["measure"], []).append(row)
    return {measure: _pivot(found, "change") for measure, found in by_measure.items()}


def _glossary(study: Mapping[str, Any]) -> list[Sequence[str]]:
    """Explain the study's own measures, then the terms of the blocks that it has."""
    terms: list[Sequence[str]] = []
    for measure in study.get("measures") or ():
        family, cutoff = re.split(r"[(@]", measure)[0], re.search(r"@(\d+)$", measure)
        if family in _FAMILIES:
            k = cutoff[1] if cutoff else "retrieved"
            terms.append((measure, _FAMILIES[family].format(k=k)))
    return terms + [term for block, *term in _TERMS if block in _shown(study)]


# figures as they are printed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(value: Any, digits: int = 4) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if _is_number(value) else _NOTHING


def _signed(value: Any, digits: int = 4) -> str:
    return f"{value:+.{digits}f}".replace("-", "−") if _is_number(value) else _NOTHING


def _percent(value: Any) -> str:
    return f"{100 * value:+.1f} %".replace("-", "−") if _is_number(value) else _NOTHING


def _range(ends: Any, digits: int = 4, *, signed: bool = False) -> str:
    """Two ends of an interval: "0.4123–0.4567", with signs "−0.0123 to +0.0456"."""
    ends = list(ends) if isinstance(ends, list | tuple) else []
    if len(ends) != 2 or not all(map(_is_number, ends)):
        return ""
    dash = " to " if signed or min(ends) < 0 else "–"
    return dash.join((_signed if signed else _figure)(end, digits) for end in ends)


def _whole(value: Any) -> str:
    return f"{value:,.0f}" if _is_number(value) else _NOTHING


def _ms(value: Any) -> str:
    """Three digits: 0.412, 8.35, 84.2, 1,240."""
    if not _is_number(value):
        return _NOTHING
    digits = 0 if value <= 0 else max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{min(digits, 3)}f}"


def _size(value: Any) -> str:
    """Bytes in decimal units: 15.2 MB."""
    if not _is_number(value):
        return _NOTHING
    power = 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{_ms(value) if power else _whole(value)} {_UNITS[power]}"


def _p(value: Any) -> str:
    if not _is_number(value):
        return _NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _plain(value: Any) -> str:
    """Any value of the environment, on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _heat(relative: Any) -> int:
    """How strongly a relative change is coloured, in percent: fully from a half lost on."""
    return round(min(1.0, abs(relative) / 0.5) * 70) if _is_number(relative) else 0
