"""Which files there are to check: those of a BEIR or MS MARCO folder, or those that were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shortlist.data import msmarco, quora, streams
from shortlist.errors import UsageError

_EXPECTED = (
    "a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv) or an MS MARCO folder "
    "(collection.tsv, queries.dev.tsv, qrels.dev.tsv)"
)


@dataclass(frozen=True, slots=True)
class Files:
    """Files by what they hold; each may be compressed."""

    corpus: tuple[Path, ...] = ()
    queries: tuple[Path, ...] = ()
    qrels: tuple[Path, ...] = ()
    runs: tuple[Path, ...] = ()

    @classmethod
    def of_folder(cls, folder: Path) -> Files:
        """Find the files of a folder by their published names; UsageError where there is none."""
        if folder.is_file():
            what = "expected a folder, got a file; name files with --corpus, --queries, --qrels"
            raise UsageError(f"{folder}: {what}, --run")
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected {_EXPECTED}")
        corpus = streams.find(folder, "corpus.jsonl", msmarco.COLLECTION, *quora.NAMES)
        queries = streams.find(folder, "queries.jsonl")
        pairs = (corpus,) if corpus and quora.is_pairs(corpus) else ()
        files = cls(
            corpus=(corpus,) if corpus else (),
            queries=(queries,) if queries else _named(folder, "queries.") or pairs,
            qrels=_named(folder / "qrels", "") or _named(folder, "qrels.") or pairs,
        )
        if files == cls():
            raise UsageError(
                f"{folder}: nothing to check in this folder; expected {_EXPECTED}, or files named "
                "with --corpus, --queries, --qrels, --run"
            )
        return files

    def or_else(self, other: Files) -> Files:
        """Return these files, and another's where a kind is missing here."""
        return Files(
            self.corpus or other.corpus,
            self.queries or other.queries,
            self.qrels or other.qrels,
            self.runs or other.runs,
        )

    def check(self) -> None:
        """Raise UsageError for a file that is not there, and where there is none at all."""
        named = [*self.corpus, *self.queries, *self.qrels, *self.runs]
        if not named:
            raise UsageError(
                f"nothing to check; give {_EXPECTED}, or files with --corpus, --queries, --qrels, "
                "--run"
            )
        for path in named:
            if not path.is_file():
                raise UsageError(f"{path}: no such file; check the spelling of the path")


def _named(folder: Path, beginning: str) -> tuple[Path, ...]:
    """The .tsv files of a folder whose names begin so, compressed or not."""
    if not folder.is_dir():
        return ()
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.name.startswith(beginning)
        and streams.bare_name(path.name).endswith(".tsv")
    )


def paths(values: Sequence[Path | str] | Path | str) -> tuple[Path, ...]:
    """Take one path or several."""
    if isinstance(values, Path | str):
        return (Path(values),)
    return tuple(Path(value) for value in values)
