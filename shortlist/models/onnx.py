"""The light path: a model exported to ONNX once, then run without importing torch.

An export is verified against torch on real sentences and cached under the fingerprint of the
weights, so that no other weights can ever be mistaken for it. Only the export imports torch and
sentence-transformers; running needs numpy, tokenizers and onnxruntime.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shortlist.errors import ExportError
from shortlist.models.batches import FloatArray, Int64Array
from shortlist.models.loading import ModelFolder, cache_folder

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

EXPORT_FORMAT = 1
LARGEST_DIFFERENCE = 1e-4  # between torch and ONNX Runtime, both float32, in any component

# Of different lengths, so that padding and dynamic shapes are exercised.
VERIFICATION_TEXTS = (
    "How do plants make food?",
    "Plants make sugar from water and carbon dioxide, with light as the source of energy.",
    "tea",
    "The first lighthouse keepers trimmed wicks by hand, several times every night, and wrote the "
    "weather, the passing ships and the state of the lamp into a book that nobody was to read.",
    "Naïve café owners — 42 % of them — said: “¿qué?”",
)


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A loaded model: its module takes the named inputs and returns `[b, width]`."""

    module: torch.nn.Module
    inputs: tuple[str, ...]
    examples: list[dict[str, Int64Array]]  # padded batches that an export is verified on


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """What runs: the graph's file, and what must be known to feed it."""

    path: Path
    inputs: tuple[str, ...]
    width: int  # columns of the output
    size: int  # bytes of the graph's file; a torn copy is noticed by it


def exported(folder: ModelFolder, build: Callable[[], TorchModel]) -> ExportedModel:
    """The ONNX graph of a model, exported on first use.

    Args:
        folder: the model's files; their fingerprint is the key of the cache.
        build: loads the model with torch; called only when the cache has no export yet.

    Raises:
        ExportError: the export failed, or does not compute what torch computes.
    """
    home = cache_folder() / "onnx" / f"{folder.fingerprint}-float32-v{EXPORT_FORMAT}"
    if (found := _read(home)) is not None:
        return found
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.fingerprint}-", dir=home.parent))
    except OSError as error:
        raise ExportError(
            f"no place to keep the exported model {folder.name}: {error}; "
            "name a writable folder in SHORTLIST_CACHE"
        ) from error
    try:
        log.info("exporting %s to ONNX; this is done once", folder.name)
        _export(folder.name, draft, loaded(build))
        # Two processes may export at once: each writes a draft of its own, and the first rename
        # wins. What is there and cannot be read is damaged, and put aside.
        if home.exists() and (found := _read(home)) is not None:
            return found
        if home.exists():
            home.rename(draft.with_name(draft.name + "-damaged"))
        draft.rename(home)
    except OSError as error:
        if (found := _read(home)) is not None:
            return found
        raise ExportError(f"could not write the exported model to {home}: {error}") from error
    finally:
        for leftover in (draft, draft.with_name(draft.name + "-damaged")):
            shutil.rmtree(leftover, ignore_errors=True)
    found = _read(home)
    if found is None:
        raise ExportError(f"the exported model in {home} vanished; run the command again")
    return found


def loaded(build: Callable[[], TorchModel]) -> TorchModel:
    """Load a model with torch, without the bars that transformers draws for every file."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return build()


def _read(home: Path) -> ExportedModel | None:
    """A finished export, or None where there is none or its file is not whole."""
    try:
        record = json.loads((home / "export.json").read_text(encoding="utf-8"))
        path = home / "model.onnx"
        if path.stat().st_size != record["size"]:
            return None
        return ExportedModel(
            path=path, inputs=tuple(record["inputs"]), width=record["width"], size=record["size"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _export(name: str, home: Path, model: TorchModel) -> None:
    """Write the graph as model.onnx, compare it with torch, and write export.json last."""
    import torch

    path = home / "model.onnx"
    example = tuple(torch.from_numpy(model.examples[0][key]) for key in model.inputs)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The TorchScript exporter is announced as the old one, and traces shapes on purpose.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model.module,
                example,
                str(path),
                input_names=list(model.inputs),
                output_names=["output"],
                dynamic_axes={key: {0: "batch", 1: "length"} for key in model.inputs}
                | {"output": {0: "batch"}},
                opset_version=17,
                dynamo=False,
            )
    except Exception as error:  # torch raises dozens of kinds here
        raise ExportError(
            f"{name} cannot be exported to ONNX ({type(error).__name__}: {error}); "
            "run it with device='torch-cpu'"
        ) from error
    draft = ExportedModel(path=path, inputs=model.inputs, width=0, size=path.stat().st_size)
    record = asdict(draft) | {"path": path.name, "width": _verify(name, draft, model)}
    with (home / "export.json").open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())


def _verify(name: str, exported_model: ExportedModel, model: TorchModel) -> int:
    """Run both on the same padded batches of real sentences; return the width of the output."""
    run, run_torch = runner(exported_model), torch_runner(model)
    width = 0
    for arrays in model.examples:
        got, expected = run(arrays), run_torch(arrays)
        width = int(got.shape[1])
        worst = float(np.abs(got - expected).max())
        accepted = LARGEST_DIFFERENCE * max(1.0, float(np.abs(expected).max()))
        if not worst <= accepted:  # a NaN fails as well
            raise ExportError(
                f"{name}: the ONNX export differs from torch by {worst:.2g} (at most "
                f"{accepted:.2g} is accepted); run it with device='torch-cpu'"
            )
    return width


def torch_runner(
    model: TorchModel, device: str = "cpu"
) -> Callable[[dict[str, Int64Array]], FloatArray]:
    """A function that runs one padded batch in torch on `device`, float32 `[b, width]`."""
    import torch

    module = model.module.to(device)

    def run(arrays: dict[str, Int64Array]) -> FloatArray:
        with torch.inference_mode():
            inputs = [torch.from_numpy(arrays[key]).to(device) for key in model.inputs]
            result: FloatArray = module(*inputs).float().cpu().numpy()
        return result

    return run


def runner(model: ExportedModel) -> Callable[[dict[str, Int64Array]], FloatArray]:
    """A function that runs one padded batch, float32 `[b, width]`, on the calling thread.

    The session has a single thread of its own making: callers run batches on several threads
    instead, which keeps every core busy with one copy of the weights.

    Raises:
        ExportError: onnxruntime cannot read the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # shapes change with every batch
    try:
        session = onnxruntime.InferenceSession(
            str(model.path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise ExportError(
            f"onnxruntime cannot load {model.path}: {error}; delete that folder and run again"
        ) from error

    def run(arrays: dict[str, Int64Array]) -> FloatArray:
        (output,) = session.run(None, {name: arrays[name] for name in model.inputs})
        result: FloatArray = output
        return result

    return run


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
