"""ONNX graphs kept under the user's cache folder: each appears whole, and is known to be whole.

A folder for each graph, named by its key: `model.onnx`, the large weights beside it in
`weights.bin`, which are mapped and not read when the graph is opened, and `export.json` with what
must be known of them. It is written last: a folder without it is no export.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shortlist.errors import ExportError
from shortlist.models.loading import cache_folder

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)

GRAPH = "model.onnx"
WEIGHTS = "weights.bin"
RECORD = "export.json"
LARGE_TENSOR = 1 << 14  # bytes from which a tensor is kept in the file of weights


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """What runs: the graph's file, and what must be known to feed it."""

    path: Path
    inputs: tuple[str, ...]
    width: int  # columns of the output


def cached(name: str, key: str, doing: str, write: Callable[[Path], object]) -> ExportedModel:
    """What is in the cache under a key; `write` fills a draft folder where there is nothing whole.

    Two processes may write at once: each fills a draft of its own, and the first rename wins. What
    is there and cannot be read is damaged, and put aside.

    Args:
        name: of the model, for messages.
        key: the folder's name: everything that decides the numbers.
        doing: what `write` does, for the log.
        write: makes a graph in a folder, by `save` and `finish`.

    Raises:
        ExportError: there is no place for the cache, or `write` raises it.
    """
    home = cache_folder() / "onnx" / key
    if (found := _read(home)) is not None:
        return found
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=home.parent))
    except OSError as error:
        raise ExportError(
            f"no place to keep the exported model {name}: {error}; "
            "name a writable folder in SHORTLIST_CACHE"
        ) from error
    try:
        log.info("%s; this is done once", doing)
        write(draft)
        if home.exists() and (found := _read(home)) is not None:
            return found
        if home.exists():
            home.rename(draft.with_name(draft.name + "-damaged"))
        draft.rename(home)
    except OSError as error:
        if (found := _read(home)) is not None:
            return found
        raise ExportError(
            f"could not write the exported model to {home}: {error}; free some space, or name "
            "another folder in SHORTLIST_CACHE"
        ) from error
    finally:
        for leftover in (draft, draft.with_name(draft.name + "-damaged")):
            shutil.rmtree(leftover, ignore_errors=True)
    found = _read(home)
    if found is None:
        raise ExportError(f"the exported model in {home} vanished; run the command again")
    return found


def save(graph: ModelProto, home: Path) -> Path:
    """Write a graph into a folder, over what was written there before; the graph is used up."""
    import onnx

    (home / WEIGHTS).unlink(missing_ok=True)  # onnx would append to it
    onnx.save(
        graph,
        str(home / GRAPH),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS,
        size_threshold=LARGE_TENSOR,
    )
    return home / GRAPH


def session(graph: str | bytes) -> Any:
    """A session of a single thread over a graph: its file, or what the file would hold."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # shapes change with every batch
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def opened(path: Path) -> Any:
    """A `session` over a graph of the cache.

    Raises:
        ExportError: onnxruntime cannot read the file.
    """
    try:
        return session(str(path))
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise ExportError(
            f"onnxruntime cannot load {path}: {error}; delete that folder and run again"
        ) from error


def finish(model: ExportedModel) -> None:
    """Make a folder that `save` wrote an export: its files are on the disk, and described."""
    home = model.path.parent
    files = {}
    for name in (GRAPH, WEIGHTS):
        if (home / name).exists():  # small models have no large weights
            with (home / name).open("rb") as file:
                os.fsync(file.fileno())
            files[name] = _stamp(home / name) | {"sha256": _sha256(home / name)}
    record = {"inputs": model.inputs, "width": model.width, "files": files}
    with (home / RECORD).open("w", encoding="utf-8") as record_file:
        json.dump(record, record_file)
        record_file.flush()
        os.fsync(record_file.fileno())


def _read(home: Path) -> ExportedModel | None:
    """A finished export, or None where there is none or one of its files is not what was written.

    Files that were not touched since are taken as they are; others, copies as well, are compared
    with their checksum.
    """
    try:
        record = json.loads((home / RECORD).read_text(encoding="utf-8"))
        for name, written in record["files"].items():
            stamp = _stamp(home / name)
            if stamp["size"] != written["size"]:
                return None
            untouched = stamp["modified"] == written["modified"]
            if not untouched and _sha256(home / name) != written["sha256"]:
                return None
        return ExportedModel(
            path=home / GRAPH, inputs=tuple(record["inputs"]), width=int(record["width"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size": status.st_size, "modified": status.st_mtime_ns}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
