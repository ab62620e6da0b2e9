"""`shortlist ask`: question after question, in the terminal or from a pipe."""

from __future__ import annotations

import atexit
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from shortlist.cli.engines import note_engine
from shortlist.cli.options import (
    Adaptive,
    AsJson,
    BudgetMs,
    CascadeKeep,
    CrossEncoderName,
    DepthOrNone,
    Device,
    EngineName,
    FuseName,
    IndexOrAddress,
    NoRerank,
    StudentName,
    TargetRecall,
    TopK,
    Where,
)
from shortlist.cli.show import note, note_unanswered, print_hits, print_json
from shortlist.models.loading import cache_folder
from shortlist.pipeline.highlight import Span, highlights
from shortlist.pipeline.pipeline import DEFAULT_FUSION, DEFAULT_TOP_K, EXACT, RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.records import Hit

HISTORY_LINES = 1000


def ask(
    index: IndexOrAddress,
    top_k: TopK = DEFAULT_TOP_K,
    depth: DepthOrNone = None,
    where: Where = None,
    adaptive: Adaptive = False,
    budget_ms: BudgetMs = None,
    cascade: CascadeKeep = None,
    student: StudentName = None,
    no_rerank: NoRerank = False,
    as_json: AsJson = False,
    cross_encoder: CrossEncoderName = None,
    engine: EngineName = EXACT,
    target_recall: TargetRecall = None,
    fuse: FuseName = DEFAULT_FUSION,
    device: Device = "auto",
) -> None:
    """Ask questions one after another; an empty line ends it.

    Questions may also be piped in, one a line; with --json each answer is one line of JSON.

    Example: shortlist ask notes.idx
    """
    pipeline = RetrieveRerankPipeline.open(
        index,
        cross_encoder="none" if no_rerank else cross_encoder,
        device=device,
        student=student,
        engine=engine,
        target_recall=target_recall,
        fuse=fuse,
        progress=None,
    )
    note_engine(engine, pipeline.measured(depth or DEFAULT_DEPTH))
    converse(
        pipeline,
        top_k=top_k,
        depth=depth,
        where=where,
        adaptive=adaptive,
        budget_ms=budget_ms,
        cascade=cascade,
        as_json=as_json,
    )


def converse(
    pipeline: RetrieveRerankPipeline,
    *,
    top_k: int,
    depth: int | None = None,
    where: str | None = None,
    adaptive: bool = False,
    budget_ms: float | None = None,
    cascade: int | None = None,
    as_json: bool = False,
) -> None:
    """Answer questions until there are no more."""
    for question in questions():
        hits = pipeline.search(
            question,
            top_k=top_k,
            depth=depth,
            where=where,
            adaptive=adaptive,
            budget_ms=budget_ms,
            cascade=cascade,
        )
        if as_json:
            print_json([hit.as_json() for hit in hits], indent=None)
        else:
            print_hits(hits, _spans(pipeline, question, hits))
            note_unanswered(pipeline.is_answered(hits), hits)


def _spans(
    pipeline: RetrieveRerankPipeline, question: str, hits: Sequence[Hit]
) -> list[Span | None]:
    """The sentences that answer best, for a terminal, which can show them."""
    if not sys.stdout.isatty() or not any(hit.rerank_score is not None for hit in hits):
        return []
    return highlights(pipeline.cross_encoder, question, hits)


def questions() -> Iterator[str]:
    """Lines typed at a prompt until an empty one, or every line of a pipe that is not empty."""
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # one odd byte must not end the others
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    _remember()
    note("Ask a question; an empty line ends it.")
    while True:
        try:
            if sys.stdout.isatty():
                question = input("? ").strip()
            else:  # answers go to a file: the prompt must not
                print("? ", end="", file=sys.stderr, flush=True)  # noqa: T201
                question = input().strip()
        except EOFError:
            return
        if not question:
            return
        yield question


def _remember() -> None:
    """Editing at the prompt, and the questions of earlier sessions, where there is readline."""
    try:
        import readline
    except ImportError:
        return
    file = cache_folder() / "ask-history"
    with suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(HISTORY_LINES)

    def keep() -> None:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))  # nobody else's business
            readline.write_history_file(file)

    atexit.register(keep)
