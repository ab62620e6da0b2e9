"""Made-up texts whose embeddings lie near a surface, as those of real texts do."""

from __future__ import annotations

import hashlib

import numpy as np

from shortlist.records import Passage

DIM, LATENT, TOPICS = 24, 8, 40
ROWS = 2_500

_rng = np.random.default_rng(1)
_SURFACE = _rng.normal(size=(LATENT, DIM))
_TOPICS = _rng.normal(size=(TOPICS, LATENT)) * 1.5


def vector(text: str) -> np.ndarray:
    """The same at every call. "same7 ..." is what any other "same7 ..." is."""
    first = text.split()[0]
    name = first if first.startswith("same") else text
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))
    latent = _TOPICS[rng.integers(TOPICS)] + rng.normal(size=LATENT)
    return np.tanh(latent @ _SURFACE / 4) + rng.normal(size=DIM) * 0.05


def encode(texts):
    return np.stack([vector(text) for text in texts])


def encode_long_and_short(texts):
    """Of lengths from a third to three, for dot products."""
    lengths = [0.3 + len(set(text)) % 10 / 3 for text in texts]
    return encode(texts) * np.array(lengths)[:, None]


def passages(start: int, stop: int) -> list[Passage]:
    return [
        Passage(
            f"p{n}", f"item{n} first{n:05} second{n:05} third{n:05}", metadata={"year": n % 100}
        )
        for n in range(start, stop)
    ]


QUESTIONS = [f"question{n:04}" for n in range(100)]


def opened(path, encoder, engine, **options):
    from shortlist import RetrieveRerankPipeline

    return RetrieveRerankPipeline.open(
        path, bi_encoder=encoder, cross_encoder="none", engine=engine, **options
    )


def search_of(pipeline):
    """The engine's search over the state that the pipeline has open."""
    return pipeline._search_with_engine(pipeline.engine, pipeline.index)
