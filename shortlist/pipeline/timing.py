"""What took how long: told by the stages of a search, summed up by whoever asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

OnStage: TypeAlias = Callable[[str, float], object]
"""Told the name of a stage ("encode", "retrieve", "rerank") and its wall-clock seconds."""


@contextmanager
def timed(stage: str, on_stage: OnStage | None) -> Iterator[None]:
    """Tell `on_stage` how long the block took; nothing is told of a stage without a name."""
    started = time.perf_counter()
    yield
    if on_stage and stage:
        on_stage(stage, time.perf_counter() - started)
