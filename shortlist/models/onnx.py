"""The light path: a model exported to ONNX once, then run without importing torch.

An export is verified against torch on real sentences and cached under the fingerprint of the
weights, so that no other weights can ever be mistaken for it. The int8 graph is made from the
float32 one, held to it on real text, and cached beside it. Only the export imports torch and
sentence-transformers; running needs numpy, tokenizers and onnxruntime.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np

from shortlist.errors import ExportError, PrecisionError
from shortlist.models.batches import FloatArray, Int64Array
from shortlist.models.first_token import read_first_token_only
from shortlist.models.graph_cache import ExportedModel, cached, finish, opened, save
from shortlist.models.loading import ModelFolder
from shortlist.models.quantise import (
    LARGEST_WEIGHT,
    LARGEST_WEIGHT_SATURATING,
    quantise,
)
from shortlist.models.ranges import column_maxima
from shortlist.models.saturation import products_saturate
from shortlist.models.unpadded import LONGEST, without_mask

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

log = logging.getLogger(__name__)

Precision = Literal["float32", "int8"]
PrecisionChoice = Literal["auto", "float32", "int8"]
"""``auto``: int8 on a CPU for a model whose int8 graph meets its bounds, and float32 elsewhere."""

Run: TypeAlias = Callable[[dict[str, Int64Array]], FloatArray]
"""One batch -> float32 `[b, width]`; a graph of the light path takes texts of one length."""

T = TypeVar("T")

EXPORT_FORMAT = 5
QUANTISED_FORMAT = 5
LARGEST_DIFFERENCE = 1e-4  # between torch and ONNX Runtime, both float32, in any component


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A loaded model: its module takes the named inputs and returns `[b, width]`."""

    module: torch.nn.Module
    inputs: tuple[str, ...]
    examples: list[dict[str, Int64Array]]
    """What an export is traced with, the first of them, and verified on; without padding."""
    max_tokens: int = LONGEST  # that a text may have


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What the int8 graph of a model is made with and held to, on real text."""

    seen: Callable[[], list[dict[str, Int64Array]]]
    """Batches without padding, whose activations say how far fixed scales must reach."""
    checked: Callable[[], list[dict[str, Int64Array]]]
    """Others, on which the two are compared."""
    fault: Callable[[FloatArray, FloatArray], str | None]
    """(float32 outputs, int8 outputs), both `[n, width]` -> what is wrong; None where nothing."""


def exported(folder: ModelFolder, build: Callable[[], TorchModel]) -> ExportedModel:
    """The ONNX graph of a model, exported on first use.

    Args:
        folder: the model's files; their fingerprint is the key of the cache.
        build: loads the model with torch; called only when the cache has no export yet.

    Raises:
        ExportError: the export failed, or does not compute what torch computes.
    """
    key = f"{folder.fingerprint}-float32-v{EXPORT_FORMAT}"
    doing = f"exporting {folder.name} to ONNX"
    return cached(folder.name, key, doing, lambda home: _export(folder.name, home, build))


def exported_int8(
    folder: ModelFolder, build: Callable[[], TorchModel], quality: Quality
) -> ExportedModel:
    """The int8 graph of a model, made on first use from the float32 one.

    Raises:
        ExportError: as `exported`, and where the int8 graph does not meet `quality`.
    """
    key = f"{folder.fingerprint}-{variant('int8')}"

    def write(home: Path) -> None:
        _quantise(folder.name, exported(folder, build), home, quality)

    return cached(folder.name, key, f"quantising {folder.name}", write)


def light_path(
    folder: ModelFolder,
    build: Callable[[], TorchModel],
    quality: Quality,
    precision: Precision,
) -> tuple[Run, int]:
    """What runs a model's batches without torch, and the width of its output.

    Raises:
        ExportError: as `exported` and `exported_int8`.
    """
    if precision == "int8":
        graph = exported_int8(folder, build, quality)
    else:
        graph = exported(folder, build)
    return runner(graph), graph.width


def in_precision(load: Callable[[Precision], T], choice: PrecisionChoice, device: str) -> T:
    """Load a model in the precision that was chosen, or by ``auto`` in the fastest that is good.

    Args:
        load: makes the model in a precision.
        choice: what was asked for.
        device: where it will run, not ``auto``.

    Raises:
        PrecisionError: int8 was asked for, and the model loses too much in it.
    """
    if choice != "auto":
        return load(choice)
    if device != "cpu":
        return load("float32")
    try:
        return load("int8")
    except PrecisionError as error:
        log.info("%s", error)
        return load("float32")


def variant(precision: Precision) -> str:
    """What decides a number beside the weights: the precision, and how int8 is made here."""
    if precision == "float32":
        return precision
    return f"int8{'-7bit' if products_saturate() else ''}-v{QUANTISED_FORMAT}"


def loaded(build: Callable[[], TorchModel]) -> TorchModel:
    """Load a model with torch, without the bars that transformers draws for every file."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return build()


