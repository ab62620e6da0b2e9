"""Which models make the two stages: chosen to build an index, found again to open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import shortlist
from shortlist.errors import DataError, IndexFolderError, UsageError
from shortlist.models.bi_encoder import BiEncoder, choose_device
from shortlist.models.cross_encoder import require_one_logit
from shortlist.models.encoders import OWN, Encoder, FunctionEncoder
from shortlist.models.loading import SUCCESSORS, resolve
from shortlist.models.onnx import PrecisionChoice
from shortlist.models.registered import preset as preset_named
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest, ModelRecord, Store, checked_store
from shortlist.pipeline.vectors import check_same_model

EncoderChoice: TypeAlias = str | Path | Encoder | Callable[[list[str]], Any] | None
"""A name, a folder, a loaded encoder, a function from texts to vectors; None: the preset's."""

NO_MODEL = "none"  # on the command line and in `cross_encoder=`


def load_bi_encoder(
    preset: str,
    name: str | Path | None = None,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
) -> BiEncoder:
    """The first stage of a preset, or another model in its place (with its own prompts)."""
    row = preset_named(preset)
    if name is not None:
        return BiEncoder.load(name, device=device, precision=precision)
    return BiEncoder.load(
        row.bi_encoder,
        query_prompt=row.query_prompt or None,
        passage_prompt=row.passage_prompt or None,
        device=device,
        precision=precision,
    )


def precision_beside(vectors: Any, precision: PrecisionChoice) -> PrecisionChoice:
    """The precision of the encoder where a user may bring vectors: most were made in float32."""
    return "float32" if vectors is not None and precision == "auto" else precision


def first_stage(
    choice: EncoderChoice, preset: str, *, device: str = "auto", precision: PrecisionChoice = "auto"
) -> Encoder:
    """The encoder to build an index with; one that is given has its own device and precision."""
    given = _given(choice)
    if given is not None:
        return given
    name = choice if isinstance(choice, str | Path) else None
    return load_bi_encoder(preset, name, device=device, precision=precision)


def _given(choice: EncoderChoice) -> Encoder | None:
    if choice is None or isinstance(choice, str | Path):
        return None
    if hasattr(choice, "encode_passages"):
        return cast(Encoder, choice)
    if callable(choice):
        return FunctionEncoder(choice)
    raise UsageError(
        f"bi_encoder is a {type(choice).__name__}; expected a name, a folder, a BiEncoder, or a "
        "function from texts to embeddings"
    )


def second_stage(chosen: str | None, default: str | None) -> str | None:
    """The cross-encoder's name; None where there is to be none.

    Where an index or a preset of the user's names an earlier edition of ours, it is the successor.
    """
    if chosen is None:
        return SUCCESSORS.get(default, default) if default else None
    return None if chosen == NO_MODEL else chosen


def checked_second_stage(chosen: str | None, preset: str) -> str | None:
    """The canonical name of the second stage: what cannot rerank is an error before the encoding.

    Raises:
        ModelError: no such model, or not one with a single logit.
    """
    second = second_stage(chosen, preset_named(preset).cross_encoder)
    if second is None:
        return None
    folder = resolve(second)
    require_one_logit(folder)
    return folder.name


def encoder_of(
    index: Index,
    choice: EncoderChoice = None,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
) -> Encoder:
    """The encoder that an index was made with, found by its recorded name or given by `choice`.

    Queries may be encoded in another precision than the passages were, for the weights are the
    same; by default they are encoded in that of the passages, where the device allows it.

    Raises:
        IndexFolderError: it is another model than the one that made the index; both are named.
    """
    encoder = recorded_encoder(
        index.path, index.manifest.model, choice, device=device, precision=precision
    )
    check_function(index, encoder)
    return encoder


def recorded_encoder(
    path: Path,
    made_with: ModelRecord,
    choice: EncoderChoice = None,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
) -> Encoder:
    """As `encoder_of`, by what the manifest of the index at `path` says; a function is believed."""
    encoder = _given(choice)
    if encoder is None:
        if choice is None and made_with.name.startswith(OWN):
            raise IndexFolderError(
                f"{path} was made with the function {made_with.name.removeprefix(OWN)}; open "
                "it in Python, with RetrieveRerankPipeline.open(..., bi_encoder=that_function)"
            )
        name = choice if isinstance(choice, str | Path) else made_with.name
        if precision == "auto" and choose_device(device) == "cpu":
            precision = made_with.precision
        encoder = BiEncoder.load(
            name,
            query_prompt=made_with.query_prompt,
            passage_prompt=made_with.passage_prompt,
            device=device,
            precision=precision,
        )
    given = model_record(encoder)
    if isinstance(encoder, FunctionEncoder) and made_with.name.startswith(OWN):
        given = replace(given, fingerprint=made_with.fingerprint)  # its name says little
    if replace(given, name=made_with.name, precision=made_with.precision) != made_with:
        raise IndexFolderError(
            f"{path} was made with {made_with.name} (fingerprint {made_with.fingerprint}), "
            f"not with {given.name} (fingerprint {given.fingerprint}); open it with the model it "
            "was made with, or build it again"
        )
    return encoder


def check_function(index: Index, encoder: Encoder) -> None:
    """Compare what a function makes of four passages with what the index has of them.

    Raises:
        IndexFolderError: it is another function, though it has the same name.
    """
    if not isinstance(encoder, FunctionEncoder):
        return
    rows = index.live_rows[:4]
    texts = [passage.model_text for passage in index.passages(rows)]
    try:
        check_same_model(encoder, texts, index.vectors(rows), "the index's embeddings")
    except DataError as error:
        raise IndexFolderError(f"{index.path}: {error}") from error


def new_manifest(
    encoder: Encoder,
    *,
    cross_encoder: str | None,
    preset: str,
    store: Store,
    source: dict[str, Any],
) -> Manifest:
    """What an index is to be, before there is anything in it.

    Raises:
        ModelError: no such second stage.
        UsageError: embeddings cannot be kept so.
    """
    return Manifest(
        model=model_record(encoder),
        cross_encoder=checked_second_stage(cross_encoder, preset),
        store=checked_store(store),
        source=source,
        created_by=f"shortlist {shortlist.__version__}",
    )


def model_record(encoder: Encoder) -> ModelRecord:
    """What an index remembers of the model that made it."""
    return ModelRecord(
        name=encoder.name,
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        metric=encoder.metric,
        max_tokens=encoder.max_tokens,
        query_prompt=encoder.query_prompt,
        passage_prompt=encoder.passage_prompt,
        precision=getattr(encoder, "precision", "float32"),
    )
