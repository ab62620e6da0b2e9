"""A collection on its way into an index: how it is read, and what is said about what was read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shortlist.data.collections import Collection, Cutting, load
from shortlist.data.columns import Columns
from shortlist.data.language import LanguageSample
from shortlist.data.ledger import EVERYTHING
from shortlist.errors import UsageError
from shortlist.models.registered import languages_of
from shortlist.pipeline.layout import Manifest
from shortlist.records import Passage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """What the user asked for; an index remembers it, so that `sync` reads in the same way."""

    id_field: str | None = None
    title_field: str | None = None
    text_field: str | None = None
    passage_tokens: int | None = None
    overlap: int = 0
    cut_records: bool | None = None

    @property
    def columns(self) -> Columns:
        """The columns of a table."""
        return Columns(self.id_field, self.title_field, self.text_field)


def recorded_options(manifest: Manifest) -> ReadingOptions:
    """How the collection was read that an index was made from."""
    return ReadingOptions(**manifest.source.get("options", {}))


class Reading:
    """A collection on its way into an index, and what was seen on the way.

    Args:
        source: what `shortlist.data.collections.load` reads.
        model: counts the tokens of a passage.
        options: what the user asked for.
        say: told what the user should hear.
        are_recorded: the options are those of an index, for whatever is added to it: used where
            they fit.

    Raises:
        UsageError: passages longer than the model reads were asked for.
        DataError: see `shortlist.data.collections.load`.
    """

    def __init__(
        self,
        source: str,
        model: Any,
        options: ReadingOptions,
        say: Callable[[str], object],
        *,
        are_recorded: bool = False,
    ) -> None:
        limit = model.max_tokens if options.passage_tokens is None else options.passage_tokens
        if not 8 <= limit <= model.max_tokens:
            raise UsageError(
                f"--passage-tokens {limit}: expected 8 to {model.max_tokens}, which is what "
                f"{model.name} reads"
            )
        if not 0 <= options.overlap <= limit // 4:
            raise UsageError(
                f"--overlap {options.overlap}: expected 0 to {limit // 4}, a quarter of the "
                f"{limit} tokens of a passage"
            )
        self._source = source
        self.options = options
        self.say = say
        self._languages = LanguageSample(
            languages_of(model.name), lambda warning: say(f"warning: {warning}")
        )
        cutting = Cutting(model.count_tokens, limit, options.overlap, options.cut_records)
        self.collection: Collection = load(
            source, cutting, options.columns, must_have_columns=not are_recorded
        )
        asked = options.overlap or options.passage_tokens is not None
        if asked and not are_recorded and not self.collection.is_cut:
            raise UsageError(
                f"the rows of a {self.collection.kind} stay whole; to cut those that are too long "
                "into passages, add --cut-records"
            )

    @property
    def absolute_source(self) -> str:
        """The source as a process in another folder finds it."""
        return self._source if "://" in self._source else str(Path(self._source).resolve())

    def passages(self) -> Iterator[Passage]:
        """Stream the passages; what language they are in is looked at in passing."""
        return self._languages.watch(self.collection.passages)

    def described(self) -> dict[str, Any]:
        """What an index remembers of where its passages came from."""
        ledger = self.collection.ledger
        return {
            "name": Path(self._source).name,
            "kind": self.collection.kind,
            "passages": ledger.kept,
            "documents": ledger.documents,
            "dropped": dict(ledger.dropped),
            "noted": dict(ledger.noted),
            "warnings": ledger.warnings,
            "languages": dict(self._languages.counts().most_common(5)),
            "options": asdict(self.options),
        }

    def is_unreadable(self, document: str) -> bool:
        """Whether a document is there, or may be, and could not be read."""
        return any(
            name in (document, EVERYTHING) or (name.endswith("/") and document.startswith(name))
            for name in self.collection.ledger.unreadable
        )

    def report(self) -> None:
        """Say what was kept and dropped."""
        for warning in self.collection.ledger.warnings:
            self.say(f"warning: {warning}")
        self.say(f"{self.collection.kind}: {self.collection.ledger.summary()}")


def read_passages(
    source: str | Path,
    bi_encoder: Any,
    options: ReadingOptions | None = None,
    *,
    say: Callable[[str], object] = logger.info,
) -> Iterator[Passage]:
    """Stream the passages of a collection, as `shortlist index` reads it.

    ::

        model = BiEncoder.load("all-MiniLM-L6-v2")
        passages = read_passages("enwiki.xml.bz2", model)
        RetrieveRerankPipeline.build(passages, "wiki.idx", bi_encoder=model)

    Args:
        source: a MediaWiki dump, a table, a BEIR or MS MARCO folder, a folder of texts, or
            ``hf://NAMESPACE/NAME``; see docs/collections.md.
        bi_encoder: the model that is to read the passages: dumps and texts are cut so that none is
            longer than it reads.
        options: columns of a table, lengths of passages.
        say: told at the end what was kept and dropped, and warnings.

    Raises:
        DataError: it is no collection, or something is wrong in it.
        UsageError: passages longer than the model reads were asked for.
        MissingExtraError: such a collection needs an extra.
    """
    reading = Reading(str(source), bi_encoder, options or ReadingOptions(), say)

    def stream() -> Iterator[Passage]:
        yield from reading.passages()
        reading.report()

    return stream()
