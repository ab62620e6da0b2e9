"""When words help meaning: BM25, embeddings and both fused, set by set, on dev questions.

    python benchmarks/hybrid.py            # an hour of CPU the first time; what it encodes is kept
    python benchmarks/hybrid.py --rerank 0 # retrieval alone: ten minutes

All dev questions are searched by each first stage. The weight of the weighted fusion is chosen on
every second question of all sets together and measured on the others, as is everything else in the
table. Then a seeded sample is reranked, 30 candidates of each first stage, by the same rule. Test
splits are not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from two_stages import passages_of, sample

from shortlist import BiEncoder, RetrieveRerankPipeline
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.metrics import score
from shortlist.evaluation.significance import paired_bootstrap
from shortlist.pipeline.engines.opening import opened_words
from shortlist.pipeline.fuse import ReciprocalRank, Weighted, fused
from shortlist.pipeline.index import Index

SETS = (
    "squad",
    "squadshifts_new_wiki",
    "squadshifts_reddit",
    "squadshifts_amazon_reviews",
    "medquad",
    "msmarco",
    "publications",
    "quora",
)
OWN_QUERY = {"quora"}  # the question is in the corpus
DEPTH = 100
WEIGHTS = np.round(np.arange(0.3, 1.0, 0.1), 1)  # of meaning
MEASURES = ("nDCG@10", "MRR@10", "Recall@100")


def rankings(data: Path, work: Path, name: str, encoder: BiEncoder):
    """Queries, qrels, ids by row, and both first stages' rankings of all judged dev questions."""
    path = work / f"{name}.idx"
    if not (path / "manifest.json").exists():
        RetrieveRerankPipeline.build(passages_of(data / name), path, bi_encoder=encoder)
    pipeline = RetrieveRerankPipeline.open(path, bi_encoder=encoder)
    queries = read_queries(data / name / "queries.jsonl")
    qrels = read_qrels(data / name / "qrels" / "dev.tsv")
    judged = [q for q in sample(qrels, 10**9) if q in queries]
    texts = [queries[q] for q in judged]
    meaning = pipeline._search_over(pipeline.index).search(
        encoder.encode_queries(texts), min(DEPTH + 1, len(pipeline.index))
    )
    words = opened_words(Index(path)).words.search(texts, DEPTH + 1)
    ids = [passage.id for passage in pipeline.index.all_passages()]
    return pipeline, queries, {q: qrels[q] for q in judged}, ids, (meaning, words)


def by_id(judged, ids, ranking, own: bool):
    _, rows = ranking
    return {
        query: [ids[r] for r in row if r >= 0 and not (own and ids[r] == query)][:DEPTH]
        for query, row in zip(judged, rows, strict=True)
    }


def values(found, qrels, queries):
    kept = {q: found[q] for q in queries}
    scores = score(kept, {q: qrels[q] for q in queries}, MEASURES)
    return {measure: [per[q] for q in queries] for measure, per in scores.per_query.items()}


def main() -> None:
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=here.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=here / "work" / "hybrid")
    parser.add_argument("--rerank", type=int, default=150, help="questions of each set")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    args = parser.parse_args()
    encoder = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
    found = {}
    for name in args.sets:
        found[name] = rankings(args.data, args.work, name, encoder)
    weight = chosen_weight(found)
    print(f"weight of meaning, chosen on half of the questions: {weight:g}")
    retrieval(found, weight)
    if args.rerank:
        reranked(found, args.rerank, encoder, args.work)


def halves(judged):
    ordered = sorted(judged)
    return ordered[::2], ordered[1::2]


def chosen_weight(found) -> float:
    means = []
    for weight in WEIGHTS:
        each = []
        for name, (_, _, qrels, ids, parts) in found.items():
            both = fused(parts, DEPTH + 1, Weighted((weight, 1 - weight)))
            fit, _ = halves(qrels)
            made = by_id(qrels, ids, both, name in OWN_QUERY)
            each.append(np.mean(values(made, qrels, fit)["nDCG@10"]))
        means.append(np.mean(each))
        print(f"  weight {weight:g}: mean nDCG@10 of the sets {means[-1]:.4f}")
    return float(WEIGHTS[int(np.argmax(means))])


def retrieval(found, weight: float) -> None:
    print("\nset, questions: nDCG@10 / MRR@10 / Recall@100 of each; fused less the better part")
    for name, (_, _, qrels, ids, parts) in found.items():
        _, measured = halves(qrels)
        systems = {
            "meaning": parts[0],
            "words": parts[1],
            "rrf": fused(parts, DEPTH + 1, ReciprocalRank()),
            "weighted": fused(parts, DEPTH + 1, Weighted((weight, 1 - weight))),
        }
        scores = {
            system: values(by_id(qrels, ids, ranking, name in OWN_QUERY), qrels, measured)
            for system, ranking in systems.items()
        }
        print(f"{name}, {len(measured)}")
        for system, per in scores.items():
            print(f"  {system:9}", " ".join(f"{np.mean(per[m]):.4f}" for m in MEASURES))
        better = max(("meaning", "words"), key=lambda s: np.mean(scores[s]["nDCG@10"]))
        for system in ("rrf", "weighted"):
            one, other = scores[better]["nDCG@10"], scores[system]["nDCG@10"]
            print(f"  {system} - {better}: {change(one, other)}")


def change(one, other) -> str:
    found = paired_bootstrap(one, other)
    return f"{found.mean_difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def reranked(found, count: int, encoder: BiEncoder, work: Path) -> None:
    print(f"\nreranked, 30 candidates, {count} questions: nDCG@10; less that of meaning")
    for name, (pipeline, queries, qrels, _, _) in found.items():
        if name in OWN_QUERY:
            continue  # no reranker of ours is for questions that are alike
        asked = sample(qrels, count)
        scores = {}
        for engine in ("exact", "bm25", "exact+bm25"):
            opened = RetrieveRerankPipeline.open(
                work / f"{name}.idx",
                bi_encoder=encoder,
                cross_encoder=pipeline.cross_encoder,
                engine=engine,
                fuse="weighted",
            )
            hits = opened.search_many([queries[q] for q in asked], top_k=30)
            ranking = {q: [hit.id for hit in h] for q, h in zip(asked, hits, strict=True)}
            scores[engine] = values(ranking, qrels, asked)["nDCG@10"]
        print(f"{name}, {len(asked)}")
        for engine, per in scores.items():
            print(f"  {engine:11} {np.mean(per):.4f}  {change(scores['exact'], per)}")


if __name__ == "__main__":
    main()
