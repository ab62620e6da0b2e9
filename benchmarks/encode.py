"""Encoding against sentence-transformers: the same weights and texts, round by round in turn.

    python benchmarks/encode.py                      # minutes
    python benchmarks/encode.py --texts 64 --rounds 3

Short texts are Quora's questions, paragraphs are SQuAD's, long ones are several of them joined. The
rates are medians over the rounds, the ratios medians of the ratios of a round, so that another
process on the machine slows all of a round. `cosine` is to sentence-transformers' embeddings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from shortlist import BiEncoder
from shortlist.models.loading import resolve
from shortlist.models.onnx import cores, variant
from shortlist.models.saturation import products_saturate

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
LONG_TEXT = 1800  # characters, about 400 tokens


def collections(data: Path, count: int) -> dict[str, list[str]]:
    paragraphs = first_texts(data / "squad", 4 * count)
    return {
        "short": first_texts(data / "quora", 4 * count),
        "paragraph": paragraphs[:count],
        "long": joined(paragraphs, LONG_TEXT)[: count // 2],
    }


def first_texts(folder: Path, count: int) -> list[str]:
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in islice(lines, count)]


def joined(texts: list[str], length: int) -> list[str]:
    """Texts put together until each is at least `length` characters long."""
    made, text = [], ""
    for part in texts:
        text = f"{text} {part}".strip()
        if len(text) >= length:
            made.append(text)
            text = ""
    return made


def in_turn(
    systems: dict[str, Callable[[], object]], rounds: int, *, warm: bool = True
) -> dict[str, np.ndarray]:
    """Seconds of each system in each round, after one that is not counted (`warm`)."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(not warm, rounds + 1):
        for name, work in systems.items():
            start = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def machine() -> str:
    """What decides the speed of int8 here."""
    kind = "saturate (no VNNI)" if products_saturate() else "do not saturate (VNNI)"
    return f"{cores()} cores; products of uint8 and int8 {kind}; path {variant('int8')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument(
        "--texts", type=int, default=128, help="paragraphs; short texts: four times"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args()
    from sentence_transformers import SentenceTransformer

    folder = resolve(args.model)
    reference = SentenceTransformer(str(folder.path), device="cpu")
    models = {p: BiEncoder.load(args.model, device="cpu", precision=p) for p in ("float32", "int8")}
    print(f"{args.model}: {machine()}\n")
    print("| texts | tokens read | system | texts/s | ratio | mean cosine | least cosine |")
    print("|---|---|---|---|---|---|---|")
    for kind, texts in collections(args.data, args.texts).items():
        tokens = np.minimum(models["int8"].count_tokens(texts), models["int8"].max_tokens).mean()
        systems: dict[str, Callable[[], object]] = {
            "sentence-transformers": lambda texts=texts: reference.encode(texts),
            **{
                name: lambda model=model, texts=texts: model.encode_passages(texts)
                for name, model in models.items()
            },
        }
        seconds = in_turn(systems, args.rounds)
        expected = reference.encode(texts, normalize_embeddings=True)
        for name, values in seconds.items():
            ratio = np.median(seconds["sentence-transformers"] / values)
            cosines = (
                (models[name].encode_passages(texts) * expected).sum(axis=1)
                if name in models
                else np.ones(1)
            )
            print(
                f"| {len(texts)} {kind} | {tokens:.0f} | {name} | "
                f"{len(texts) / np.median(values):.1f} | {ratio:.2f} | {cosines.mean():.5f} | "
                f"{cosines.min():.5f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
