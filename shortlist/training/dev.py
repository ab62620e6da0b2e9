"""The dev metric: what a model in training does for the pipeline, on questions that are judged.

A cross-encoder rescores the candidates that the bi-encoder found, and both stages make one order,
as in a search: MRR@10. A bi-encoder ranks a pool of passages, the relevant ones and what was found
before it was trained: nDCG@10, higher than over the whole collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.data.collections import Cutting, load
from shortlist.errors import DataError
from shortlist.evaluation.answers import judged_queries, sampled
from shortlist.evaluation.metrics import score
from shortlist.models.encoders import Encoder
from shortlist.models.onnx import variant
from shortlist.models.presets import Fusion
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.changes import is_complete
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.index import Index
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.pipeline.topk import exact_top_k
from shortlist.records import Passage
from shortlist.training.judged import judgements_of, sampled_ids, state_of

DEPTH = 30  # candidates of a question
LEAST_QUESTIONS = 10  # half of them to choose by, half to measure on
PIPELINE_MEASURE = "MRR@10"
RETRIEVAL_MEASURE = "nDCG@10"
_RANKED = 11  # with the question itself, where it is in the collection


@dataclass(frozen=True, slots=True)
class Question:
    """A judged question and what the bi-encoder found for it, best first."""

    text: str
    candidates: Sequence[Passage]
    similarities: FloatArray  # [candidates]
    relevant: Sequence[Passage]  # all of them, found or not


@dataclass(frozen=True, slots=True)
class DevSet:
    """Judged questions of one collection, by their ids."""

    name: str
    questions: Mapping[str, Question]
    qrels: Mapping[str, Mapping[str, int]]
    judged: int  # questions that there are, of which these are a sample

    def halves(self, seed: int = 1) -> tuple[DevSet, DevSet]:
        """The questions in two halves, drawn: one to fit something on, one to measure it on."""
        ids = list(self.questions)
        order = np.random.default_rng(seed).permutation(len(ids))
        first, second = (
            {ids[i]: self.questions[ids[i]] for i in sorted(part)}
            for part in (order[: len(ids) // 2], order[len(ids) // 2 :])
        )
        return replace(self, questions=first), replace(self, questions=second)

    @property
    def key(self) -> str:
        """Names the questions and what was found for them."""
        found = {q: [p.id for p in one.candidates] for q, one in self.questions.items()}
        return blake2b(repr((self.name, found)).encode(), digest_size=16).hexdigest()

    def measured(self, rankings: Mapping[str, Sequence[str]], measure: str) -> dict[str, float]:
        """Score rankings of passage ids, question by question."""
        qrels = {query: self.qrels[query] for query in self.questions}
        return dict(score(rankings, qrels, [measure]).per_query[measure])


def read_dev(
    folder: Path,
    encoder: Encoder,
    work: Path,
    cutting: Cutting,
    *,
    questions: int | None,
    split: str = "dev",
    depth: int = DEPTH,
    hide_title: bool = False,
    max_passages: int | None = None,
    seed: int = 0,
) -> DevSet:
    """Search the judged questions of a folder once and keep what was found.

    Args:
        folder: a BEIR, MS MARCO or Quora folder with that split.
        encoder: the first stage.
        work: where the index over the collection is made; found there again, it is not made again.
        cutting: how documents that are no records would be cut.
        questions: at most so many, a seeded sample.
        split: which judgements.
        depth: candidates of each question.
        hide_title: the passages are searched without their titles: where those are the questions.
        max_passages: search only so many of the collection's, a seeded sample and what the
            questions judge; figures are higher than over all of it.
        seed: of the samples.

    Raises:
        DataError: no judged question, or fewer than ten.
        UsageError: the folder has no such split.
    """
    asked, qrels = judgements_of(folder, split)
    if not asked or not qrels:
        raise DataError(f"{folder}: expected questions and judgements of the split {split!r}")
    judged = judged_queries(asked, qrels, "drop")
    if min(len(judged), questions or len(judged)) < LEAST_QUESTIONS:
        raise DataError(
            f"{folder}: {min(len(judged), questions or len(judged))} judged questions decide "
            f"nothing; expected at least {LEAST_QUESTIONS} with a passage that answers them"
        )
    chosen = sampled(judged, questions, seed)
    needed = {passage for query in chosen for passage in qrels[query]}
    only = _sample(folder, cutting, needed, max_passages, seed) if max_passages else None
    index = indexed(folder, encoder, work, cutting, hide_title=hide_title, only=only)
    search = ExactSearch(index.embeddings, zeros=True)
    scores, rows = search.search(
        encoder.encode_queries([asked[query] for query in chosen]), min(depth + 1, len(index))
    )
    relevant = {query: [p for p, grade in qrels[query].items() if grade > 0] for query in chosen}
    row_of = index.rows_of({passage for ids in relevant.values() for passage in ids})
    found = {}
    for number, query in enumerate(chosen):
        passages = index.passages(rows[number])
        # in a symmetric task the collection has the question itself
        kept = [i for i, p in enumerate(passages) if p.model_text != asked[query]][:depth]
        there = np.array([row_of[p] for p in relevant[query] if p in row_of], dtype=np.int64)
        found[query] = Question(
            text=asked[query],
            candidates=[passages[i] for i in kept],
            similarities=scores[number][kept],
            relevant=index.passages(there),
        )
    return DevSet(folder.name, found, {query: qrels[query] for query in chosen}, len(judged))


def indexed(
    folder: Path, encoder: Encoder, work: Path, cutting: Cutting, *, hide_title: bool = False,
    only: Set[str] | None = None,
) -> Index:  # fmt: skip
    """The index over a collection, or over some ids of it, made where `work` has none."""
    untitled = "-untitled" if hide_title else ""
    precision = getattr(encoder, "precision", None)
    made = variant(precision) if precision else ""
    some = "" if only is None else repr(sorted(only))
    state = f"{state_of(folder)}{untitled}{encoder.fingerprint}{made}{some}"
    path = work / f"{folder.name}-{blake2b(state.encode(), digest_size=8).hexdigest()}.idx"
    if not is_complete(path):
        passages = load(folder, cutting).passages
        if only is not None:
            passages = (passage for passage in passages if passage.id in only)
        if hide_title:
            passages = (replace(passage, title="") for passage in passages)
        work.mkdir(parents=True, exist_ok=True)
        RetrieveRerankPipeline.build(
            passages, path, bi_encoder=encoder, cross_encoder="none", overwrite=True
        )
    return Index(path)


def _sample(
    folder: Path, cutting: Cutting, needed: Set[str], max_passages: int, seed: int
) -> Set[str] | None:
    """Ids of so many passages, those that are needed among them; None where there are no more."""
    ids = [passage.id for passage in load(folder, cutting).passages]
    if len(ids) <= max_passages:
        return None
    return sampled_ids(ids, needed, max_passages, np.random.default_rng(seed))


Score = Callable[[Sequence[tuple[str, str]]], FloatArray]
"""Pairs of a query and a passage -> logits, float32 [n]."""

Logits = Mapping[str, FloatArray]
"""Id of a question -> the logits of its candidates."""


def logits_of(dev: DevSet, score_pairs: Score) -> Logits:
    """The logits of every question's candidates."""
    pairs = [(q.text, p.model_text) for q in dev.questions.values() for p in q.candidates]
    logits = np.asarray(score_pairs(pairs), dtype=np.float32).reshape(-1)
    ends = np.cumsum([len(question.candidates) for question in dev.questions.values()])[:-1]
    return dict(zip(dev.questions, np.split(logits, ends), strict=True))


