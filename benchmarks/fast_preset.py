"""How many texts a second the preset `fast` encodes, against the ONNX all-MiniLM-L6-v2.

    python benchmarks/fast_preset.py [COLLECTION] [--texts 256] [--rounds 5]

Both encode the same passages on the CPU, in turns; the median of the rounds, and of the ratios
within a round, is what counts. Without a COLLECTION the sample encyclopedia is taken. Queries are
measured one by one, as a search encodes them: the first words of the passages.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.models.bi_encoder import BiEncoder
from shortlist.pipeline.stages import load_bi_encoder

WORDS_OF_A_QUERY = 8
QUERIES = 50


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def one_by_one(model: BiEncoder, queries: list[str]) -> None:
    for query in queries:
        model.encode_queries([query])


def in_turns(first: Callable[[], object], second: Callable[[], object], rounds: int) -> list:
    """Seconds of both in each round, after one that is not counted."""
    first(), second()
    return [(seconds(first), seconds(second)) for _ in range(rounds)]


def report(what: str, count: int, times: list) -> None:
    fast, slow = (count / median(column) for column in zip(*times, strict=True))
    ratios = sorted(b / a for a, b in times)
    print(
        f"| {what} | {count} | {fast:,.0f} | {slow:,.0f} | {median(ratios):.0f} "
        f"({ratios[0]:.0f} to {ratios[-1]:.0f}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", nargs="?", type=Path, default=SAMPLE / "encyclopedia.xml")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    fast, slow = (load_bi_encoder(name, device="cpu") for name in ("fast", "minilm"))
    passages = load(options.collection, Cutting(slow.count_tokens, slow.max_tokens)).passages
    texts = [passage.model_text for passage in islice(passages, options.texts)]
    queries = [" ".join(text.split()[:WORDS_OF_A_QUERY]) for text in texts[:QUERIES]]
    tokens = median(fast.count_tokens(texts))
    print(f"| | texts | {fast.name}, a second | {slow.name}, a second | times as many |")
    print("|---|---|---|---|---|")
    times = in_turns(
        lambda: fast.encode_passages(texts), lambda: slow.encode_passages(texts), options.rounds
    )
    report(f"passages, median {tokens:.0f} tokens", len(texts), times)
    times = in_turns(
        lambda: one_by_one(fast, queries), lambda: one_by_one(slow, queries), options.rounds
    )
    report(f"queries of {WORDS_OF_A_QUERY} words, one by one", len(queries), times)


if __name__ == "__main__":
    main()
