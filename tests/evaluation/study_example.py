"""A made-up study, seeded, with the shapes of a real one: curves that flatten, gains that cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MEASURES = ["nDCG@10", "MRR@10", "Recall@100"]
TOPICS = {
    "Photosynthesis": "Plants make sugar from water, air and light. The green pigment of the leaf "
    "takes up light; oxygen is what is left over, and it leaves through pores.",
    "Tea": "Tea is made by pouring hot water over the dried leaves of an evergreen shrub. Black "
    "tea is oxidised before it is dried, green tea is heated first so that it stays green.",
    "Glacier": "A glacier is a river of ice that flows slowly downhill under its own weight. It "
    "carries stones, polishes the rock beneath and leaves moraines where it melts.",
    "Cello": "The cello is held between the knees and sounds an octave lower than the viola. It "
    "has four strings, tuned in fifths, and a range of more than four octaves.",
    "Vaccine": "A vaccine teaches the immune system to recognise a germ before it meets it. Some "
    "hold a weakened germ, some a part of it, and some only the plan of such a part.",
    "Lighthouse": "A lighthouse warns ships of rocks with a lamp that can be seen for miles. Each "
    "has a rhythm of its own, by which a sailor tells it from its neighbours.",
    "Honey bee": "Bees tell each other where flowers are by dancing in the dark of the hive. The "
    "angle of the dance is the direction from the sun, its length the distance.",
    "Chess": "Chess is played on sixty-four squares by two players with sixteen pieces each. The "
    "game ends when a king is attacked and has no way out, or when nobody can win.",
    "Tide": "The sea rises and falls twice a day because the moon pulls at it. Twice a month sun "
    "and moon pull in one line, and the difference between high and low is greatest.",
    "Printing press": "Movable type lets a page be set from single letters and printed many "
    "times. Books became cheap enough within fifty years for towns to have libraries.",
    "Volcano": "A volcano is an opening through which molten rock, ash and gases reach the "
    "surface. Thin lava builds broad shields, thick lava steep cones.",
    "Owl": "An owl hears with ears of unequal height and so knows how high its prey is. The edges "
    "of its feathers are combed, which makes its flight nearly silent.",
}
QUESTIONS = (
    "what is {0}",
    "How does the {0} work, and who first described it?",
    "{0} in one sentence",
    "why does the {0} matter to people who live by the sea",
    "history of the {0}",
)
RETRIEVERS = {  # quality of the first stage, milliseconds, bytes of the index
    "bm25": (0.455, 0.9, 4_100_000),
    "fast": (0.505, 0.31, 10_400_000),
    "minilm": (0.585, 8.2, 15_900_000),
}
DEPTHS = (10, 30, 100)
HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "<!-- <b>bold</b> {{ 7 * 7 }} & “quotes” <svg onload=window.hacked=1>"
)


def example_study(queries: int = 60, *, hostile: bool = False, seed: int = 11) -> dict[str, Any]:
    """Return a whole study; with `hostile`, texts and names try to run scripts."""
    rng = np.random.default_rng(seed)
    systems = [_system(rng, name, depth) for name in RETRIEVERS for depth in (0, *DEPTHS)]
    _mark(systems)
    chosen = next(system for system in systems if system["recommended"])
    study = {
        "title": "Encyclopedia, dev",
        "created_by": "shortlist 0.1.0",
        "created": "2026-11-24",
        "dataset": {
            "name": "encyclopedia",
            "split": "dev",
            "passages": 10_352,
            "queries": queries,
            "of_queries": 1_204,
            "known_item": False,
            "sampled_from": None,
        },
        "task": {
            "kind": "asymmetric",
            "reasons": [
                "Queries have 7 words in the middle, passages 58: passages are 8.3 times longer.",
                "61 % of the queries are questions, none of the passages is.",
            ],
            "statistics": {"query_words": 7.0, "passage_words": 58.0, "containment": 0.4127},
        },
        "measures": MEASURES,
        "primary": "nDCG@10",
        "counts": {
            "judged": queries,
            "retrieved": queries - 1,
            "unjudged": 4,
            "without_relevant": 2,
            "missing": 0,
            "dangling": 3,
        },
        "warnings": ["3 judgements, 3 of them relevant, name passages that the corpus lacks."],
        "recommendation": {
            "system": chosen["name"],
            "preset": "minilm",
            "reasons": [
                "It is better than every cheaper system, and the next better one takes three "
                "times as long for a difference that these queries cannot show."
            ],
            "command": "shortlist index articles/ -o articles.idx --preset minilm",
        },
        "systems": systems,
        "comparisons": [_comparison(rng, other, chosen, queries) for other in systems[::3]],
        "depth_curves": [_curve(rng, name) for name in RETRIEVERS],
        "robustness": _robustness(rng, queries),
        "robustness_sentences": [
            "With misspellings bm25 keeps 61 % of its nDCG@10, minilm + rerank 30 keeps 91 %."
        ],
        "kinds": _kinds(rng),
        "inspector": _inspector(rng, queries),
        "environment": {
            "python": "3.12.3",
            "cpu": "x86-64, AVX-512",
            "cores": 2,
            "memory_bytes": 8_317_190_144,
            "libraries": {"numpy": "2.4.6", "onnxruntime": "1.23.2"},
        },
    }
    return _with_hostile_text(study) if hostile else study


def _system(rng: np.random.Generator, retriever: str, depth: int) -> dict[str, Any]:
    quality, ms, index_bytes = RETRIEVERS[retriever]
    lift = (0.17 - 0.1 * (quality - 0.45)) * (1 - math.exp(-depth / 14))
    mean = {"nDCG@10": quality + lift, "MRR@10": quality + lift - 0.03, "Recall@100": 0.9}
    mean = {name: float(value + rng.normal(0, 0.003)) for name, value in mean.items()}
    rerank = depth * 2.7
    return {
        "name": f"{retriever} + rerank {depth}" if depth else retriever,
        "retriever": retriever,
        "cross_encoder": "shortlist-ce-v1" if depth else None,
        "depth": depth,
        "mean": mean,
        "interval": {name: [value - 0.021, value + 0.02] for name, value in mean.items()},
        "ms": {
            "p50": ms + rerank,
            "p95": 1.4 * (ms + rerank),
            "encode": {"p50": 0.8 * ms, "p95": 1.1 * ms},
            "retrieve": {"p50": 0.2 * ms, "p95": 0.4 * ms},
            "rerank": {"p50": rerank, "p95": 1.5 * rerank} if depth else None,
        },
        "queries_per_second": 1000 / (ms + rerank),
        "index_bytes": index_bytes,
        "model_bytes": 22_700_000 if depth else 1_400_000,
        "pareto": False,
        "recommended": False,
    }


def _mark(systems: list[dict[str, Any]]) -> None:
    best = -1.0
    for system in sorted(systems, key=lambda system: system["ms"]["p50"]):
        system["pareto"] = system["mean"]["nDCG@10"] > best
        best = max(best, system["mean"]["nDCG@10"])
        system["recommended"] = system["name"] == "minilm + rerank 30"


def _comparison(
    rng: np.random.Generator, a: dict[str, Any], b: dict[str, Any], queries: int
) -> dict[str, Any]:
    before, after = a["mean"]["nDCG@10"], b["mean"]["nDCG@10"]
    half = float(rng.uniform(0.012, 0.03))
    p = math.erfc(1.96 * abs(after - before) / half / math.sqrt(2))
    changed = [{"query": f"q{n}", "before": 1.0, "after": 0.3155} for n in range(3)]
    return {
        "a": a["name"],
        "b": b["name"],
        "measure": "nDCG@10",
        "mean_a": before,
        "mean_b": after,
        "difference": after - before,
        "low": after - before - half,
        "high": after - before + half,
        "relative": after / before - 1,
        "p": p,
        "p_holm": min(1.0, 4 * p),
        "wins": 21,
        "ties": queries - 32,
        "losses": 11,
        "detectable": 1.4 * half,
        "queries": queries,
        "gained": [{"query": "q5", "before": 0.0, "after": 0.6309}],
        "lost": changed,
    }


def _curve(rng: np.random.Generator, retriever: str) -> dict[str, Any]:
    quality = RETRIEVERS[retriever][0]
    points = []
    for depth in (1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 1000):
        recall = min(0.99, quality - 0.1 + 0.165 * math.log10(depth) + 0.04)
        reached = quality + 0.16 * (1 - math.exp(-depth / 12)) + float(rng.normal(0, 0.002))
        scored = depth <= 100
        points.append(
            {
                "depth": depth,
                "recall": recall,
                "ceiling": min(0.995, recall + 0.08),
                "reached": min(reached, recall + 0.05) if scored else None,
                "low": min(reached, recall + 0.05) - 0.02 if scored else None,
                "high": min(reached, recall + 0.05) + 0.02 if scored else None,
                "ms": 8 + 2.7 * depth if scored else None,
            }
        )
    return {"retriever": retriever, "measure": "nDCG@10", "knee": 20, "points": points}


def _robustness(rng: np.random.Generator, queries: int) -> list[dict[str, Any]]:
    rows = []
    losses = {"misspelling": 0.39, "upper case": 0.0, "keywords": 0.12, "abbreviation": 0.2}
    for change, loss in losses.items():
        for system, share in (("bm25", 1.0), ("minilm", 0.4), ("minilm + rerank 30", 0.25)):
            clean = 0.66 + float(rng.normal(0, 0.02))
            difference = -clean * loss * share + float(rng.normal(0, 0.004))
            rows.append(
                {
                    "change": change,
                    "queries": queries - 7,
                    "system": system,
                    "measure": "nDCG@10",
                    "clean": clean,
                    "changed": clean + difference,
                    "difference": difference,
                    "low": difference - 0.02,
                    "high": difference + 0.02,
                    "relative": difference / clean,
                }
            )
    return rows[:-1]  # one system was not asked everything


def _kinds(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for kind in ("ordinary", "no_overlap", "misspelt"):
        for system in ("bm25", "minilm", "minilm + rerank 30"):
            mean = float(rng.uniform(0.3, 0.8))
            rows.append(
                {
                    "kind": kind,
                    "system": system,
                    "queries": 47,
                    "mean": mean,
                    "low": mean - 0.07,
                    "high": mean + 0.07,
                }
            )
    return rows


def _inspector(rng: np.random.Generator, queries: int) -> dict[str, Any]:
    return {
        "systems": {"before": "minilm", "after": "minilm + rerank 30"},
        "measure": "nDCG@10",
        "queries": [_query(rng, number) for number in range(queries)],
    }


def _query(rng: np.random.Generator, number: int) -> dict[str, Any]:
    """Ten passages of twelve stand in both rankings; passage 0 of the query's topic is relevant."""
    titles = list(TOPICS)
    about = titles[number % len(titles)]
    before = [about, *rng.permutation([title for title in titles if title != about]).tolist()]
    before.insert(int(min(11, rng.geometric(0.35) - 1)), before.pop(0))
    noise = {title: rng.normal(0, 2.0) for title in before}
    after = sorted(
        before, key=lambda title: before.index(title) + noise[title] - 3 * (title == about)
    )
    grades = {about: 2, titles[(number + 5) % len(titles)]: 0}

    def row(title: str, rank: int, score: float) -> dict[str, Any]:
        found = {"rank": rank, "id": f"{title} 0", "title": title, "text": TOPICS[title]}
        return {**found, "score": score, "grade": grades.get(title)}

    def gain(rank: int) -> float:
        return 1 / math.log2(rank + 1) if rank <= 10 else 0.0

    ranks = before.index(about) + 1, after.index(about) + 1
    return {
        "id": f"q{number}",
        "text": QUESTIONS[number % len(QUESTIONS)].format(about.lower()),
        "before": gain(ranks[0]),
        "after": gain(ranks[1]),
        "relevant": [
            {
                "id": f"{about} 0",
                "title": about,
                "text": TOPICS[about],
                "grade": 2,
                "rank_before": ranks[0],
                "rank_after": ranks[1],
            }
        ],
        "ranking_before": [row(t, n, 0.9 - 0.03 * n) for n, t in enumerate(before[:10], 1)],
        "ranking_after": [
            row(t, n, 8.0 - 1.3 * n) | {"rank_before": before.index(t) + 1}
            for n, t in enumerate(after[:10], 1)
        ],
    }


def _with_hostile_text(study: dict[str, Any]) -> dict[str, Any]:
    study["title"] += HOSTILE
    study["warnings"].append(HOSTILE)
    study["recommendation"]["reasons"].append(HOSTILE)
    study["recommendation"]["command"] += HOSTILE
    study["task"]["reasons"].append(HOSTILE)
    study["environment"][HOSTILE] = HOSTILE
    study["systems"][0]["name"] = study["systems"][0]["retriever"] = HOSTILE
    study["depth_curves"][0]["retriever"] = study["depth_curves"][0]["measure"] = HOSTILE
    study["robustness"][0]["change"] = study["kinds"][0]["kind"] = HOSTILE
    study["inspector"]["systems"]["before"] = HOSTILE
    for query in study["inspector"]["queries"]:
        query["text"] += HOSTILE
        for row in [*query["relevant"], *query["ranking_before"], *query["ranking_after"]]:
            row["title"] += HOSTILE
            row["text"] += HOSTILE
    return study
