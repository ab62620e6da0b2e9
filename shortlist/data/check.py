"""The linter for test collections: corpus, queries, judgements and runs, together.

Nothing is raised for what is wrong inside a file: it becomes a finding of the report. See
`shortlist.data.checks.codes` for all that can be found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shortlist.data.checks.corpus import Corpus, Visit, check_corpus
from shortlist.data.checks.files import Files, paths
from shortlist.data.checks.held_out import HeldOutFolder
from shortlist.data.checks.leaks import SelfHits, TitleLeak
from shortlist.data.checks.qrels import Split, check_qrels, enter_id_types
from shortlist.data.checks.queries import check_queries
from shortlist.data.checks.report import Example, Findings, Report
from shortlist.data.checks.runs import check_run
from shortlist.data.checks.splits import Positives, check_splits, in_order
from shortlist.data.columns import Columns
from shortlist.errors import UsageError

Given = Sequence[Path | str] | Path | str


def check(
    folder: Path | str | None = None,
    *,
    corpus: Given = (),
    queries: Given = (),
    qrels: Given = (),
    runs: Given = (),
    held_out: Given = (),
    columns: Columns | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Check a BEIR or MS MARCO folder, or files; files that are named replace the folder's.

    Several files of judgements are several splits, named by the files. `held_out` folders are those
    whose dev and test must not stand in this corpus; `columns` are those of a table. The corpus is
    streamed: 16 bytes a passage are held, and the texts of the passages judged relevant. Raises
    UsageError for a file or folder that is not there, and where nothing is given.
    """
    files = Files(paths(corpus), paths(queries), paths(qrels), paths(runs))
    if folder is not None:
        files = files.or_else(Files.of_folder(Path(folder)))
    files.check()
    if held_out and not files.corpus:
        raise UsageError("a held-out folder is compared with a corpus; give one with --corpus")
    findings = Findings()
    say = progress or (lambda _message: None)
    return _check(files, paths(held_out), columns or Columns(), findings, say)


def _check(
    files: Files,
    held_out: Sequence[Path],
    columns: Columns,
    findings: Findings,
    say: Callable[[str], None],
) -> Report:
    say("reading queries and judgements ...")
    queries = check_queries(files.queries, findings)
    splits = in_order(check_qrels(files.qrels, queries, findings))
    hits, titles = SelfHits(queries), TitleLeak(queries, splits)
    positives = Positives(splits if len(splits) > 1 else ())
    folders = [HeldOutFolder(folder, findings) for folder in held_out]
    corpus: Corpus | None = None
    if files.corpus:
        say("reading the corpus ...")
        visits: tuple[Visit, ...] = (hits, titles, positives, *folders)
        judged = bool(files.qrels or files.runs)
        corpus = check_corpus(
            files.corpus, findings, visits, columns=columns, judged=judged, progress=say
        )
    hits.enter(splits, findings, known=bool(corpus) and queries.given)
    titles.enter(findings)
    if corpus and corpus.complete:
        _check_judged_passages(splits, corpus, findings)
    say("comparing splits ...")
    check_splits(splits, queries, positives, findings)
    read = {"passages": corpus.passages} if corpus else {}
    if files.queries:
        read["queries"] = len(queries.texts)
    for split in splits:
        read[f"judgements of {split.name}"] = len(split.lines)
    for folder, path in zip(folders, held_out, strict=True):
        read[f"held-out passages of {path}"] = len(folder)
    for path in files.runs:
        say(f"reading {path} ...")
        lines = check_run(path, queries, splits, corpus, hits, findings)
        read[f"lines of {path}"] = lines
    return findings.report(read)


def _check_judged_passages(splits: Sequence[Split], corpus: Corpus, findings: Findings) -> None:
    """Enter judged passages that are not in the corpus, and those that are under another id."""
    for split in splits:
        judged: dict[str, str] = {}
        for query_id, passage_id in split.lines:
            judged.setdefault(passage_id, query_id)
        dangling = {
            passage_id: split.place(judged[passage_id], passage_id)
            for passage_id in corpus.missing(judged)
        }
        for passage_id, place in dangling.items():
            example = Example((place,), (passage_id,))
            findings.add("qrels", "dangling-passage", split.path, example)
        if dangling:
            enter_id_types(split.path, dangling, corpus.ids_and_places(), findings)
