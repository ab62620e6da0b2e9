"""`shortlist info`: what an index is."""

from __future__ import annotations

from dataclasses import asdict

from shortlist.cli.options import AsJson, IndexArgument
from shortlist.cli.show import print_json, table
from shortlist.data.ledger import counted
from shortlist.pipeline.engines.derived import EngineRecord, saved_records
from shortlist.pipeline.index import Index
from shortlist.pipeline.stages import second_stage


def info(
    index: IndexArgument,
    as_json: AsJson = False,
) -> None:
    """Show what an index holds and which models it was made with.

    Example: shortlist info notes.idx
    """
    opened = Index(index)
    manifest = opened.manifest
    engines = saved_records(index)
    if as_json:
        counts = {
            "rows": manifest.rows,
            "deleted_rows": opened.stored_rows - manifest.rows,
            "cut_passages": manifest.cut_passages,
            "cut_tokens": manifest.cut_tokens,
            "bytes": opened.size(),
            "engines": [asdict(record) for record in engines],
        }
        print_json(asdict(manifest) | counts)
        return
    model = manifest.model
    deleted = opened.stored_rows - manifest.rows
    options = manifest.source.get("options", {})
    rows = {
        "passages": f"{manifest.rows:,}"
        + (f"; {deleted:,} deleted ones take space until shortlist compact" if deleted else "")
        + ("" if manifest.complete else "; unfinished: run the same shortlist index again"),
        "size": f"{opened.size() / 1e6:.1f} MB in {counted(len(manifest.segments), 'segments')}",
        "bi-encoder": f"{model.name}, {model.dim} dimensions, {model.metric}, {model.precision}",
        "fingerprint": model.fingerprint,
        "prompts": f"queries {model.query_prompt!r}, passages {model.passage_prompt!r}",
        "embeddings": f"kept as {manifest.store}",
        "cross-encoder": _second(manifest.cross_encoder),
        "longest passage": f"{model.max_tokens} tokens; {manifest.cut_passages} are longer, "
        f"{manifest.cut_tokens} tokens of them were not read",
        "source": ", ".join(
            str(manifest.source[key]) for key in ("name", "kind") if manifest.source.get(key)
        ),
        "read with": ", ".join(f"{name} {value}" for name, value in options.items() if value),
        "added": ", ".join(
            f"{source.get('name', 'passages')} ({source.get('passages', '?')})"
            for source in manifest.source.get("added", [])
        ),
        "dropped": ", ".join(counted(n, w) for w, n in manifest.source.get("dropped", {}).items()),
        "languages": ", ".join(
            f"{language} {n}" for language, n in manifest.source.get("languages", {}).items()
        ),
        "engines": "; ".join(map(_engine, engines)),
        "made by": f"{manifest.created_by}, format {manifest.format}, commit {manifest.commit}",
    }
    table(str(index), ("", ""), [(name, value or "-") for name, value in rows.items()])


def _second(recorded: str | None) -> str:
    now = second_stage(None, recorded)
    return (recorded if now == recorded else f"{recorded}, now {now}") or "none"


def _engine(record: EngineRecord) -> str:
    reached = ", ".join(f"recall@{m['top_k']} {m['recall']:.3f}" for m in record.measured)
    return f"{record.engine} ({record.library}, {record.bytes / 1e6:.1f} MB; {reached})"
