"""The story of the library: passages in, an index on disk, questions, the best passages out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shortlist.errors import UsageError
from shortlist.models.bi_encoder import choose_device
from shortlist.models.cross_encoder import CrossEncoder, Scorer
from shortlist.models.encoders import Encoder
from shortlist.models.loading import model_size
from shortlist.models.onnx import PrecisionChoice
from shortlist.models.presets import DEFAULT_PRESET, STUDENTS, Fusion, fusion_with_bm25
from shortlist.models.registered import fusion_for
from shortlist.models.score_cache import CachedScores
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.building import building
from shortlist.pipeline.calibrated import Stages, calibration_of, with_relevance
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.cascade import Cascade
from shortlist.pipeline.changes import Additions, add_passages, delete_passages
from shortlist.pipeline.changes import compact as compact_index
from shortlist.pipeline.distinct import Distinct, Selection
from shortlist.pipeline.engines.bm25 import BM25, require_bm25
from shortlist.pipeline.engines.derived import saved_engines
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.fuse import RankFusion, Ranking, check_weights, fusion_named
from shortlist.pipeline.index import Among, Index
from shortlist.pipeline.layout import Store
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.retrieval import (
    Asked,
    ByMeaning,
    ByWords,
    Fused,
    Retriever,
    similarities,
)
from shortlist.pipeline.retrieved import Retrieved
from shortlist.pipeline.schedule import DEFAULT_DEPTH, Effort, Pace
from shortlist.pipeline.segments import CheckLevel
from shortlist.pipeline.stages import (
    EncoderChoice,
    encoder_of,
    first_stage,
    new_manifest,
    precision_beside,
    recorded_encoder,
    second_stage,
)
from shortlist.pipeline.timing import OnStage, timed
from shortlist.pipeline.vectors import OwnVectors
from shortlist.pipeline.writing import as_passages, progress_bar, write_encoded, write_vectors
from shortlist.records import Calibration, Hit, Passage

if TYPE_CHECKING:  # imported where one is used
    from shortlist.pipeline.engines.approximate import ApproximateSearch, Measured

logger = logging.getLogger(__name__)

EXACT = "exact"
FUSED_BY = "+"  # between the names of engines
DEFAULT_FUSION = "weighted"
DEFAULT_TOP_K = 5
GROUP_BY = ("document",)
_HITS_AT_ONCE = 256  # passages loaded at once where an answer needs more than the candidates


class RetrieveRerankPipeline:
    """Semantic search in two stages over an index on disk.

    Make one with `build` or `open`. Searching is safe from several threads, and while other
    processes change the index.
    """

    def __init__(
        self,
        index: Index,
        bi_encoder: Encoder,
        cross_encoder: str | Scorer | None,
        *,
        device: str = "auto",
        precision: PrecisionChoice = "auto",
        score_cache: int = 0,
        student: str | Scorer | None = None,
        engine: str = EXACT,
        target_recall: float | None = None,
        fuse: str = DEFAULT_FUSION,
        progress: bool | None = False,
    ) -> None:
        self.index = index
        self.bi_encoder = bi_encoder
        loaded: Scorer | None = None
        name: str | None = None
        if isinstance(cross_encoder, str | None):
            name = cross_encoder
        else:
            loaded, name = cross_encoder, cross_encoder.name
        self.cross_encoder_name = name
        self._device = choose_device(device, precision)
        self._precision: PrecisionChoice = precision
        self._progress = progress
        self._lock = Lock()
        self._pace = Pace()
        self._score_cache = score_cache
        self._student = student
        self.engine = engine
        self._target_recall = target_recall
        self._rank_fusion = check_engine(engine, target_recall, fuse)
        self._exact: tuple[Index, ExactSearch] | None = None
        self._approximate: dict[str, ApproximateSearch] = {}
        self._words: tuple[Index, ByWords] | None = None
        self._calibration: tuple[Index, Stages, Calibration | None] | None = None
        self._cross_encoder: Scorer | None = loaded and self._caching(loaded)
        if engine != EXACT and not isinstance(index, Index):
            raise UsageError(f"{index.path} is searched by its server; leave engine={engine!r} out")
        if engine != EXACT:
            self._retriever(index)  # what is wrong with it is known before anything is asked

    @classmethod
    def build(
        cls,
        passages: Iterable[str | Passage],
        path: str | Path,
        *,
        preset: str = DEFAULT_PRESET,
        bi_encoder: EncoderChoice = None,
        cross_encoder: str | None = None,
        embeddings: Any = None,
        ids: Sequence[str] | None = None,
        overwrite: bool = False,
        store: Store = "float32",
        source: Callable[[], dict[str, Any]] | None = None,
        device: str = "auto",
        precision: PrecisionChoice = "auto",
        engine: str = EXACT,
        target_recall: float | None = None,
        progress: bool | None = False,
    ) -> RetrieveRerankPipeline:
        """Embed passages once and keep them in an index folder.

        What is encoded is committed every few seconds. Interrupted or killed, the same call goes
        on from there: the passages are read again and compared, not encoded again. (Own vectors
        are written again.)

        Args:
            passages: texts (their ids are "0", "1", ...) or `Passage` records; read as a stream.
            path: the folder to make.
            preset: which models, by the kind of task; see `shortlist.models.presets`.
            bi_encoder: a model instead of the preset's: a name, a folder, a loaded one, or any
                function from texts to embeddings `[n, dim]`.
            cross_encoder: a model instead of the preset's; "none" for no second stage.
            embeddings: your own, float `[n, dim]`, made by that bi-encoder (a sample is encoded
                again and compared); the passages are not encoded then.
            ids: the passage id of each row of `embeddings`; by default they stand in the order of
                the passages.
            overwrite: replace an index that is there already, when the new one is complete.
            store: `float16` keeps embeddings in half the space, rounded to 11 bits.
            source: asked for what to record about where the passages came from, at the beginning
                (kind and options: an interrupted build goes on only with the same) and at the end.
            device: `auto`, `cpu`, `cuda`, ...; see `BiEncoder.load`.
            precision: of both stages' models, `float32` or `int8`; `auto` is int8 on a CPU for
                models that lose next to nothing by it. The index records what it was.
            engine: built as well, and searched with; see `open`.
            target_recall: see `open`.
            progress: a bar on stderr for what takes longer than two seconds; None only on a
                terminal.

        Raises:
            DataError: no passages, or ids that are empty or not unique.
            IndexFolderError: something is at `path` already, or it cannot be written.
            ModelError: a model is missing or damaged.
        """
        if ids is not None and embeddings is None:
            raise UsageError("ids name the rows of embeddings; give both, or Passage records")
        encoder = first_stage(
            bi_encoder, preset, device=device, precision=precision_beside(embeddings, precision)
        )
        check_engine(engine, target_recall)
        path = Path(path)
        manifest = new_manifest(
            encoder,
            cross_encoder=cross_encoder,
            preset=preset,
            store=store,
            source=source() if source else {},
        )
        total = len(passages) if isinstance(passages, Sized) else None  # the time left is known
        stream = as_passages(passages)
        with (
            building(path, manifest, overwrite=overwrite, resume=embeddings is None) as writer,
            progress_bar("indexing", total, "passages", progress) as bar,
        ):
            if embeddings is None:
                write_encoded(writer, stream, encoder, bar)
            else:
                write_vectors(writer, stream, OwnVectors(embeddings, ids), encoder, bar)
            writer.commit(source=source() if source else {})
        return cls(
            writer.index,
            encoder,
            manifest.cross_encoder,
            device=device,
            precision=precision,
            engine=engine,
            target_recall=target_recall,
            progress=progress,
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        bi_encoder: EncoderChoice = None,
        cross_encoder: str | Scorer | None = None,
        device: str = "auto",
        precision: PrecisionChoice = "auto",
        score_cache: int = 0,
        student: str | Scorer | None = None,
        engine: str = EXACT,
        target_recall: float | None = None,
        fuse: str = DEFAULT_FUSION,
        check: CheckLevel = "standard",
        progress: bool | None = False,
    ) -> RetrieveRerankPipeline:
        """Open an index with the models that it was made with.

        Args:
            path: the index folder, or where it was pushed to: ``milvus://HOST:PORT/COLLECTION``.
            bi_encoder: where to find the model of the first stage, if not under the recorded name;
                it must be the same model.
            cross_encoder: another second stage than the recorded one, a name or a loaded one;
                "none" for no second stage.
            device: `auto`, `cpu`, `cuda`, ...; see `BiEncoder.load`.
            precision: of the queries and of the second stage: `float32` or `int8`, whatever the
                passages were encoded in; `auto` as in `build`, queries as the passages were.
            score_cache: keep so many of the last (query, passage) scores in memory, about 250
                bytes each; 0 for none.
            student: the small cross-encoder of `cascade`, a name or a loaded one; by default the
                one that comes with the cross-encoder.
            engine: what finds the candidates: "exact", or an approximate one that is built on first
                use and kept beside the index: "faiss", "faiss-ivfpq", "hnswlib", "annoy", "milvus",
                or the address of a Milvus server. Scores are true ones with each. "bm25" goes by
                words. Two joined by a plus are fused: "exact+bm25".
            target_recall: the share of the exact candidates that it is to find, 0.99 unless another
                one was asked for before. See `measured` for what it reaches.
            fuse: how several engines are fused: "rrf" or "weighted", with weights as in
                "weighted:0.7,0.3"; see `shortlist.pipeline.fuse`.
            check: "standard" compares manifest and passages with their checksums, "full" the
                embeddings as well, which means reading them all.
            progress: as in `build`.

        Raises:
            IndexFolderError: not an index, or made with another model (both are named).
            DamagedIndexError: files that are not what the manifest says.
            ModelError: a model is missing or damaged.
            UsageError: no such engine, or no such recall.
            MissingExtraError: the engine's library is not installed.
            ServerError: its server does not answer.
        """
        index = _opened_index(path, check)
        if not index.manifest.complete:
            logger.warning(
                "%s is unfinished: it has the first %s passages; to finish it, run the same "
                "shortlist index again",
                path,
                len(index),
            )
        encoder = encoder_of(index, bi_encoder, device=device, precision=precision)
        second = (
            second_stage(cross_encoder, index.manifest.cross_encoder)
            if isinstance(cross_encoder, str | None)
            else cross_encoder
        )
        return cls(
            index,
            encoder,
            second,
            device=device,
            precision=precision,
            score_cache=score_cache,
            student=student,
            engine=engine,
            target_recall=target_recall,
            fuse=fuse,
            progress=progress,
        )

    def add(
        self,
        passages: Iterable[str | Passage],
        *,
        source: Callable[[], dict[str, Any]] | None = None,
    ) -> Additions:
        """Add passages to the index; those that are there already as they are stay.

        Long additions are committed every few seconds; after an error, the same call goes on.

        Args:
            passages: as in `build`.
            source: asked at the end for what to record about where they came from.

        Raises:
            DataError: an id that is empty, twice in `passages`, or in the index with other
                contents.
            IndexFolderError: the index is unfinished, was made with another model, or is being
                written by another process.
        """
        return self._added(passages, False, source)

    def upsert(
        self,
        passages: Iterable[str | Passage],
        *,
        source: Callable[[], dict[str, Any]] | None = None,
    ) -> Additions:
        """Add passages, in the place of those that have the same ids; else as `add`."""
        return self._added(passages, True, source)

    def _added(
        self,
        passages: Iterable[str | Passage],
        replace: bool,
        source: Callable[[], dict[str, Any]] | None,
    ) -> Additions:
        self._check_can_change()
        try:
            return add_passages(
                passages,
                self.index.path,
                self.bi_encoder,
                replace=replace,
                opened=self.index,
                source=source,
                progress=self._progress,
            )
        finally:
            self._changed()

    def delete(self, ids: Iterable[str] = (), *, where: str | None = None) -> int:
        """Delete passages by their ids, and those that meet an expression; how many there were.

        Ids that no passage has are left out of account.

        Raises:
            UsageError: one text instead of several ids, or a `where` that is none.
            IndexFolderError: another process is writing.
        """
        if isinstance(ids, str):
            raise UsageError("delete takes several ids, got one text; give [id]")
        self._check_can_change()
        count, _ = delete_passages(self.index.path, list(ids), where, opened=self.index)
        self._changed()
        return count

    def compact(self) -> int:
        """Take back the space of deleted passages and join small segments; how many were dropped.

        Raises:
            IndexFolderError: another process is writing.
        """
        self._check_can_change()
        dropped = compact_index(self.index.path, opened=self.index)
        self._changed()
        return dropped

    def _check_can_change(self) -> None:
        if not isinstance(self.index, Index):
            raise UsageError(
                f"{self.index.path} was pushed there from an index: change that, and push it again"
            )

    def _changed(self) -> None:
        """Search what was changed, with engines that have it."""
        if self.refresh() and saved_engines(self.index.path):
            from shortlist.pipeline.engines.opening import update_engines

            update_engines(self.index, self._sample_queries, progress=self._progress)

    def refresh(self) -> bool:
        """Search what was committed last, by whichever process; whether there was anything new.

        Without it a pipeline answers from the state that it opened, or changed itself.

        Raises:
            IndexFolderError: the index is gone, or was made anew with another model.
        """
        if not self.index.has_changed():
            return False
        index = (
            Index(self.index.path, like=self.index)
            if isinstance(self.index, Index)
            else _opened_index(self.index.path, "standard")
        )
        recorded_encoder(index.path, index.manifest.model, self.bi_encoder)
        self.index = index
        return True

    def show_progress(self, progress: bool | None) -> None:
        """Show bars on stderr for what takes longer: yes, no, or (None) only on a terminal."""
        self._progress = progress

    @property
    def has_reranker(self) -> bool:
        """Whether there is a second stage."""
        return self.cross_encoder_name is not None

    @property
    def cross_encoder(self) -> Scorer:
        """The second stage's model, loaded when it is first needed."""
        if self.cross_encoder_name is None:
            raise UsageError(
                "this pipeline has no cross-encoder; search with rerank=False (--no-rerank), or "
                "open it with cross_encoder=..."
            )
        with self._lock:
            if self._cross_encoder is None:
                self._cross_encoder = self._caching(
                    CrossEncoder.load(
                        self.cross_encoder_name, device=self._device, precision=self._precision
                    )
                )
            return self._cross_encoder

    @property
    def student(self) -> Scorer:
        """The small cross-encoder of a cascade, loaded when it is first needed.

        Raises:
            UsageError: none was named, and there is none for this cross-encoder.
        """
        with self._lock:
            if isinstance(self._student, str | None):
                name = self._student or STUDENTS.get(self.cross_encoder_name or "")
                if name is None:
                    raise UsageError(
                        f"there is no student of {self.cross_encoder_name} for a cascade; train "
                        "one (shortlist train cross-encoder --layers 3 --teacher ...) and name it "
                        "in student= (--student)"
                    )
                self._student = self._caching(
                    CrossEncoder.load(name, device=self._device, precision=self._precision)
                )
            return self._student

    def _caching(self, scorer: Scorer) -> Scorer:
        return CachedScores(scorer, self._score_cache) if self._score_cache else scorer

    @property
    def fusion(self) -> Fusion:
        """How the two stages make one score."""
        if self.engine == BM25:
            return fusion_with_bm25(self.cross_encoder.name)
        # by the index's name of the model: the same weights may have been opened by path
        rule = fusion_for(self.index.manifest.model.name, self.cross_encoder.name)
        # an adaptive depth counts on falling similarities
        return replace(rule, plausible=None) if FUSED_BY in self.engine else rule

    @property
    def calibration(self) -> Calibration | None:
        """What makes probabilities of the scores of the last stage; None where none was fitted.

        One that `shortlist calibrate` left beside the index goes before the shipped one.
        """
        if BM25 in self.engine:
            return None  # other scores
        stages = self.stages
        name = self.cross_encoder.name if self.has_reranker else None
        with self._lock:
            if self._calibration is None or self._calibration[:2] != (self.index, stages):
                found = calibration_of(self.index, stages, name)
                self._calibration = self.index, stages, found
            return self._calibration[2]

    @property
    def stages(self) -> Stages:
        """The models that scores come from, as a calibration names them."""
        return Stages.of(self.index, self.cross_encoder.fingerprint if self.has_reranker else None)

    def is_answered(self, hits: Sequence[Hit]) -> bool | None:
        """Whether the first hit is good enough to be called an answer; None where nobody knows.

        That is the case without a calibration, and where the last stage has not looked.
        """
        if not hits:
            return False
        if hits[0].relevance is None or self.calibration is None:
            return None
        return hits[0].relevance >= self.calibration.answered_from

    @property
    def footprint(self) -> dict[str, int | None]:
        """Bytes on disk of the index folder and of both models; None where there are no files."""
        return {
            "index": self.index.size(),
            "bi_encoder": model_size(self.bi_encoder.name),
            "cross_encoder": model_size(self.cross_encoder_name),
        }

    def search(
        self,
        query: str,
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int | None = None,
        rerank: bool | None = None,
        group_by: str | None = None,
        fold_duplicates: bool = False,
        where: str | None = None,
        adaptive: bool = False,
        budget_ms: float | None = None,
        cascade: int | None = None,
    ) -> list[Hit]:
        """The `top_k` best passages for a query, best first; see `search_many`."""
        return self.search_many(
            [query],
            top_k=top_k,
            depth=depth,
            rerank=rerank,
            group_by=group_by,
            fold_duplicates=fold_duplicates,
            where=where,
            adaptive=adaptive,
            budget_ms=budget_ms,
            cascade=cascade,
        )[0]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int | None = None,
        rerank: bool | None = None,
        group_by: str | None = None,
        fold_duplicates: bool = False,
        where: str | None = None,
        adaptive: bool = False,
        budget_ms: float | None = None,
        cascade: int | None = None,
        on_stage: OnStage | None = None,
    ) -> list[list[Hit]]:
        """The best passages for each of several queries.

        Args:
            queries: texts; none may be empty.
            top_k: hits for each query, fewer only where the index has no more to show.
            depth: candidates that the cross-encoder rescores, by default 30; with `adaptive` or
                `budget_ms` the most that it does, with `cascade` what its student does, by default
                100.
            rerank: whether to use the second stage; by default where there is one.
            group_by: "document" for the best passage of each document.
            fold_duplicates: show one of several passages with nearly the same words; it names the
                others in `folded`.
            where: only among passages that meet this, as if there were no others: such as
                ``year >= 2018 and venue in ("ACL", "EMNLP")``; see `shortlist.pipeline.filters`.
            adaptive: rescore only until no remaining candidate can plausibly beat the best one.
            budget_ms: milliseconds for each query, within which as many candidates are rescored
                as this machine can; the queries are answered one after the other. Each hit says
                how many there were in `depth`. Loading the models is not counted.
            cascade: a small cross-encoder, the large one's student, scores the first `depth`
                candidates (by default 100), and the large one the best so many of them; with
                `adaptive` at most so many, until none can plausibly beat the best one.
            on_stage: told what took how long, in seconds: "encode", "retrieve", "rerank".

        Raises:
            UsageError: `top_k` or `depth` below 1, an empty query, an unknown `group_by`, a `where`
                that is no such expression or names an unknown field, a budget that is not above
                zero, or `rerank` without a cross-encoder.
        """
        options: dict[str, Any] = {
            "top_k": top_k,
            "depth": depth,
            "rerank": rerank,
            "group_by": group_by,
            "fold_duplicates": fold_duplicates,
            "adaptive": adaptive,
            "budget_ms": budget_ms,
            "cascade": cascade,
            "on_stage": on_stage,
        }
        check_search(queries, top_k, Effort(depth, adaptive, budget_ms, cascade))
        among = self.index.among(where)  # of one state, whatever is added meanwhile
        together = [queries] if budget_ms is None else [[query] for query in queries]
        return [
            hits
            for part in together
            for hits in self.answers(self.retrieve(part, among=among, **options), on_stage)
        ]

    def retrieve(
        self,
        queries: Sequence[str],
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int | None = None,
        rerank: bool | None = None,
        group_by: str | None = None,
        fold_duplicates: bool = False,
        where: str | None = None,
        among: Among | None = None,
        adaptive: bool = False,
        budget_ms: float | None = None,
        cascade: int | None = None,
        on_stage: OnStage | None = None,
    ) -> Retrieved:
        """The first half of `search_many`: candidates, for `first_answers` and `answers`.

        A budget runs from here. `among` is `where` made out, of the index as it was then; for the
        others, and what is raised, see `search_many`.
        """
        effort = Effort(depth, adaptive, budget_ms, cascade)
        check_search(queries, top_k, effort)
        if group_by not in (None, *GROUP_BY):
            raise UsageError(f"group_by must be 'document' or None, got {group_by!r}")
        second = self.has_reranker if rerank is None else rerank
        if second and budget_ms is not None:
            _ = self.cross_encoder  # loaded before the clock is started
        distinct = Distinct(documents=group_by == "document", texts=fold_duplicates)
        among = among or self.index.among(where)
        started = time.perf_counter()
        wanted = max(top_k, effort.deepest if second else DEFAULT_DEPTH if distinct else top_k)
        with timed("encode", on_stage):
            asked = self._asked(queries, among.index)
        with timed("retrieve", on_stage):
            found = self._retrieve(asked, wanted, among)
        kind = self._retriever(among.index).kind
        return Retrieved(
            asked, found, kind, among, top_k, effort if second else None, distinct, started
        )

    def first_answers(self, retrieved: Retrieved) -> list[list[Hit]]:
        """What the first stage alone says, in no time: to be shown until there is the rest."""
        hits = [candidates.hits(retrieved.kind) for candidates in retrieved.found]
        return self._shown(retrieved, hits)

    def answers(self, retrieved: Retrieved, on_stage: OnStage | None = None) -> list[list[Hit]]:
        """The second half of `search_many`: the candidates rescored, where that was wanted."""
        if retrieved.effort is None:
            return [self._with_relevance(hits) for hits in self.first_answers(retrieved)]
        with timed("rerank", on_stage):
            hits = self._second_stage(retrieved, retrieved.effort)
        return self._shown(retrieved, hits)

    def _with_relevance(self, hits: list[Hit]) -> list[Hit]:
        """Hits of the first stage, where it is the last one and was calibrated."""
        if self.has_reranker or not (calibration := self.calibration):
            return hits
        return with_relevance(hits, calibration)

    def _shown(self, retrieved: Retrieved, answers: list[list[Hit]]) -> list[list[Hit]]:
        """As many hits as are wanted, none of them twice."""
        distinct, top_k = retrieved.distinct, retrieved.top_k
        if not distinct:
            return [hits[:top_k] for hits in answers]
        return [
            self._selected(
                Selection(distinct, top_k).take(hits),
                retrieved.asked[number],
                len(hits),
                retrieved.among,
            )
            for number, hits in enumerate(answers)
        ]

    def _asked(self, queries: Sequence[str], index: Index) -> Asked:
        if not self._retriever(index).encodes:
            return Asked(queries, None)
        with self._bar("encoding", len(queries), "queries") as bar:
            return Asked(queries, self.bi_encoder.encode_queries(queries, bar.update))

    def _retrieve(self, asked: Asked, top_k: int, among: Among) -> list[Candidates]:
        retriever = self._retriever(among.index)
        scores, rows = self._top_k(asked, top_k, among)
        found = rows >= 0
        passages = iter(among.index.passages(rows[found]))
        similar = (
            similarities(asked, rows, Rows(among.index.embeddings, zeros=True))
            if isinstance(retriever, Fused) and retriever.encodes
            else None
        )
        return [
            Candidates(
                query,
                list(islice(passages, int(found[number].sum()))),
                scores[number][found[number]],
                None if similar is None else similar[number][found[number]],
            )
            for number, query in enumerate(asked.texts)
        ]

    def _top_k(self, asked: Asked, top_k: int, among: Among) -> Ranking:
        if not among.count:
            nothing = (len(asked.texts), 0)
            return np.empty(nothing, np.float32), np.empty(nothing, np.int64)
        retriever = self._retriever(among.index)
        return retriever.search(asked, min(top_k, among.count), among)

    def measured(self, top_k: int) -> Measured | None:
        """What an approximate engine reaches for so many candidates; None without one."""
        self._retriever(self.index)
        for name in self.engine.split(FUSED_BY):
            if name in self._approximate:
                return self._approximate[name].for_depth(top_k)
        return None

    def _sample_queries(self) -> FloatArray:
        from shortlist.pipeline.engines.tuning import sample_queries

        return sample_queries(self.index, self.bi_encoder)

    def _retriever(self, index: Index) -> Retriever:
        """The first stage over a state of the index."""
        if not isinstance(index, Index):
            from shortlist.pipeline.remote import OnServer

            return OnServer(index, self.bi_encoder.metric)
        parts = [self._part(name, index) for name in self.engine.split(FUSED_BY)]
        return Fused(parts, self._rank_fusion) if len(parts) > 1 else parts[0]

    def _part(self, name: str, index: Index) -> Retriever:
        if name == BM25:
            return self._search_words(index)
        search = (
            self._search_over(index) if name == EXACT else self._search_with_engine(name, index)
        )
        return ByMeaning(search, self.bi_encoder.metric)

    def _search_words(self, index: Index) -> ByWords:
        from shortlist.pipeline.engines.opening import opened_words

        with self._lock:
            if self._words is None or self._words[0] is not index:
                self._words = index, opened_words(index, progress=self._progress)
            return self._words[1]

    def _search_with_engine(self, name: str, index: Index) -> ApproximateSearch:
        from shortlist.pipeline.engines.opening import is_stale, opened_engine

        with self._lock:
            there = self._approximate.get(name)
            if there is None or there.index is not index:
                there = there and there.over(index)
                if there is None or is_stale(there):
                    there = opened_engine(
                        index,
                        name,
                        self._sample_queries,
                        target_recall=self._target_recall,
                        progress=self._progress,
                    )
                self._approximate[name] = there
            return there

    def _search_over(self, index: Index) -> ExactSearch:
        """The exact search over a state of the index; what is as in the last is kept."""
        with self._lock:
            if self._exact is None or self._exact[0] is not index:
                before = self._exact and self._exact[1]
                # a text without a known token may have an embedding of zeros: it is found last
                search = ExactSearch(
                    index.embeddings, device=self._search_on, like=before, zeros=True
                )
                self._exact = index, search
            return self._exact[1]

    def _second_stage(self, retrieved: Retrieved, effort: Effort) -> list[list[Hit]]:
        found = retrieved.found
        pairs = sum(min(effort.deepest, len(candidates.passages)) for candidates in found)
        cascade = self._cascade(effort)
        pairs += cascade.keep * len(found) if cascade else 0
        student = cascade.fusion if cascade else None
        # what is still to be done of a budget is known for one question at a time
        together = [found] if effort.budget_ms is None else [[one] for one in found]
        with self._bar("reranking", pairs, "pairs") as bar:
            return [
                hits
                for part in together
                for hits in reranked(
                    self.cross_encoder,
                    self.fusion,
                    part,
                    depth=effort.plan(self.fusion, self._pace, retrieved.started, student),
                    metric=retrieved.kind,
                    cascade=cascade,
                    calibration=self.calibration,
                    on_batch=bar.update,
                )
            ]

    def _cascade(self, effort: Effort) -> Cascade | None:
        if effort.cascade is None:
            return None
        rule = (
            fusion_with_bm25(self.student.name)
            if self.engine == BM25
            else fusion_for(self.index.manifest.model.name, self.student.name)
        )
        return Cascade(self.student, rule, effort.deepest, effort.cascade)

    def _selected(self, selection: Selection, asked: Asked, taken: int, among: Among) -> list[Hit]:
        """Go on below the candidates, in the order of the first stage, until there is enough."""
        kind = self._retriever(among.index).kind
        while not selection.is_full and taken < among.count:
            scores, rows = self._top_k(asked, 4 * taken, among)  # with what was taken
            count = int((rows[0] >= 0).sum())
            for start in range(taken, count, _HITS_AT_ONCE):
                block = slice(start, min(start + _HITS_AT_ONCE, count))
                passages = among.index.passages(rows[0, block])
                candidates = Candidates("", passages, scores[0, block], skipped=start)
                if selection.take(candidates.hits(kind)).is_full:
                    break
            if count <= taken:
                break  # words find no more
            taken = count
        return selection.hits()

    @property
    def _search_on(self) -> str:
        # The first stage's products go where the model is: a GPU that encodes can multiply too.
        return "cpu" if self._device == "torch-cpu" else self._device

    def _bar(self, what: str, total: int, unit: str) -> Any:
        return progress_bar(what, total, unit, self._progress)


