"""`shortlist ask`: question after question, in the terminal or from a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import suppress

from shortlist.cli.engines import note_engine
from shortlist.cli.options import (
    Adaptive,
    AsJson,
    BudgetMs,
    CrossEncoderName,
    DepthOrNone,
    Device,
    EngineName,
    FuseName,
    IndexOrAddress,
    NoRerank,
    TargetRecall,
    TopK,
    Where,
)
from shortlist.cli.show import note, print_hits, print_json
from shortlist.pipeline.pipeline import DEFAULT_FUSION, DEFAULT_TOP_K, EXACT, RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEFAULT_DEPTH


def ask(
    index: IndexOrAddress,
    top_k: TopK = DEFAULT_TOP_K,
    depth: DepthOrNone = None,
    where: Where = None,
    adaptive: Adaptive = False,
    budget_ms: BudgetMs = None,
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
        )
        if as_json:
            print_json([hit.as_json() for hit in hits], indent=None)
        else:
            print_hits(hits)


def questions() -> Iterator[str]:
    """Lines typed at a prompt until an empty one, or every line of a pipe that is not empty."""
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # one odd byte must not end the others
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with suppress(ImportError):
        import readline  # noqa: F401 - editing and history at the prompt

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