def fused(dev: DevSet, logits: Logits, fusion: Fusion) -> dict[str, list[str]]:
    """The order that a search would show: by the fused score, ties by retrieval rank."""
    rankings = {}
    for query, question in dev.questions.items():
        scores = fusion.scores(logits[query], question.similarities)
        order = np.argsort(-np.array(scores), kind="stable")
        rankings[query] = [question.candidates[i].id for i in order]
    return rankings


def retrieved(dev: DevSet) -> dict[str, list[str]]:
    """The order of the first stage."""
    return {query: [p.id for p in question.candidates] for query, question in dev.questions.items()}


def cross_encoder_metric(
    sets: Sequence[DevSet], fusion: Fusion, *, read_tokens: int
) -> Callable[[Any], float]:
    """MRR@10 of the pipeline, the mean of the sets', for a `CrossEncoder` in training."""

    def metric(model: Any) -> float:
        import torch

        trained_with, model.max_seq_length = model.max_seq_length, read_tokens

        def scored(pairs: Sequence[tuple[str, str]]) -> FloatArray:
            logits: FloatArray = model.predict(
                list(pairs), activation_fn=torch.nn.Identity(), show_progress_bar=False
            )
            return logits

        means = [
            mean_of(dev.measured(fused(dev, logits_of(dev, scored), fusion), PIPELINE_MEASURE))
            for dev in sets
        ]
        model.max_seq_length = trained_with
        return float(np.mean(means))

    return metric


def bi_encoder_metric(
    sets: Sequence[DevSet], query_prompt: str = "", passage_prompt: str = ""
) -> Callable[[Any], float]:
    """nDCG@10 over a pool of passages, the mean of the sets', for a `SentenceTransformer`."""

    def metric(model: Any) -> float:
        means = []
        for dev in sets:
            pool = list(_pool(dev).values())
            passages = _encoded(model, [passage_prompt + p.model_text for p in pool])
            questions = dev.questions
            queries = _encoded(model, [query_prompt + q.text for q in questions.values()])
            _, rows = exact_top_k(queries, passages, min(_RANKED, len(pool)))
            rankings = {
                query: [pool[i].id for i in found if pool[i].model_text != question.text]
                for (query, question), found in zip(questions.items(), rows, strict=True)
            }
            means.append(mean_of(dev.measured(rankings, RETRIEVAL_MEASURE)))
        return float(np.mean(means))

    return metric


def mean_of(values: Mapping[str, float]) -> float:
    """The mean over the questions."""
    return float(np.mean(list(values.values())))


def _pool(dev: DevSet) -> dict[str, Passage]:
    return {p.id: p for q in dev.questions.values() for p in (*q.relevant, *q.candidates)}


def _encoded(model: Any, texts: list[str]) -> FloatArray:
    embeddings: FloatArray = model.encode(
        texts,
        prompt="",  # it stands in the texts
        normalize_embeddings=getattr(model, "similarity_fn_name", "cosine") != "dot",
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    return embeddings
