"""All that one evaluation found, as one JSON value: what is kept, and what the report shows."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import shortlist
from shortlist.evaluation.answers import Answer
from shortlist.evaluation.choose import Choice, System
from shortlist.evaluation.latency import peak_memory
from shortlist.evaluation.task_kind import TaskKind
from shortlist.records import Passage, Qrels

INSPECTED = 200  # queries whose rankings are kept: those that changed, the worst first
_SHOWN = 10  # passages of a ranking
_LONGEST = 1_000  # characters of a passage
_LIBRARIES = ("numpy", "onnxruntime", "ir-measures", "bm25s")


def study_of(
    choice: Choice,
    *,
    title: str,
    dataset: Mapping[str, Any],
    task: TaskKind,
    warnings: Iterable[str],
    counts: Mapping[str, int],
    recommendation: Mapping[str, Any],
    passages: Mapping[str, Passage],
    robustness: Sequence[Mapping[str, Any]] = (),
    robustness_sentences: Sequence[str] = (),
    kinds: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Put together what `choose` and its neighbours found; `report.render` shows it.

    `dataset` has name, split, known_item (whether the queries were made from the corpus) and
    sampled_from (passages before sampling, or None); `recommendation` preset, reasons and command.
    """
    found = choice.as_json()
    return {
        "title": title,
        "created_by": f"shortlist {shortlist.__version__}",
        "created": datetime.now(tz=UTC).date().isoformat(),
        "dataset": {
            **dataset,
            "passages": len(passages),
            "queries": found["queries"],
            "of_queries": found["of_queries"],
        },
        "task": task.as_json(),
        "measures": list(choice.recommended.scores.mean),
        "primary": choice.primary,
        "counts": dict(counts),
        "warnings": list(warnings),
        "recommendation": {"system": choice.recommended.name, **recommendation},
        "systems": found["systems"],
        "comparisons": found["comparisons"],
        "depth_curves": found["depth_curves"],
        "robustness": list(robustness),
        "robustness_sentences": list(robustness_sentences),
        "kinds": list(kinds),
        "inspector": inspector(choice, passages),
        "environment": environment(),
    }


def counts_of(
    choice: Choice, queries: Mapping[str, str], qrels: Qrels, passages: Mapping[str, Passage]
) -> dict[str, int]:
    """How many queries were judged, answered and left out: what stands above every table."""
    scores = choice.recommended.scores
    judged = (passage_id for grades in choice.qrels.values() for passage_id in grades)
    return {
        "judged": scores.judged,
        "retrieved": scores.retrieved,
        "unjudged": len(queries.keys() - qrels.keys()),
        "without_relevant": sum(max(g.values(), default=0) < 1 for g in qrels.values()),
        "missing": len(choice.qrels.keys() - choice.queries.keys()),
        "dangling": sum(passage_id not in passages for passage_id in judged),
    }


def environment() -> dict[str, Any]:
    """What the figures were measured on; times depend on it."""
    return {
        "python": platform.python_version(),
        "cpu": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "peak_memory_bytes": peak_memory(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# the inspector


def inspector(choice: Choice, passages: Mapping[str, Passage]) -> dict[str, Any]:
    """Both stages side by side, query by query: the recommended system, or the one nearest to it.

    Where nothing is reranked by recommendation, the shallowest reranking of the same first stage
    stands on the other side, so that what it would do can be seen. Empty where there is none.
    """
    before, after = _sides(choice)
    if before is None or after is None:
        return {}
    values = [system.scores.per_query[choice.primary] for system in (before, after)]
    changes = {query_id: values[1][query_id] - values[0][query_id] for query_id in choice.queries}
    largest = sorted(changes, key=lambda query_id: (-abs(changes[query_id]), query_id))[:INSPECTED]
    orders = choice.rankings(before), choice.rankings(after)
    answers = choice.answers[before.stage.name]
    return {
        "systems": {"before": before.name, "after": after.name},
        "measure": choice.primary,
        "queries": [
            {
                "id": query_id,
                "text": choice.queries[query_id],
                "before": values[0][query_id],
                "after": values[1][query_id],
                **_side_by_side(
                    answers[query_id],
                    (orders[0][query_id], orders[1][query_id]),
                    choice.qrels[query_id],
                    passages,
                ),
            }
            for query_id in sorted(largest, key=lambda query_id: (changes[query_id], query_id))
        ],
    }


def _sides(choice: Choice) -> tuple[System | None, System | None]:
    stage = choice.recommended.stage
    same = sorted((s for s in choice.systems if s.stage is stage), key=lambda s: s.depth)
    alone = next((s for s in same if not s.depth), None)
    deep = (
        choice.recommended if choice.recommended.depth else next((s for s in same if s.depth), None)
    )
    return alone, deep


def _side_by_side(
    answer: Answer,
    orders: tuple[Sequence[str], Sequence[str]],
    grades: Mapping[str, int],
    passages: Mapping[str, Passage],
) -> dict[str, Any]:
    ranks = [{passage_id: n for n, passage_id in enumerate(order, 1)} for order in orders]
    found = {candidate.id: candidate for candidate in answer}

    def row(passage_id: str) -> dict[str, Any]:
        return {"id": passage_id, **_texts(passages.get(passage_id))}

    def ranked(side: int) -> list[dict[str, Any]]:
        rows = []
        for rank, passage_id in enumerate(orders[side][:_SHOWN], 1):
            hit = found[passage_id]
            score = hit.score if side else hit.retrieval_score
            grade = grades.get(passage_id)
            rows.append({**row(passage_id), "rank": rank, "score": score, "grade": grade})
            if side:
                rows[-1]["rank_before"] = ranks[0].get(passage_id)
        return rows

    relevant = [passage_id for passage_id, grade in grades.items() if grade >= 1]
    return {
        "relevant": [
            {
                **row(passage_id),
                "grade": grades[passage_id],
                "rank_before": ranks[0].get(passage_id),
                "rank_after": ranks[1].get(passage_id),
            }
            for passage_id in sorted(relevant, key=lambda i: (-grades[i], i))
        ],
        "ranking_before": ranked(0),
        "ranking_after": ranked(1),
    }


def _texts(passage: Passage | None) -> dict[str, str]:
    if passage is None:
        return {"title": "", "text": ""}
    text = passage.text
    return {
        "title": passage.title,
        "text": text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …",
    }
