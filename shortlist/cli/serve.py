"""`shortlist serve`: a page and an API over an index."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.engines import note_engine
from shortlist.cli.options import (
    CrossEncoderName,
    Device,
    EngineName,
    FuseName,
    IndexOrAddress,
    NoRerank,
    TargetRecall,
)
from shortlist.cli.show import note
from shortlist.data.queries import read_queries
from shortlist.errors import MissingExtraError, UsageError
from shortlist.pipeline.pipeline import DEFAULT_FUSION, EXACT, RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEFAULT_DEPTH

TOKEN = "SHORTLIST_TOKEN"  # noqa: S105 - the name of the variable that has it
PORT = 8765
SAMPLES_SHOWN = 6
_CONNECTIONS = 512


def serve(
    index: IndexOrAddress,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 for any free one.")] = PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name that browsers may reach it by; again for more."),
    ] = None,
    budget: Annotated[
        float, typer.Option("--budget", help="Seconds within which an accepted question is done.")
    ] = 10.0,
    most_waiting: Annotated[
        int, typer.Option("--most-waiting", help="Questions that wait, before 503 is answered.")
    ] = 64,
    samples: Annotated[
        Path | None, typer.Option("--samples", help="Questions to begin with: a queries file.")
    ] = None,
    no_rerank: NoRerank = False,
    cross_encoder: CrossEncoderName = None,
    engine: EngineName = EXACT,
    target_recall: TargetRecall = None,
    fuse: FuseName = DEFAULT_FUSION,
    device: Device = "auto",
) -> None:
    """Answer questions in the browser, and through an API; Ctrl-C ends it.

    Only this machine can reach it, unless --host says otherwise. SHORTLIST_TOKEN, where it is set,
    is a token that the API wants.

    Example: shortlist serve notes.idx
    """
    if not all(find_spec(module) for module in ("fastapi", "uvicorn")):
        raise MissingExtraError("serve needs an extra: pip install 'shortlist[serve]'")
    if budget <= 0 or most_waiting < 1:
        raise UsageError(
            "--budget must be above 0 and --most-waiting at least 1, got "
            f"{budget:g} and {most_waiting}"
        )
    asked = list(read_queries(samples).values())[:SAMPLES_SHOWN] if samples else []
    pipeline = RetrieveRerankPipeline.open(
        index,
        cross_encoder="none" if no_rerank else cross_encoder,
        device=device,
        engine=engine,
        target_recall=target_recall,
        fuse=fuse,
        progress=None,
    )
    note_engine(engine, pipeline.measured(DEFAULT_DEPTH))
    from shortlist.web.serving import run

    token = os.environ.get(TOKEN) or None
    if host not in ("127.0.0.1", "localhost", "::1") and not token:
        note(f"everyone who reaches {host} can read this index; set {TOKEN} to want a token")
    run(
        pipeline,
        name=Path(index).name if "://" not in index else index.rpartition("/")[2],
        host=host,
        port=port,
        hosts=allow_host or [],
        token=token,
        budget=budget,
        most_waiting=most_waiting,
        samples=asked,
        on_ready=lambda address: note(f"answering at {address} (Ctrl-C ends it)"),
    )
