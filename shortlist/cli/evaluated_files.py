"""The files that `shortlist evaluate -o` writes: the ending says which form it is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from shortlist.cli.evaluated import Evaluated
from shortlist.cli.evaluated_tables import as_markdown
from shortlist.cli.show import refuse_same
from shortlist.data.atomic import written
from shortlist.data.runs import check_run_ids, write_run
from shortlist.errors import UsageError
from shortlist.evaluation.metrics import run_of

_RUNS = (".trec", ".run")
ENDINGS = (".json", ".md", ".csv", *_RUNS)  # each may be followed by .gz


def check_outputs(outputs: Sequence[Path], index: Path, *inputs: Path) -> None:
    """Refuse what could not be written or must not be written over, before the long work.

    Raises:
        UsageError: an unknown ending, a file named twice, one that is read, or no such folder.
    """
    for number, output in enumerate(outputs):
        if _ending(output) not in ENDINGS:
            raise UsageError(
                f"{output}: the ending says what to write; expected .json, .md (tables), .csv "
                "(values of each query) or .trec (a run)"
            )
        if output.resolve() in [other.resolve() for other in outputs[:number]]:
            raise UsageError(f"{output} is named twice with -o; name another file")
        if output.is_dir() or not output.parent.is_dir():
            what = "is a folder" if output.is_dir() else f"there is no folder {output.parent}"
            raise UsageError(f"{output}: {what}; name a file in a folder that is there")
        if output.resolve().is_relative_to(index.resolve()):
            raise UsageError(f"{output} is inside of the index that is read; choose another place")
        refuse_same(output, *inputs)


def check_ids(
    outputs: Iterable[Path], query_ids: Iterable[str], passage_ids: Iterable[str]
) -> None:
    """Refuse a run of ids that a run cannot hold, before the long work.

    Raises:
        UsageError: an id with a blank in it.
    """
    runs = [output for output in outputs if _ending(output) in _RUNS]
    if runs:
        check_run_ids(query_ids, "query", runs[0])
        check_run_ids(passage_ids, "passage", runs[0])


def write_evaluated(found: Evaluated, queries: Mapping[str, str], output: Path) -> None:
    """Write a file of the form that its ending names; it appears complete or not at all.

    A run is of the order in which the pipeline returns passages. Raises `DataError` where the file
    cannot be written.
    """
    ending = _ending(output)
    if ending in _RUNS:
        order = found.result.rankings["reranked" if found.result.reranked else "retrieval"]
        write_run(run_of(order), output)
        return
    forms: dict[str, Callable[[], str]] = {
        ".json": lambda: json.dumps(found.as_json(), indent=1, allow_nan=False) + "\n",
        ".md": lambda: as_markdown(found),
        ".csv": lambda: _per_query(found, queries),
    }
    with written(output) as stream:
        stream.write(forms[ending]().encode("utf-8", "replace"))


def _per_query(found: Evaluated, queries: Mapping[str, str]) -> str:
    """A row for each query: id, text, and a column for each system and measure."""
    result = found.result
    systems = dict(result.systems)
    if result.ceiling is not None:
        systems["ceiling"] = result.ceiling
    columns = {
        f"{system} {measure}": values
        for system, scores in systems.items()
        for measure, values in scores.per_query.items()
    }
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["query_id", "query", *columns])
    for query_id in next(iter(columns.values())):
        values = (column[query_id] for column in columns.values())
        rows.writerow([query_id, queries.get(query_id, ""), *values])
    return text.getvalue()


def _ending(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()
