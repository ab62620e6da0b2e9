"""The story of the library: passages in, an index on disk, questions, the best passages out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from tqdm import tqdm

import shortlist
from shortlist.errors import IndexFolderError, UsageError
from shortlist.models.bi_encoder import BiEncoder, choose_device
from shortlist.models.cross_encoder import CrossEncoder, require_one_logit
from shortlist.models.loading import resolve
from shortlist.models.presets import DEFAULT_PRESET, Fusion, fusion_for
from shortlist.models.presets import preset as preset_named
from shortlist.pipeline.index import Index, IndexWriter
from shortlist.pipeline.layout import Manifest, ModelRecord
from shortlist.pipeline.rerank import Candidates, reranked
from shortlist.pipeline.topk import exact_top_k
from shortlist.records import Hit, Passage

DEFAULT_TOP_K = 5
DEFAULT_DEPTH = 30
PASSAGES_AT_ONCE = 4096  # encoded together: enough to sort by length, little memory
QUIET_SECONDS = 2.0  # a progress bar appears on what takes longer


@dataclass
class _Cuts:
    passages: int = 0
    tokens: int = 0

    def count(self, tokens: int) -> None:
        self.passages += 1
        self.tokens += tokens


class RetrieveRerankPipeline:
    """Semantic search in two stages over an index on disk.

    Make one with `build` or `open`. Searching is safe from several threads.
    """

    def __init__(
        self,
        index: Index,
        bi_encoder: BiEncoder,
        cross_encoder: str | None,
        *,
        device: str = "auto",
        progress: bool | None = False,
    ) -> None:
        self.index = index
        self.bi_encoder = bi_encoder
        self.cross_encoder_name = cross_encoder
        self._device = choose_device(device)
        self._progress = progress
        self._lock = Lock()
        self._cross_encoder: CrossEncoder | None = None

    @classmethod
    def build(
        cls,
        passages: Iterable[str | Passage],
        path: str | Path,
        *,
        preset: str = DEFAULT_PRESET,
        bi_encoder: str | Path | BiEncoder | None = None,
        cross_encoder: str | None = None,
        overwrite: bool = False,
        source: Callable[[], dict[str, Any]] | None = None,
        device: str = "auto",
        progress: bool | None = False,
    ) -> RetrieveRerankPipeline:
        """Embed passages once and keep them in an index folder.

        Args:
            passages: texts (their ids are "0", "1", ...) or `Passage` records; read as a stream.
            path: the folder to make. It appears when it is complete, and not before.
            preset: which models, by the kind of task; see `shortlist.models.presets`.
            bi_encoder: a model instead of the preset's: a name, a folder, or a loaded one.
            cross_encoder: a model instead of the preset's; "none" for no second stage.
            overwrite: replace an index that is there already.
            source: asked at the end for what to record about where the passages came from.
            device: `auto`, `cpu`, `cuda`, ...; see `BiEncoder.load`.
            progress: a bar on stderr for what takes longer than two seconds; None only on a
                terminal.

        Raises:
            DataError: no passages, or ids that are empty or not unique.
            IndexFolderError: something is at `path` already, or it cannot be written.
            ModelError: a model is missing or damaged.
        """
        if not isinstance(bi_encoder, BiEncoder):
            bi_encoder = load_bi_encoder(preset, bi_encoder, device=device)
        path = Path(path)
        second = _second_stage(cross_encoder, preset_named(preset).cross_encoder)
        if second is not None:  # what cannot rerank is an error now, not after the encoding
            folder = resolve(second)
            require_one_logit(folder)
            second = folder.name
        manifest = Manifest(
            model=model_record(bi_encoder),
            cross_encoder=second,
            created_by=f"shortlist {shortlist.__version__}",
        )
        with IndexWriter(path, manifest, overwrite=overwrite) as writer:
            cuts = _write(writer, bi_encoder, passages, progress)
            writer.manifest = replace(
                writer.manifest,
                cut_passages=cuts.passages,
                cut_tokens=cuts.tokens,
                source=source() if source else {},
            )
        return cls(
            Index(path), bi_encoder, manifest.cross_encoder, device=device, progress=progress
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        bi_encoder: str | Path | BiEncoder | None = None,
        cross_encoder: str | None = None,
        device: str = "auto",
        progress: bool | None = False,
    ) -> RetrieveRerankPipeline:
        """Open an index with the models that it was made with.

        Args:
            path: the index folder.
            bi_encoder: where to find the model of the first stage, if not under the recorded name;
                it must be the same model.
            cross_encoder: another second stage than the recorded one; "none" for no second stage.
            device: `auto`, `cpu`, `cuda`, ...; see `BiEncoder.load`.
            progress: as in `build`.

        Raises:
            IndexFolderError: not an index, or made with another model (both are named).
            DamagedIndexError: files that are not what the manifest says.
            ModelError: a model is missing or damaged.
        """
        index = Index(path)
        made_with = index.manifest.model
        if not isinstance(bi_encoder, BiEncoder):
            bi_encoder = BiEncoder.load(
                made_with.name if bi_encoder is None else bi_encoder,
                query_prompt=made_with.query_prompt,
                passage_prompt=made_with.passage_prompt,
                device=device,
            )
        given = model_record(bi_encoder)
        if replace(given, name=made_with.name) != made_with:
            raise IndexFolderError(
                f"{path} was made with {made_with.name} (fingerprint {made_with.fingerprint}), not "
                f"with {given.name} (fingerprint {given.fingerprint}); open it with the model it "
                "was made with, or build it again"
            )
        second = _second_stage(cross_encoder, index.manifest.cross_encoder)
        return cls(index, bi_encoder, second, device=device, progress=progress)

    @property
    def has_reranker(self) -> bool:
        """Whether there is a second stage."""
        return self.cross_encoder_name is not None

    @property
    def cross_encoder(self) -> CrossEncoder:
        """The second stage's model, loaded when it is first needed."""
        if self.cross_encoder_name is None:
            raise UsageError(
                "this pipeline has no cross-encoder; search with rerank=False (--no-rerank), or "
                "open it with cross_encoder=..."
            )
        with self._lock:
            if self._cross_encoder is None:
                self._cross_encoder = CrossEncoder.load(
                    self.cross_encoder_name, device=self._device
                )
            return self._cross_encoder

    @property
    def fusion(self) -> Fusion:
        """How the two stages make one score."""
        # by the index's name of the model: the same weights may have been opened by path
        return fusion_for(self.index.manifest.model.name, self.cross_encoder.name)

    def search(
        self,
        query: str,
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int = DEFAULT_DEPTH,
        rerank: bool | None = None,
    ) -> list[Hit]:
        """The `top_k` best passages for a query, best first; see `search_many`."""
        return self.search_many([query], top_k=top_k, depth=depth, rerank=rerank)[0]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int = DEFAULT_DEPTH,
        rerank: bool | None = None,
    ) -> list[list[Hit]]:
        """The best passages for each of several queries.

        Args:
            queries: texts; none may be empty.
            top_k: hits for each query, fewer only where the index has fewer passages.
            depth: candidates that the cross-encoder rescores.
            rerank: whether to use the second stage; by default where there is one.

        Raises:
            UsageError: `top_k` or `depth` below 1, an empty query, or `rerank` without a
                cross-encoder.
        """
        _check_search(queries, top_k, depth)
        second = self.has_reranker if rerank is None else rerank
        found = self._retrieve(queries, max(top_k, depth) if second else top_k)
        metric = self.bi_encoder.metric
        if not second:
            return [candidates.hits(metric) for candidates in found]
        pairs = sum(min(depth, len(candidates.passages)) for candidates in found)
        with self._bar("reranking", pairs, "pairs") as bar:
            answers = reranked(
                self.cross_encoder,
                self.fusion,
                found,
                depth=depth,
                metric=metric,
                on_batch=bar.update,
            )
        return [hits[:top_k] for hits in answers]

    def _retrieve(self, queries: Sequence[str], top_k: int) -> list[Candidates]:
        with self._bar("encoding", len(queries), "queries") as bar:
            embeddings = self.bi_encoder.encode_queries(queries, bar.update)
        scores, rows = exact_top_k(
            embeddings, self.index.embeddings, min(top_k, len(self.index)), device=self._search_on
        )
        passages = self.index.passages(rows.ravel())
        width = rows.shape[1]
        return [
            Candidates(query, passages[number * width : (number + 1) * width], scores[number])
            for number, query in enumerate(queries)
        ]

    @property
    def _search_on(self) -> str:
        # The first stage's products go where the model is: a GPU that encodes can multiply too.
        return "cpu" if self._device == "torch-cpu" else self._device

    def _bar(self, what: str, total: int, unit: str) -> Any:
        return _progress_bar(what, total, unit, self._progress)


