"""`shortlist push`: an index moved to a Milvus server."""

from __future__ import annotations

from typing import Annotated

import typer
from tqdm import tqdm

from shortlist.cli.options import IndexArgument
from shortlist.cli.show import note
from shortlist.data.ledger import counted
from shortlist.pipeline.layout import Manifest


def push(
    index: IndexArgument,
    to: Annotated[str, typer.Option("--to", help="milvus://HOST:PORT/COLLECTION")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Drop a collection of another model.")
    ] = False,
) -> None:
    """Move an index to a Milvus server, or bring the one there up to date.

    Interrupted, the same command goes on where it was. In the end passages are
    counted and sampled searches compared. Then give the address in the place
    of the index: shortlist search milvus://HOST:PORT/COLLECTION "..."

    A token or USER:PASSWORD is taken from MILVUS_TOKEN.

    Example: shortlist push notes.idx --to milvus://db.example:19530/notes
    """
    from shortlist.pipeline.push import push as push_index

    total = Manifest.read(index).rows
    with tqdm(desc="pushing", total=total, unit=" passages", disable=None, delay=2) as bar:
        done = push_index(index, to, overwrite=overwrite, on_passages=bar.update)
    note(
        f"{to}: {counted(done.written, 'passages')} written, {done.deleted:,} deleted, "
        f"{done.unchanged:,} there already; sampled searches find {done.recall:.1%} of the exact "
        "ones"
    )
