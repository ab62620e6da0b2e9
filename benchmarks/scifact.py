"""A published number and what the difference to ours is made of: SciFact, nDCG@10, retrieval.

    python benchmarks/scifact.py            # about eight minutes on two cores

all-MiniLM-L6-v2 on the official test set of BEIR has 0.6451 in MTEB's published results. The same
here, title, a blank, text, exact search over all 5,183 abstracts: as the pipeline reads them (256
tokens) and in variants of what could differ. Scored by pytrec_eval directly.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytrec_eval

from shortlist import BiEncoder
from shortlist.data.collections import read_table
from shortlist.data.ledger import Ledger
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.models.loading import resolve
from shortlist.models.presets import MINILM
from shortlist.pipeline.topk import exact_top_k
from shortlist.records import Passage

PUBLISHED = 0.6451


def variants(passages: list[Passage]) -> Iterator[tuple[str, int, list[str]]]:
    """What it is, tokens read, and the texts."""
    whole = [passage.model_text for passage in passages]
    yield "title, a blank, text; 256 tokens (as the pipeline reads)", 256, whole
    yield "the text without its title; 256 tokens", 256, [p.text for p in passages]
    yield "title, a blank, text; 128 tokens", 128, whole
    yield "title, a blank, text; 512 tokens", 512, whole


def reading(tokens: int, folder: Path) -> BiEncoder:
    """The same weights, reading so many tokens."""
    own = resolve(MINILM).path
    if tokens == 256:
        return BiEncoder.load(MINILM)
    place = folder / str(tokens)
    if not place.exists():
        shutil.copytree(own, place)
        settings = json.loads((place / "sentence_bert_config.json").read_text())
        settings["max_seq_length"] = tokens
        (place / "sentence_bert_config.json").write_text(json.dumps(settings))
        other = json.loads((place / "tokenizer_config.json").read_text())
        (place / "tokenizer_config.json").write_text(json.dumps({**other, "model_max_length": 512}))
    return BiEncoder.load(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "scifact"
    parser.add_argument("--folder", type=Path, default=beside)
    args = parser.parse_args()
    passages = list(read_table(args.folder / "corpus.jsonl", Ledger()))
    queries = read_queries(args.folder / "queries.jsonl")
    qrels = read_qrels(args.folder / "qrels" / "test.tsv")
    print(f"{len(passages):,} passages, {len(qrels)} questions; published {PUBLISHED}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for what, tokens, texts in variants(passages):
            encoder = reading(tokens, Path(folder))
            embeddings = encoder.encode_passages(texts)
            scores, rows = exact_top_k(
                encoder.encode_queries([queries[i] for i in qrels]), embeddings, 100
            )
            run = {
                query: {
                    passages[row].id: float(value)
                    for row, value in zip(found, row_scores, strict=True)
                }
                for query, found, row_scores in zip(
                    qrels, rows.tolist(), scores.tolist(), strict=True
                )
            }
            found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
            mean = sum(value["ndcg_cut_10"] for value in found.values()) / len(qrels)
            print(f"{mean:.4f} ({mean - PUBLISHED:+.4f})  {what}", flush=True)


if __name__ == "__main__":
    main()