def load_bi_encoder(
    preset: str, name: str | Path | None = None, *, device: str = "auto"
) -> BiEncoder:
    """The first stage of a preset, or another model in its place (with its own prompts)."""
    row = preset_named(preset)
    if name is not None:
        return BiEncoder.load(name, device=device)
    return BiEncoder.load(
        row.bi_encoder,
        query_prompt=row.query_prompt or None,
        passage_prompt=row.passage_prompt or None,
        device=device,
    )


def _second_stage(chosen: str | None, default: str | None) -> str | None:
    return default if chosen is None else None if chosen == "none" else chosen


def model_record(bi_encoder: BiEncoder) -> ModelRecord:
    """What an index remembers of the model that made it."""
    return ModelRecord(
        name=bi_encoder.name,
        fingerprint=bi_encoder.fingerprint,
        dim=bi_encoder.dim,
        metric=bi_encoder.metric,
        max_tokens=bi_encoder.max_tokens,
        query_prompt=bi_encoder.query_prompt,
        passage_prompt=bi_encoder.passage_prompt,
    )


def _write(
    writer: IndexWriter,
    bi_encoder: BiEncoder,
    passages: Iterable[str | Passage],
    progress: bool | None,
) -> _Cuts:
    """Encode passages as they come and hand them to the writer."""
    cuts = _Cuts()
    stream = _as_passages(passages)
    with _progress_bar("indexing", None, "passages", progress) as bar:
        while batch := list(islice(stream, PASSAGES_AT_ONCE)):
            embeddings = bi_encoder.encode_passages(
                [passage.model_text for passage in batch], bar.update, cuts.count
            )
            writer.add(batch, embeddings)
    return cuts


