"""`shortlist info`: what an index is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from shortlist.cli.options import AsJson, IndexArgument
from shortlist.cli.show import note, print_json, table
from shortlist.data.ledger import counted
from shortlist.pipeline.index import Index


def info(
    index: IndexArgument,
    as_json: AsJson = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and compare its checksum.")
    ] = False,
) -> None:
    """Show what an index holds and which models it was made with.

    Example: shortlist info notes.idx
    """
    opened = Index(index)
    if verify:
        opened.verify()
        note("every file is as it was committed")
    manifest = opened.manifest
    if as_json:
        print_json(asdict(manifest) | {"rows": manifest.rows, "bytes": opened.size()})
        return
    model = manifest.model
    rows = {
        "passages": f"{manifest.rows:,}",
        "size": f"{opened.size() / 1e6:.1f} MB in {counted(len(manifest.segments), 'segments')}",
        "bi-encoder": f"{model.name}, {model.dim} dimensions, {model.metric}, {model.precision}",
        "fingerprint": model.fingerprint,
        "cross-encoder": manifest.cross_encoder or "none",
        "longest passage": f"{model.max_tokens} tokens; {manifest.cut_passages} are longer, "
        f"{manifest.cut_tokens} tokens of them were not read",
        "source": ", ".join(
            str(manifest.source[key]) for key in ("name", "kind") if manifest.source.get(key)
        ),
        "dropped": ", ".join(counted(n, w) for w, n in manifest.source.get("dropped", {}).items()),
        "languages": ", ".join(
            f"{language} {n}" for language, n in manifest.source.get("languages", {}).items()
        ),
        "made by": f"{manifest.created_by}, format {manifest.format}",
    }
    table(str(index), ("", ""), [(name, value or "-") for name, value in rows.items()])
