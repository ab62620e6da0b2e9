"""Metrics of rankings against judgements, through ir-measures.

One rule for what is averaged: every judged query counts, which is every query of the qrels with a
passage of grade 1 or more; one that the rankings lack counts as zero.

One rule for ties: none reach a metric. A ranking is an order, and ir-measures is handed the ranks;
its providers break ties differently (on one tie RR@10, by MS MARCO's script, is 1.0 and RR, by
trec_eval, 0.5). `ranking_of` orders a scored run.

ir-measures: MacAvaney, Macdonald and Ounis, "Streamlining Evaluation with ir-measures", ECIR 2022.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.records import Qrels, Run

Rankings: TypeAlias = Mapping[str, Sequence[str]]
"""query id -> passage ids, best first, none twice."""

DEFAULT_MEASURES = ("MRR@10", "nDCG@10", "Recall@100")

# what users write, in lower case, and what ir-measures calls it; it parses our spelling too
_NAMES = {
    **dict.fromkeys(("mrr", "rr", "recip_rank"), "MRR"),
    **dict.fromkeys(("recall", "r"), "Recall"),
    **dict.fromkeys(("map", "ap"), "MAP"),
    **dict.fromkeys(("p", "precision"), "P"),
    **dict.fromkeys(("success", "hit_rate"), "Success"),
    "ndcg": "nDCG",
    "bpref": "Bpref",
    "rprec": "Rprec",
}
_OURS = {"RR": "MRR", "R": "Recall", "AP": "MAP"}  # what ir-measures prints, what we print
_ACCEPTED = (
    "MRR@10, nDCG@10, Recall@100, MAP, P@5, Success@1; the same as ir-measures (RR@10, R@100, AP), "
    "trec_eval (recip_rank, ndcg_cut_10, recall_100, map) and MTEB (mrr_at_10, hit_rate_at_1) "
    "spell them; and what else ir-measures can compute, as MRR(rel=2)@10"
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric; prints as the spelling that stands for it in results, JSON and commands."""

    text: str
    cutoff: int | None  # how many passages of a ranking it looks at, None for all of them
    ir_measure: Any = field(repr=False, compare=False)  # the same for ir-measures

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Scores:
    """What `score` found; the keys are measures as they print, such as "MRR@10"."""

    mean: Mapping[str, float]  # over the judged queries
    per_query: Mapping[str, Mapping[str, float]]  # measure -> query id -> value, sorted by id
    judged: int  # queries with a relevant passage: what each mean is divided by
    retrieved: int  # of the judged queries, those that have a passage in the rankings
    unjudged: int  # queries of the rankings that the qrels lack: ignored
    without_relevant: int  # queries of the qrels whose grades are all below 1: excluded
    known_passages: int  # ranked passages that have a grade; 0 smells of two kinds of passage ids

    def as_json(self) -> dict[str, float]:
        """Return the means by the measures' names."""
        return dict(self.mean)


