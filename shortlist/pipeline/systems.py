"""The systems that there are to choose from: BM25, and every bi-encoder that is on this machine.

All search the same passages. Indexes and scores of pairs are kept in a folder by the fingerprints
of what they were made from, so that nothing is encoded or scored twice, in this run or the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from shortlist.errors import ModelError, UsageError
from shortlist.evaluation.choose import LEXICAL, FirstStage
from shortlist.models.bi_encoder import BiEncoder
from shortlist.models.cross_encoder import CrossEncoder
from shortlist.models.loading import (
    WEIGHTS_PACKAGE_NAMES,
    bi_encoders_in_cache,
    is_in_cache,
    local_names,
    resolve,
)
from shortlist.models.onnx import PrecisionChoice, variant
from shortlist.models.presets import OUR_CROSS_ENCODER, Preset
from shortlist.models.registered import known_presets
from shortlist.models.remembered import RememberedScores
from shortlist.pipeline.bm25 import BM25Pipeline, is_installed
from shortlist.pipeline.changes import is_complete
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.pipeline.stages import load_bi_encoder, second_stage
from shortlist.records import Passage


def local_systems() -> list[str]:
    """What can be chosen from without a network: BM25, presets, and other models of the hub cache.

    BM25 is one where its extra is installed.

    Of presets with the same bi-encoder the first stands for all: with and without reranking are
    two systems anyway.
    """
    cached = bi_encoders_in_cache()
    here = {*local_names(), *cached}
    first: dict[tuple[str, str, str], str] = {}
    presets = known_presets().values()
    for row in presets:
        if row.bi_encoder in here or Path(row.bi_encoder).is_dir():
            first.setdefault((row.bi_encoder, row.query_prompt, row.passage_prompt), row.name)
    in_presets = {*WEIGHTS_PACKAGE_NAMES, *(row.bi_encoder for row in presets)}
    lexical = [LEXICAL] if is_installed() else []
    return [*lexical, *first.values(), *(name for name in cached if name not in in_presets)]


def first_stages(
    passages: Sequence[Passage],
    folder: Path,
    names: Iterable[str] | None = None,
    *,
    cross_encoder: str | None = None,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    progress: bool | None = False,
    on_step: Callable[[str], object] | None = None,
) -> Iterator[FirstStage]:
    """Make each system ready to be searched: encode the passages, where `folder` has no index yet.

    `names` are "bm25", presets, and names or folders of bi-encoders; by default `local_systems()`.
    `cross_encoder` stands behind all of them, "none" for no reranking; by default each preset's
    own, where it is on this machine, and else ours. Nothing is encoded before every name is known
    to be there.

    Raises:
        UsageError: no name.
        ModelError: a model is missing or damaged.
    """
    wanted = list(dict.fromkeys(local_systems() if names is None else names))
    if not wanted:
        raise UsageError(f"no system was named; there are {', '.join(local_systems())}")
    _check_are_here(wanted)
    if names is None and on_step and not is_installed():
        on_step("keyword search is left out: it needs pip install 'shortlist[bm25]'")
    corpus = _fingerprint(passages)
    scorers: dict[str, CrossEncoder] = {}
    presets = known_presets()
    for name in wanted:
        if on_step:
            on_step(f"{name}: preparing {len(passages):,} passages")
        row = presets.get(name)
        second = second_stage(cross_encoder, _second_of(row))
        if second is not None and second not in scorers:
            scorers[second] = CrossEncoder.load(second, device=device, precision=precision)
        scorer = scorers[second] if second else None
        remembered = RememberedScores(scorer, folder) if scorer else None
        if name == LEXICAL:
            lexical = BM25Pipeline(passages, remembered, progress=progress)
            yield FirstStage(name, lexical, lexical.with_cross_encoder(scorer), second)
            continue
        place, encoder = _indexed(passages, corpus, folder, name, device, precision, progress)
        searcher, clock = (
            RetrieveRerankPipeline.open(
                place, bi_encoder=encoder, cross_encoder=model or "none", device=device
            )
            for model in (remembered, scorer)
        )
        searcher.show_progress(progress)
        yield FirstStage(name, searcher, clock, second, row.task if row else "both")


def fingerprints(names: Iterable[str], cross_encoder: str | None = None) -> list[str]:
    """What the systems are made of: a name and a fingerprint for every model that would be run.

    Raises:
        ModelError: a model is missing or damaged.
    """
    found, presets = [], known_presets()
    for name in names:
        row = presets.get(name)
        first = [] if name == LEXICAL else [row.bi_encoder if row else name]
        second = second_stage(cross_encoder, _second_of(row))
        models = [*first, *([second] if second else [])]
        found.append(":".join([name, *(resolve(model).fingerprint for model in models)]))
    return found


def _check_are_here(names: Iterable[str]) -> None:
    presets = known_presets()
    for name in names:
        if name == LEXICAL:
            continue
        try:
            resolve(presets[name].bi_encoder if name in presets else name)
        except ModelError as error:
            there = ", ".join(local_systems())
            raise ModelError(f"{error}; systems on this machine: {there}") from error


def _second_of(row: Preset | None) -> str:
    own = row.cross_encoder if row else None
    if own and (own in local_names() or Path(own).is_dir() or is_in_cache(own)):
        return own
    return OUR_CROSS_ENCODER


def _indexed(
    passages: Sequence[Passage],
    corpus: str,
    folder: Path,
    name: str,
    device: str,
    precision: PrecisionChoice,
    progress: bool | None,
) -> tuple[Path, BiEncoder]:
    """The index of these passages by that model, made where it is not there yet."""
    encoder = (
        load_bi_encoder(name, device=device, precision=precision)
        if name in known_presets()
        else BiEncoder.load(name, device=device, precision=precision)
    )
    parts = [corpus, encoder.fingerprint, encoder.query_prompt, encoder.passage_prompt]
    if encoder.name not in local_names():
        # the fusion goes by the name in the index: weights of another name need their own
        parts.append(encoder.name)
    if encoder.precision != "float32":
        parts.append(variant(encoder.precision))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    place = folder / f"{key}.idx"
    if not is_complete(place):
        folder.mkdir(parents=True, exist_ok=True)
        RetrieveRerankPipeline.build(
            passages,
            place,
            bi_encoder=encoder,
            cross_encoder="none",
            overwrite=True,
            device=device,
            progress=progress,
        )
    return place, encoder


def _fingerprint(passages: Iterable[Passage]) -> str:
    digest = hashlib.sha256()
    for passage in passages:
        for text in (passage.id, passage.title, passage.text):
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
