"""`shortlist search`: one question, the best passages."""

from __future__ import annotations

from typing import Annotated

import typer

from shortlist.cli.options import (
    AsJson,
    CrossEncoderName,
    Depth,
    Device,
    IndexArgument,
    NoRerank,
    TopK,
)
from shortlist.cli.show import print_hits, print_json
from shortlist.pipeline.pipeline import DEFAULT_DEPTH, DEFAULT_TOP_K, RetrieveRerankPipeline


def search(
    index: IndexArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.")],
    top_k: TopK = DEFAULT_TOP_K,
    depth: Depth = DEFAULT_DEPTH,
    no_rerank: NoRerank = False,
    as_json: AsJson = False,
    cross_encoder: CrossEncoderName = None,
    device: Device = "auto",
) -> None:
    """Show the best passages for a question.

    Example: shortlist search notes.idx "how do plants make food?"
    """
    pipeline = RetrieveRerankPipeline.open(
        index, cross_encoder="none" if no_rerank else cross_encoder, device=device, progress=None
    )
    hits = pipeline.search(query, top_k=top_k, depth=depth)
    if as_json:
        print_json([hit.as_json() for hit in hits])
    else:
        print_hits(hits)
