"""What a library of approximate search must do to be an engine.

An engine holds vectors under labels 0, 1, 2, ... and names those that it takes for the nearest ones
to a query, by Euclidean distance. It knows nothing of scores, deleted passages or filters, and may
miss some: all of that is the same for every engine (`shortlist.pipeline.engines.approximate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from shortlist.errors import MissingExtraError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.exact.ranking import products_of
from shortlist.pipeline.exact.rows import Rows

Effort: TypeAlias = Mapping[str, int]
"""How hard an engine tries, in its own terms, such as ``{"ef": 96}``."""

Multiply: TypeAlias = Callable[[FloatArray, Rows, Int64Array], FloatArray]
"""Dot products in float32 of queries `[q, dim]` with rows of some numbers `[q, w]`."""

SEED = 20_261_127
_STEP = 2**0.25  # from one effort to the next


@dataclass(frozen=True)
class Vectors:
    """Vectors on their way into an engine.

    Attributes:
        count: how many.
        dim: of each.
        blocks: makes an iterator over all of them in the order of their labels, float32
            `[some, dim]` at a time.
        on_vectors: told how many are in, of those that go in now.
    """

    count: int
    dim: int
    blocks: Callable[[], Iterator[FloatArray]]
    on_vectors: Callable[[int], object] = lambda _: None

    def sample(self, size: int) -> FloatArray:
        """About `size` of them, spread evenly, float32 `[<= size, dim]`."""
        step = max(1, -(-self.count // size))
        taken, start = [], 0
        for block in self.blocks():
            taken.append(block[-start % step :: step])
            start += len(block)
        return np.concatenate(taken) if taken else np.empty((0, self.dim), np.float32)


class Engine(Protocol):
    """Vectors in the form that a library searches."""

    def __len__(self) -> int:
        """Labels that it has."""

    def add(self, vectors: Vectors) -> None:
        """Append vectors under the next labels. Only where `Kind.extends`."""

    def efforts(self, top_k: int) -> Sequence[Effort]:
        """What can be tried for so many neighbours, from the fastest to the most thorough."""

    def more(self, effort: Effort, factor: float) -> Effort:
        """The effort for `factor` times as many neighbours."""

    def nearest(
        self, queries: FloatArray, count: int, effort: Effort
    ) -> tuple[Int64Array, FloatArray | None]:
        """Labels of vectors near each query, and how near they are.

        Args:
            queries: float32 `[q, dim]`.
            count: how many are wanted, at most `len(self)`.
            effort: one of `efforts`.

        Returns:
            int64 `[q, n]` in any order, -1 in places that have none; and float32 `[q, n]`, the dot
            products summed in float32, or None where the engine knows no such numbers.
        """

    def save(self, folder: Path) -> None:
        """Write it into an empty folder."""

    def drop(self) -> None:
        """Remove what it keeps elsewhere than in the folder it was saved to."""

    def close(self) -> None:
        """Let go of files and connections."""


@dataclass(frozen=True)
class Kind:
    """A sort of engine: how one is made.

    Attributes:
        name: as users select it.
        extra: what has to be installed.
        modules: that are imported.
        library: the distribution whose version is recorded.
        settings: how it is built, recorded with what it made.
        extends: whether vectors can be added to one that is built.
        build: makes one.
        open: reads what `save` wrote; told how many labels and dimensions there are.
        multiply: makes dot products where the engine names many rows that it has no products of.
    """

    name: str
    extra: str
    modules: tuple[str, ...]
    library: str
    settings: Mapping[str, Any]
    extends: bool
    build: Callable[[Vectors, Mapping[str, Any]], Engine]
    open: Callable[[Path, int, int, Mapping[str, Any]], Engine]
    multiply: Multiply = products_of

    def require(self) -> None:
        """Raise MissingExtraError where the library is not installed."""
        if not all(find_spec(module) for module in self.modules):
            raise MissingExtraError(
                f"the engine {self.name} needs an extra: pip install 'shortlist[{self.extra}]'"
            )

    @property
    def library_version(self) -> str:
        """Name and version of the library, such as ``hnswlib 0.8.0``."""
        return version_of(self.library)


def version_of(library: str) -> str:
    """Name and version of an installed library."""
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:  # built from source
        return library


def ladder(least: float, most: float) -> list[int]:
    """Whole numbers from `least` to `most`, each a fifth more than the one before."""
    steps, step = list[int](), max(1.0, least)
    while step < most:
        steps.append(round(step))
        step *= _STEP
    return [*steps, max(1, round(most))]