def parse_measure(text: str | Measure) -> Measure:
    """Read a measure in our spelling or in that of ir-measures, trec_eval or MTEB.

    Raises `UsageError`, which lists what is accepted, for a name, cut-off or parameter that is
    unknown or missing, and for a measure that ir-measures cannot compute as installed.

    >>> [str(parse_measure(text)) for text in ("mrr_at_10", "recip_rank", "ndcg_cut_10", "R@100")]
    ['MRR@10', 'MRR', 'nDCG@10', 'Recall@100']
    """
    if isinstance(text, Measure):
        return text
    import ir_measures

    try:
        measure = _ir_measure(text.strip(), ir_measures.measures.registry)
    except (SyntaxError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise UsageError(f"unknown measure {text!r}; write one of: {_ACCEPTED}") from error
    name = measure.NAME
    printed = _OURS.get(name, name) + repr(measure).removeprefix(name)
    providers: Any = ir_measures.DefaultPipeline
    if not providers.supports(measure):
        raise UsageError(f"ir-measures knows {printed} but cannot compute it as installed here")
    return Measure(printed, measure.params.get("cutoff"), measure)


def parse_measures(texts: Iterable[str | Measure]) -> list[Measure]:
    """Read several measures, each once, in the order of their first mention."""
    if isinstance(texts, str):
        raise UsageError(f"measures must be a list, got a string; write [{texts!r}]")
    measures = list(dict.fromkeys(parse_measure(text) for text in texts))
    if not measures:
        raise UsageError(f"no measure was given; write one or more of: {_ACCEPTED}")
    return measures


def score(
    rankings: Rankings, qrels: Qrels, measures: Iterable[str | Measure] = DEFAULT_MEASURES
) -> Scores:
    """Score `rankings` per query and on average; the module says what counts.

    Raises `DataError` where rankings and qrels have no query id in common, where no query has a
    relevant passage, and where a passage is ranked twice; `UsageError` for a measure that is
    unknown and for ids that are not strings.
    """
    import ir_measures

    wanted = parse_measures(measures)
    reach = _reach(wanted)
    judged = {i: grades for i, grades in sorted(qrels.items()) if has_relevant(grades)}
    _check_queries(rankings, qrels, judged)
    names = {str(number): query_id for number, query_id in enumerate(judged)}
    numbered_run, numbered_qrels, known = {}, {}, 0
    for number, query_id in names.items():
        ranking, grades = rankings.get(query_id, ()), judged[query_id]
        _check_ranking(query_id, ranking)
        known += sum(passage_id in grades for passage_id in ranking)
        run, numbered_qrels[number] = _numbered(ranking[:reach], grades)
        if run:  # a query without passages is left to ir-measures' value for a missing one: zero
            numbered_run[number] = run
    values = {str(m): dict.fromkeys(judged, 0.0) for m in wanted}
    printed = {m.ir_measure: str(m) for m in wanted}
    for metric in ir_measures.iter_calc(list(printed), numbered_qrels, numbered_run):
        values[printed[metric.measure]][names[metric.query_id]] = float(metric.value)
    return Scores(
        mean={name: math.fsum(column.values()) / len(column) for name, column in values.items()},
        per_query=values,
        judged=len(judged),
        retrieved=len(numbered_run),
        unjudged=len(rankings.keys() - qrels.keys()),
        without_relevant=len(qrels) - len(judged),
        known_passages=known,
    )


def has_relevant(grades: Mapping[str, int]) -> bool:
    """Whether a query with these judgements counts: one grade at least is 1 or more."""
    return any(grade >= 1 for grade in grades.values())


def ranking_of(run: Run) -> dict[str, list[str]]:
    """Order a scored run as trec_eval does: score descending, then passage id descending.

    Scores are compared as float32, which is what trec_eval holds. Raises `DataError` for a NaN.
    """
    return {query_id: [p for _, p in _ordered(query_id, run[query_id])] for query_id in run}


def run_of(rankings: Rankings) -> dict[str, dict[str, float]]:
    """Give each ranking of n passages the scores n, n - 1, ... 1: the order as a run."""
    return {
        query_id: {p: float(len(ranking) - i) for i, p in enumerate(ranking)}
        for query_id, ranking in rankings.items()
    }


def tied_at(run: Run, cutoff: int) -> int:
    """Count the queries where only ids decide who is in the first `cutoff`: a tie across it."""
    ranked = (_ordered(query_id, scores) for query_id, scores in run.items())
    return sum(len(r) > cutoff and r[cutoff - 1][0] == r[cutoff][0] for r in ranked)


def _ordered(query_id: str, scores: Mapping[str, float]) -> list[tuple[float, str]]:
    for passage_id, value in scores.items():
        if math.isnan(value):
            raise DataError(f"the score of passage {passage_id!r} of query {query_id!r} is NaN")
    with np.errstate(over="ignore"):
        singles = np.array(list(scores.values()), dtype=np.float64).astype(np.float32).tolist()
    return sorted(zip(singles, scores, strict=True), reverse=True)


def _ir_measure(text: str, registry: Mapping[str, Any]) -> Any:
    """Read ``name``, ``name(parameter=value)``, each with ``@cutoff``; ndcg_cut_10 is ndcg@10.

    Not by ir_measures.parse_measure: it uses ast.Num, which Python 3.14 no longer has.
    """
    if flat := re.fullmatch(r"([a-z_]+?)(?:_at|_cut|)[_.]([0-9]+)", text.lower()):
        text = f"{flat[1]}@{flat[2]}"
    node: ast.expr = ast.parse(text, mode="eval").body
    parameters: dict[str, Any] = {}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        parameters["@"] = ast.literal_eval(node.right)
        node = node.left
    if isinstance(node, ast.Call) and not node.args:
        parameters |= {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        node = node.func
    if not isinstance(node, ast.Name):
        raise TypeError(text)
    family = registry[_NAMES.get(node.id.lower(), node.id)]
    if "@" in parameters:
        parameters[family.AT_PARAM] = parameters.pop("@")
    measure = family(**parameters)
    measure.validate_params()
    cutoff = parameters.get("cutoff", 1)
    if type(cutoff) is not int or cutoff < 1:  # ir-measures lets 0, -1 and True pass
        raise ValueError(text)
    return measure


def _reach(measures: Iterable[Measure]) -> int | None:
    """How much of a ranking any of the measures looks at; judged_only ones skip, and look on."""
    ends = [0 if "judged_only" in m.ir_measure.params else m.cutoff or 0 for m in measures]
    return max(ends) if all(ends) else None


def _numbered(
    ranking: Sequence[str], grades: Mapping[str, int]
) -> tuple[dict[str, float], dict[str, int]]:
    """Run and qrels of one query with numbers for ids, scores falling from len(ranking) to 1.

    Some providers run scripts that split at blanks and want digits, so they see no id of ours.
    """
    names = {passage_id: str(n) for n, passage_id in enumerate(dict.fromkeys([*ranking, *grades]))}
    run = {names[passage_id]: float(len(ranking) - i) for i, passage_id in enumerate(ranking)}
    return run, {names[passage_id]: grade for passage_id, grade in grades.items()}


def _check_queries(rankings: Rankings, qrels: Qrels, judged: Qrels) -> None:
    if not judged:
        what = f"none of the {len(qrels)} queries of the qrels has a relevant passage"
        raise DataError(f"{what} (grade 1 or more): nothing to measure; check the grades' column")
    if not rankings.keys() & qrels.keys():
        ids = f"{list(rankings)[:10]} in the rankings, {list(qrels)[:10]} in the qrels"
        raise DataError(f"no query id in common: {ids}; give both the same ids, as strings")


def _check_ranking(query_id: str, ranking: Sequence[str]) -> None:
    wrong = [p for p in ranking if not isinstance(p, str)][:10]
    if isinstance(ranking, str) or wrong:
        what = f"the ranking of query {query_id!r} must be a list of passage ids"
        raise UsageError(f"{what}, which are strings; got {wrong or ranking!r}")
    if len(set(ranking)) < len(ranking):
        twice = sorted({p for p in ranking if ranking.count(p) > 1})[:10]
        raise DataError(f"passages ranked twice for query {query_id!r}: {twice}; keep the better")