def _export(name: str, home: Path, build: Callable[[], TorchModel]) -> None:
    """Write the graph, and compare it with torch."""
    model = loaded(build)
    import torch

    exported_by_torch = home / "exported.onnx"
    example = tuple(torch.from_numpy(model.examples[0][key]) for key in model.inputs)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The TorchScript exporter is announced as the old one, and traces shapes on purpose.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model.module,
                example,
                str(exported_by_torch),
                input_names=list(model.inputs),
                output_names=["output"],
                dynamic_axes={key: {0: "batch", 1: "length"} for key in model.inputs}
                | {"output": {0: "batch"}},
                opset_version=17,
                dynamo=False,
            )
    except OSError:  # no space: who keeps the cache says so
        raise
    except Exception as error:  # torch raises dozens of kinds here
        raise ExportError(
            f"{name} cannot be exported to ONNX ({type(error).__name__}: {error}); "
            "run it with device='torch-cpu'"
        ) from error
    finish(_finished(exported_by_torch, home, name, model))
    exported_by_torch.unlink()


def _finished(exported_by_torch: Path, home: Path, name: str, model: TorchModel) -> ExportedModel:
    """The graph with as much left out of what nobody needs as gives the same numbers.

    That is, what hides padding, and the work for tokens that the output does not read.
    """
    import onnx

    def unmasked(graph: ModelProto) -> int:
        return without_mask(graph, model.inputs, model.max_tokens)

    for rewritings in ((unmasked, read_first_token_only), (read_first_token_only,)):
        try:
            graph = onnx.load(str(exported_by_torch))
            if sum(rewrite(graph) for rewrite in rewritings):
                return _verified(save(graph, home), name, model)
        except OSError:  # no space
            raise
        except Exception as error:  # it differs, or onnxruntime fails in one of many ways
            log.info("%s is run with more of what torch exports: %s", name, error)
    return _verified(save(onnx.load(str(exported_by_torch)), home), name, model)


def _quantise(name: str, full: ExportedModel, home: Path, quality: Quality) -> None:
    """Write the int8 graph, and compare it with float32.

    With fixed scales behind the layer norms, which are faster; a model for which they are too
    coarse gets a scale for each row everywhere.
    """
    batches = quality.checked()
    run = runner(full)
    expected = np.concatenate([run(arrays) for arrays in batches])
    maxima = column_maxima(full.path, home, quality.seen())
    fault: str | None = None
    for fixed in (maxima, {}) if maxima else ({},):
        draft = _int8_draft(full, home, fixed)
        run = runner(draft)
        fault = quality.fault(expected, np.concatenate([run(arrays) for arrays in batches]))
        if fault is None:
            return finish(draft)
        log.info("%s with %s scales: %s", name, "fixed" if fixed else "each row's own", fault)
    raise PrecisionError(f"{name} loses too much in int8: {fault}; it can be run in float32")


def _int8_draft(full: ExportedModel, home: Path, maxima: dict[str, FloatArray]) -> ExportedModel:
    import onnx

    graph = onnx.load(str(full.path))
    largest = LARGEST_WEIGHT_SATURATING if products_saturate() else LARGEST_WEIGHT
    quantise(graph, largest_weight=largest, maxima=maxima)
    return replace(full, path=save(graph, home))


def _verified(path: Path, name: str, model: TorchModel) -> ExportedModel:
    """A graph that gives what torch gives, on real sentences.

    Raises:
        ExportError: they differ.
    """
    draft = ExportedModel(path=path, inputs=model.inputs, width=0)
    run, run_torch = runner(draft), torch_runner(model)
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
    return replace(draft, width=width)


def torch_runner(model: TorchModel, device: str = "cpu") -> Run:
    """A function that runs one batch in torch on `device`, float32 `[b, width]`."""
    import torch

    module = model.module.to(device)

    def run(arrays: dict[str, Int64Array]) -> FloatArray:
        with torch.inference_mode():
            inputs = [torch.from_numpy(arrays[key]).to(device) for key in model.inputs]
            result: FloatArray = module(*inputs).float().cpu().numpy()
        return result

    return run


def runner(model: ExportedModel) -> Run:
    """A function that runs texts of one length, float32 `[b, width]`, on the calling thread.

    The session has a single thread of its own making: callers run batches on several threads
    instead, which keeps every core busy with one copy of the weights.

    Raises:
        ExportError: onnxruntime cannot read the file.
    """
    session = opened(model.path)

    def run(arrays: dict[str, Int64Array]) -> FloatArray:
        mask = arrays["attention_mask"] if "attention_mask" in arrays else np.ones((1, 1))
        if (mask != mask[:, :1]).any():
            raise ValueError("a batch for the light path has padding; expected texts of one length")
        (output,) = session.run(None, {name: arrays[name] for name in model.inputs})
        result: FloatArray = output
        return result

    return run


def cores() -> int:
    """How many CPU cores this process may use: no more than ``OMP_NUM_THREADS``, where it is set.

    Frameworks that share a machine between processes (Ray, Slurm) say so by that variable.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(own, max(1, int(asked))) if asked.isdecimal() else own
