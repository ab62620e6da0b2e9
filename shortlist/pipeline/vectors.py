"""The user's own vectors: matched to passages by their ids, checked against the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.data import streams
from shortlist.data.atomic import written
from shortlist.errors import DataError
from shortlist.models.encoders import Encoder
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.segments import npy_header
from shortlist.records import Passage

SAMPLE = 16  # passages encoded again to see whether the vectors are the model's
LEAST_COSINE = 0.98  # of each of them: float16 and int8 copies pass, another model does not
_NAMED = 10  # ids in an error message


class OwnVectors:
    """Embeddings from a file or array, one a passage.

    Args:
        embeddings: float `[n, dim]`, memory-mapped ones too; any float type.
        ids: the passage id of each row; None where the rows are in the order of the passages.

    Raises:
        DataError: not `[n, dim]` numbers, another number of ids than rows, or an id twice.
    """

    def __init__(self, embeddings: Any, ids: Sequence[str] | None = None) -> None:
        array = embeddings if isinstance(embeddings, np.ndarray) else np.asarray(embeddings)
        self.embeddings = array
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise DataError(
                f"own embeddings: expected floats [n, dim], got {array.dtype} {array.shape}"
            )
        self.rows: dict[str, int] | None = None
        if ids is not None:
            if len(ids) != len(embeddings):
                raise DataError(f"{len(ids)} ids for {len(embeddings)} rows of embeddings")
            self.rows = {identifier: row for row, identifier in enumerate(ids)}
            if len(self.rows) != len(ids):
                twice = next(i for row, i in enumerate(ids) if self.rows[i] != row)
                raise DataError(f"the id {twice!r} stands for two rows of the embeddings")

    @property
    def dim(self) -> int:
        """Columns of an embedding."""
        return int(self.embeddings.shape[1])

    def matched(self, passages: Iterable[Passage]) -> Iterator[tuple[Passage, int]]:
        """Yield each passage with its row; every row must be asked for exactly once.

        Raises:
            DataError: at the end of the passages, where some of either side had no partner.
        """
        count, missing = 0, list[str]()
        for passage in passages:
            row = count if self.rows is None else self.rows.get(passage.id, -1)
            if 0 <= row < len(self.embeddings):
                count += 1
                yield passage, row
            elif len(missing) < _NAMED:
                missing.append(passage.id)
        if missing:
            raise DataError(
                f"no embedding for the passages {', '.join(map(repr, missing))} (at least); "
                "every passage needs one"
            )
        if count != len(self.embeddings):
            raise DataError(
                f"{len(self.embeddings)} rows of embeddings for {count} passages; leave out what "
                "belongs to no passage"
            )


def read_vectors(embeddings: Path, ids: Path | None) -> OwnVectors:
    """Open a `.npy` file of embeddings, memory-mapped, and the file with one id a line.

    Raises:
        DataError: a file that is not what it should be.
    """
    try:
        array = np.load(embeddings, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{embeddings}: expected a .npy array of floats ({error})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{embeddings}: expected one .npy array, got an archive (.npz)")
    return OwnVectors(array, None if ids is None else read_ids(ids))


class NpyWriter:
    """Writes float32 embeddings to a `.npy` file as they come; it appears when it is complete.

    A context manager; leaving it by an exception leaves no file.
    """

    def __init__(self, path: Path, dim: int) -> None:
        if path.suffix == ".gz":
            raise DataError(f"{path}: embeddings are memory-mapped and cannot be gzipped; use .npy")
        self._path = path
        self._dim = dim
        self._rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> NpyWriter:
        self._stream = self._stack.enter_context(written(self._path))
        self._stream.write(npy_header("float32", (0, self._dim)))  # until the rows are counted
        return self

    def write(self, embeddings: FloatArray) -> None:
        """Append rows `[n, dim]`."""
        rows = np.ascontiguousarray(embeddings, dtype="<f4").reshape(-1, self._dim)
        self._stream.write(rows.tobytes())
        self._rows += len(rows)

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._stream.seek(0)
            self._stream.write(npy_header("float32", (self._rows, self._dim)))
        self._stack.__exit__(*error)


def read_ids(path: Path) -> list[str]:
    """Read one id a line; a trailing tab and what follows it are left out.

    Raises:
        DataError: an empty line (the line number is the row number, so none may be skipped).
    """
    streams.check(path)
    ids = []
    for number, line in streams.lines(path):
        identifier = line.partition("\t")[0]
        if not identifier.strip():
            raise DataError(f"{path}:{number}: an empty line; expected the id of row {number}")
        ids.append(identifier)
    return ids


def cosines_to(
    encoder: Encoder, texts: Sequence[str], embeddings: FloatArray
) -> NDArray[np.float64]:
    """Cosine of each embedding, `[len(texts), dim]`, to what the encoder makes of its text."""
    made = encoder.encode_passages(list(texts)).astype(np.float64)
    given = embeddings.astype(np.float64)
    norms = np.linalg.norm(made, axis=1) * np.linalg.norm(given, axis=1)
    cosines: NDArray[np.float64] = np.sum(made * given, axis=1) / np.maximum(norms, 1e-30)
    return cosines


def check_same_model(
    encoder: Encoder, texts: Sequence[str], embeddings: FloatArray, what: str
) -> None:
    """Encode a few texts again and compare.

    Raises:
        DataError: the embeddings, `[len(texts), dim]`, are not those of the encoder.
    """
    pairs = [(text, row) for text, row in zip(texts, embeddings, strict=True) if text.strip()]
    pairs = pairs[:SAMPLE]
    if not pairs:
        return
    cosines = cosines_to(encoder, [text for text, _ in pairs], np.array([row for _, row in pairs]))
    worst = int(np.argmin(cosines))
    if cosines[worst] < LEAST_COSINE:
        raise DataError(
            f"{what} are not those of {encoder.name}: of {len(pairs)} passages encoded again the "
            f"cosines to them are {cosines.mean():.3f} in the mean and {cosines[worst]:.3f} at "
            f"least (for {pairs[worst][0][:60]!r}), expected {LEAST_COSINE}; name the model that "
            "made them, with its prompts, and their ids in the order of the rows"
        )
