"""From a collection and what is judged of it to a study: what `choose` and the datasets' script do.

A test bed is what all systems are measured on: the same passages, the same questions.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shortlist.cli.show import note, stdout, table
from shortlist.data.sentences import sentence_spans
from shortlist.errors import UsageError
from shortlist.evaluation.choose import LEXICAL, LIMIT_QUERIES, Choice, System
from shortlist.evaluation.known_item import KnownItems, known_items
from shortlist.evaluation.sampling import passage_sample
from shortlist.evaluation.study import counts_of, study_of
from shortlist.evaluation.task_kind import TaskKind, disagreement, task_kind
from shortlist.models.bi_encoder import BiEncoder
from shortlist.models.registered import known_presets
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.records import Passage, Qrels

_TITLES_LEAK = 0.5  # of the queries are titles, from which titles are not indexed


@dataclass(frozen=True, slots=True)
class TestBed:
    """What every system is measured on."""

    name: str
    passages: Mapping[str, Passage]  # by id, as they are indexed
    of_passages: int  # before sampling
    queries: Mapping[str, str]
    qrels: Qrels
    kind: TaskKind
    known: KnownItems | None  # where there were no judgements
    warnings: tuple[str, ...]


def test_bed(
    name: str,
    stream: Iterable[Passage],
    queries: Mapping[str, str] | None,
    qrels: Qrels | None,
    encoder: BiEncoder,
    *,
    limit_passages: int | None = None,
    known_queries: int | None = LIMIT_QUERIES,
    seed: int = 0,
) -> TestBed:
    """Take the passages, say what kind of task it is, and make questions where none are judged.

    Titles are not indexed where most queries are titles: the answer would stand in the question.

    Raises:
        DataError: no passages; or neither judgements nor anything that queries can be made from.
    """
    asked = queries or {}
    judged = {passage_id for grades in (qrels or {}).values() for passage_id in grades}
    sample = passage_sample(stream, limit_passages, keep=judged | asked.keys(), seed=seed)
    passages = sample.passages
    kind = task_kind(passages, asked, qrels, encode=encoder.encode_passages, seed=seed)
    warnings = []
    if sample.is_part:
        warnings.append(
            f"{len(passages):,} of {sample.of:,} passages were searched, the judged ones among "
            "them: compare the systems by these figures, but expect lower ones on the whole"
        )
    known = None
    if qrels is None:
        number = known_queries or LIMIT_QUERIES
        known = known_items(passages, number, sentences=sentence_spans, seed=seed)
        made = ", ".join(f"{count} by {how}" for how, count in known.method.items() if count)
        warnings.append(
            f"no judgements were given: {len(known.queries)} queries were made from the passages "
            f"({made}). They share the passages' words, which flatters keyword search: judge a "
            "few real questions for a surer choice"
        )
        passages = [known.changed.get(passage.id, passage) for passage in passages]
        asked, qrels = known.queries, known.qrels
    elif kind.statistics.get("queries_as_titles", 0.0) > _TITLES_LEAK:
        share = kind.statistics["queries_as_titles"]
        warnings.append(
            f"{share:.0%} of the queries are titles of passages: titles were left out of the "
            "index, or every answer would stand in its question"
        )
        passages = [replace(passage, title="") for passage in passages]
    by_id = {passage.id: passage for passage in passages}
    return TestBed(name, by_id, sample.of, asked, qrels, kind, known, tuple(warnings))


def finds_itself(bed: TestBed) -> bool:
    """Whether queries are passages under the same ids, which are no answers to themselves."""
    judged_itself = any(grades.get(query_id, 0) > 0 for query_id, grades in bed.qrels.items())
    return not judged_itself and not bed.qrels.keys().isdisjoint(bed.passages)


def name_of(source: str) -> str:
    """What a collection is called: its file or folder, or the folder of a corpus.jsonl."""
    path = Path(source.rstrip("/"))
    plain = path.name.split(".")[0] in ("corpus", "passages", "collection")
    return (path.resolve().parent.name if plain else path.name) or source


def recommendation_of(choice: Choice, source: str) -> dict[str, Any]:
    """What to type to get the recommended system; of BM25, what to write in Python."""
    system = choice.recommended
    reasons = list(choice.reasons[1:])  # the first is the headline of every report
    preset = system.stage.name if system.stage.name in known_presets() else None
    command = command_for(system, source)
    if system.stage.name == LEXICAL:
        rest = [s for s in choice.systems if s.stage.name != LEXICAL]
        if rest:
            second = max(rest, key=lambda s: s.scores.mean[choice.primary])
            value = second.scores.mean[choice.primary]
            reasons.append(
                f"Keyword search is not kept in an index yet; of what is, {second.name} is best "
                f"({value:.3f}): {command_for(second, source)}"
            )
    return {"preset": preset, "reasons": reasons, "command": command}


def command_for(system: System, source: str) -> str:
    """The commands that make an index with this system and search it."""
    name = system.stage.name
    if name == LEXICAL:
        second = f"CrossEncoder.load({system.stage.cross_encoder!r})" if system.depth else ""
        depth = f", depth={system.depth}" if system.depth else ""
        return f"BM25Pipeline(passages{', ' + second if second else ''}).search(question{depth})"
    index = f"{Path(name_of(source)).stem}.idx"
    chosen = ["--preset" if name in known_presets() else "--bi-encoder", name]
    second_stage = [] if system.depth else ["--cross-encoder", "none"]
    made = shlex.join(["shortlist", "index", source, "-o", index, *chosen, *second_stage])
    deeper = ["--depth", str(system.depth)] if system.depth not in (0, DEFAULT_DEPTH) else []
    return f"{made} && {shlex.join(['shortlist', 'search', index, 'your question', *deeper])}"


def warnings_of(choice: Choice, bed: TestBed) -> list[str]:
    """What must be known with the figures: of the data, and where model and data disagree."""
    apart = disagreement(bed.kind, choice.recommended.stage.task)
    missing = sorted(choice.qrels.keys() - choice.queries.keys())
    absent = (
        [f"{len(missing)} judged queries have no text and count as zero: {missing[:10]}"]
        if missing
        else []
    )
    said = [f"{choice.recommended.name}: {apart}"] if apart else []
    return [*bed.warnings, *absent, *said]


def study(
    choice: Choice,
    bed: TestBed,
    source: str,
    *,
    split: str | None = None,
    all_queries: Mapping[str, str] | None = None,
    all_qrels: Qrels | None = None,
    **more: Sequence[Any],
) -> dict[str, Any]:
    """The study of a choice; `more` are robustness, robustness_sentences and kinds."""
    queries, qrels = all_queries or bed.queries, all_qrels or bed.qrels
    return study_of(
        choice,
        title=f"{bed.name}, {split}" if split else bed.name,
        dataset={
            "name": bed.name,
            "split": split,
            "known_item": bed.known is not None,
            "sampled_from": bed.of_passages if bed.of_passages > len(bed.passages) else None,
        },
        task=bed.kind,
        warnings=warnings_of(choice, bed),
        counts=counts_of(choice, queries, qrels, bed.passages),
        recommendation=recommendation_of(choice, source),
        passages=bed.passages,
        **more,
    )


def print_choice(choice: Choice, bed: TestBed, source: str) -> None:
    """The kind of task, the table from fast to slow, the recommendation and its evidence."""
    console = stdout()
    console.print(f"The task looks {bed.kind.kind}.", style="bold")
    for reason in bed.kind.reasons:
        console.print(f"  {reason}")
    questions = "known-item queries" if bed.known else "queries"
    measures = list(choice.recommended.scores.mean)
    rows = [
        [
            f"{'→ ' if system is choice.recommended else '  '}{system.name}",
            *(_mean(system, measure) for measure in measures),
            f"{system.latency.total.p50:.1f}",
            f"{system.latency.total.p95:.1f}",
            "yes" if system.on_frontier else "",
        ]
        for system in choice.systems
    ]
    title = f"{len(choice.qrels)} {questions}, {len(bed.passages):,} passages"
    columns = ["system", *measures, "p50 ms", "p95 ms", "frontier"]
    table(title, columns, rows)
    for reason in choice.reasons:
        console.print(reason)
    console.print()
    console.print(command_for(choice.recommended, source), style="bold", soft_wrap=True)


def _mean(system: System, measure: str) -> str:
    low, high = system.intervals[measure]
    return f"{system.scores.mean[measure]:.3f} ({low:.3f}–{high:.3f})"


def step_notes(*, quiet: bool = False) -> Callable[[str], object]:
    """Where steps are told: on stderr."""
    return (lambda _: None) if quiet else note


def check_limits(limit_queries: int | None, limit_passages: int | None) -> None:
    """Refuse limits that nothing can be measured with.

    Raises:
        UsageError: a limit below 1.
    """
    for option, value in (("--limit-queries", limit_queries), ("--limit-passages", limit_passages)):
        if value is not None and value < 1:
            raise UsageError(f"{option} must be 1 or more, got {value}")


def check_depths(depths: Sequence[int] | None) -> None:
    """Refuse depths at which nothing is reranked; none given is fine.

    Raises:
        UsageError: a depth below 1.
    """
    if depths and min(depths) < 1:
        raise UsageError(f"--depth must be 1 or more, got {min(depths)}")
