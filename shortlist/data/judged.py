"""A folder of passages, queries and judgements: in which files of it they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shortlist.data import msmarco, quora, streams
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import DataError, UsageError
from shortlist.records import Qrels

SPLITS = ("dev", "test", "train")  # in the order in which one is taken where none is named


@dataclass(frozen=True, slots=True)
class JudgedFolder:
    """Where things are; the passages are read by `shortlist.data.collections.load`."""

    path: Path
    split: str | None  # None where the folder has no judgements, or no splits
    queries: Path | None
    qrels: Path | None
    pairs: Path | None = None  # a file of labelled pairs: queries and judgements in one

    def read(self) -> tuple[dict[str, str] | None, Qrels | None]:
        """Queries and judgements; None where there are none.

        Raises:
            DataError: lines that cannot be read; pairs of which none ask the same.
        """
        if self.pairs:
            found = quora.read_judged(self.pairs)
            return dict(found.queries), found.qrels
        asked = read_queries(self.queries) if self.queries else None
        return asked, read_qrels(self.qrels) if self.qrels else None

    def wordings(self) -> Mapping[str, Path]:
        """The same queries worded otherwise, `queries_NAME.jsonl` beside them: name -> file."""
        named = sorted(self.path.glob("queries_*.jsonl"))
        return {path.stem.removeprefix("queries_"): path for path in named}


def judged_folder(path: Path, split: str | None = None) -> JudgedFolder:
    """Find queries and judgements of a BEIR, MS MARCO or Quora folder.

    `split` is dev, test, train or the name of another; by default the first of these that there is.
    A folder without judgements is one, too: its `qrels` is None.

    Raises:
        DataError: no such folder, or judgements without queries.
        UsageError: a split that the folder lacks; those that it has are named.
    """
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with corpus.jsonl, queries and qrels")
    pairs = streams.find(path, *quora.NAMES)
    if pairs and not streams.find(path, "corpus.jsonl") and quora.is_pairs(pairs):
        return JudgedFolder(path, None, None, None, pairs)
    there = _splits(path)
    if split is not None and split not in there:
        raise UsageError(f"{path} has no judgements for {split!r}; it has {list(there) or 'none'}")
    chosen = split or next((name for name in (*SPLITS, *there) if name in there), None)
    queries = streams.find(path, "queries.jsonl", f"queries.{chosen}.tsv", "queries.tsv")
    small = streams.find(path, f"queries.{chosen}.small.tsv")
    if chosen and not (queries or small):
        raise DataError(f"{path} has judgements ({there[chosen].name}) and no queries.jsonl")
    return JudgedFolder(path, chosen, queries or small, there[chosen] if chosen else None)


def _splits(path: Path) -> dict[str, Path]:
    """Name of each split -> its judgements: qrels/dev.tsv of BEIR, qrels.dev.small.tsv."""
    in_folder = {file.name.partition(".")[0]: file for file in sorted(path.glob("qrels/*.tsv*"))}
    if in_folder or not streams.find(path, msmarco.COLLECTION):
        return in_folder
    # qrels.dev.tsv before qrels.dev.small.tsv: where both are there, the small one is what is used
    files = sorted(path.glob("qrels.*.tsv*"), key=lambda file: "small" in file.name)
    return {file.name.split(".")[1]: file for file in files}