def _opened_index(path: str | Path, check: CheckLevel) -> Index:
    if isinstance(path, str) and "://" in path:
        from shortlist.pipeline.remote import RemoteIndex

        return cast(Index, RemoteIndex(path))  # what is asked of it, it has
    return Index(path, check=check)


def check_engine(
    engine: str, target_recall: float | None = None, fuse: str = DEFAULT_FUSION
) -> RankFusion:
    """Refuse engines before anything is encoded for them; how they are fused.

    Raises:
        UsageError: there is none of that name, the recall is none, or they cannot be fused so.
        MissingExtraError: a library is not installed.
    """
    parts = engine.split(FUSED_BY)
    rule = fusion_named(fuse)
    if len(set(parts)) < len(parts):
        raise UsageError(f"{engine} fuses an engine with itself; name different ones")
    if len(parts) > 1:
        check_weights(rule, len(parts))
    for name in parts:
        if name == BM25:
            require_bm25()
        elif name != EXACT:
            from shortlist.pipeline.engines.opening import kind_named

            kind_named(name)
    if target_recall is not None:
        from shortlist.pipeline.engines.tuning import check_target

        check_target(target_recall)
    return rule


def check_search(queries: Sequence[str], top_k: int, effort: Effort) -> None:
    """Refuse what cannot be searched for.

    Raises:
        UsageError: one text instead of several, an empty one, `top_k` or `depth` below 1, or a
            budget that is not above zero.
    """
    if isinstance(queries, str):
        raise UsageError("search_many takes several queries, got one text; use search for one")
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1 (got {top_k})")
    effort.check()
    for number, query in enumerate(queries):
        if not isinstance(query, str) or not query.strip():
            which = "the query" if len(queries) == 1 else f"query number {number}"
            raise UsageError(f"{which} is empty; ask with at least one word")