def _as_passages(passages: Iterable[str | Passage]) -> Iterator[Passage]:
    if isinstance(passages, str):
        raise UsageError("passages must be several texts or Passage records, got one text")
    for number, item in enumerate(passages):
        if isinstance(item, Passage):
            if not (isinstance(item.id, str) and isinstance(item.text, str)):
                raise UsageError(f"passage number {number}: id and text must be texts, got {item}")
            _check_metadata(item, number)
            yield item
        elif isinstance(item, str):
            yield Passage(id=str(number), text=item)
        else:
            raise UsageError(
                f"passage number {number} is a {type(item).__name__}; expected a text or a Passage"
            )


def _check_metadata(passage: Passage, number: int) -> None:
    if passage.metadata:
        try:
            json.dumps(dict(passage.metadata), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"passage number {number}: its metadata must be what JSON can hold ({error})"
            ) from error


def _check_search(queries: Sequence[str], top_k: int, depth: int) -> None:
    if isinstance(queries, str):
        raise UsageError("search_many takes several queries, got one text; use search for one")
    for name, value in (("top_k", top_k), ("depth", depth)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1 (got {value})")
    for number, query in enumerate(queries):
        if not isinstance(query, str) or not query.strip():
            which = "the query" if len(queries) == 1 else f"query number {number}"
            raise UsageError(f"{which} is empty; ask with at least one word")


def _progress_bar(what: str, total: int | None, unit: str, progress: bool | None) -> Any:
    disable = None if progress is None else not progress
    return tqdm(total=total, desc=what, unit=f" {unit}", delay=QUIET_SECONDS, disable=disable)
