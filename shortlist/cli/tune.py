"""`shortlist tune`: the effort with which an engine reaches a recall."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.options import AsJson, Device, IndexArgument
from shortlist.cli.show import note, print_json, table
from shortlist.data.queries import read_queries
from shortlist.errors import UsageError
from shortlist.pipeline.index import Index
from shortlist.pipeline.stages import encoder_of


def tune(
    index: IndexArgument,
    engine: Annotated[
        str,
        typer.Option("--engine", help="faiss, faiss-ivfpq, hnswlib, annoy, milvus, or an address."),
    ],
    target_recall: Annotated[
        float, typer.Option("--target-recall", help="The share of the exact neighbours to find.")
    ] = 0.99,
    top_k: Annotated[
        list[int] | None,
        typer.Option("-k", "--top-k", help="Neighbours; may be repeated. 10, 30 and 100."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option("--queries", help="Real questions, .jsonl or .tsv, instead of made-up ones."),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the engine anew.")] = False,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Find and record the effort with which an engine reaches a recall.

    It is built where there is none. What it finds is compared with what the
    exact search finds, for 500 queries made of words of the passages, or for
    yours; 500 are enough for a recall of 0.99 give or take 0.002.

    Example: shortlist tune notes.idx --engine faiss --target-recall 0.95
    """
    from shortlist.pipeline.engines.opening import opened_engine
    from shortlist.pipeline.engines.tuning import DEPTHS, sample_queries

    depths = top_k or list(DEPTHS)
    if min(depths) < 1:
        raise UsageError(f"--top-k must be 1 or more, got {min(depths)}")
    asked = list(read_queries(queries).values()) if queries else None
    opened = Index(index)
    encoder = encoder_of(opened, device=device)
    search = opened_engine(
        opened,
        engine,
        lambda: encoder.encode_queries(asked) if asked else sample_queries(opened, encoder),
        target_recall=target_recall,
        depths=depths,
        rebuild=rebuild,
        again=True,
        progress=None,
    )
    if as_json:
        print_json([asdict(found) for found in search.measured])
        return
    rows = [
        [
            f"{found.top_k}",
            f"{found.recall:.4f} ± {found.error:.4f}" + ("" if found.is_met else " (missed)"),
            ", ".join(f"{name} {value:,}" for name, value in found.effort.items()),
            f"{found.ms:.3f}",
            f"{found.exact_ms:.3f}",
        ]
        for found in search.measured
    ]
    title = f"{engine}: recall {target_recall:g} wanted, {len(opened):,} passages"
    table(title, ["top-k", "recall", "effort", "ms a query", "exact"], rows)
    if len(opened) and all(found.exact_ms < found.ms for found in search.measured):
        note("the exact search is faster here: there is nothing to gain from this engine")
