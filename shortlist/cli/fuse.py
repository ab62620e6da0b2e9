"""`shortlist fuse`: several runs made into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.show import note, refuse_same
from shortlist.data.ledger import counted
from shortlist.data.runs import check_run_ids, read_run, write_run
from shortlist.errors import UsageError
from shortlist.pipeline.fuse import ReciprocalRank, Weighted, check_weights, fused_runs

_KEPT = 1000


def fuse(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Two or more, TREC or MS MARCO.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The TREC run to write.")],
    method: Annotated[
        str, typer.Option("--method", help="rrf (reciprocal ranks) or weighted (scores 0 to 1).")
    ] = "rrf",
    k: Annotated[
        float, typer.Option("--k", help="Of rrf: the higher, the less the first ranks count.")
    ] = 60.0,
    weights: Annotated[
        str | None, typer.Option("--weights", help="One for each run, such as 0.7,0.3.")
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", help="Passages of each query of a run that count.")
    ] = _KEPT,
    top_k: Annotated[
        int, typer.Option("-k", "--top-k", help="Passages of each query that are written.")
    ] = _KEPT,
    run_tag: Annotated[str, typer.Option("--runtag", help="The name in the run.")] = "shortlist",
) -> None:
    """Fuse runs of the same questions, by ranks or by weighted scores.

    A question that some of them do not have is fused of the others.

    Example: shortlist fuse dense.trec bm25.trec -o both.trec
    """
    if len(runs) < 2:
        raise UsageError("fusing takes two runs or more")
    if min(depth, top_k) < 1:
        raise UsageError(f"--depth and --top-k must be 1 or more, got {depth} and {top_k}")
    if method not in ("rrf", "weighted"):
        raise UsageError(f"--method must be rrf or weighted, got {method!r}")
    refuse_same(output, *runs)
    for number, path in enumerate(runs):
        if any(path.exists() and one.exists() and path.samefile(one) for one in runs[:number]):
            raise UsageError(f"{path} is given twice")
    numbers = _numbers(weights)
    rule = Weighted(numbers) if method == "weighted" else ReciprocalRank(k, numbers)
    check_weights(rule, len(runs))
    check_run_ids([run_tag], "run", output)
    read = [read_run(path) for path in runs]
    fused = fused_runs(read, rule, depth=depth, top_k=top_k)
    for path, run in zip(runs, read, strict=True):
        if missing := len(fused) - len(run):
            note(f"warning: {path} has no passages for {counted(missing, 'queries')}")
    write_run(fused.items(), output, run_tag)
    note(f"{len(fused):,} queries: {output}")


def _numbers(weights: str | None) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in weights.split(",")) if weights else None
    except ValueError as error:
        raise UsageError(f"--weights {weights}: expected numbers such as 0.7,0.3") from error
