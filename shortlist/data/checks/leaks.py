"""Questions that give their answer away: those that stand in the corpus, or in a title."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.data.checks.qrels import Split
from shortlist.data.checks.queries import Queries
from shortlist.data.checks.report import Example, Findings, folded, shown
from shortlist.data.columns import PlacedPassage
from shortlist.data.near_duplicates import words

_LEAST_WORDS = 3  # of a query that is looked for in titles


class SelfHits:
    """Which queries have the id of a passage; shown every passage of the corpus."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._texts = {query_id: folded(text) for query_id, text in queries.texts.items()}
        self.same: dict[str, str] = {}  # query id -> place of the passage with its id and text
        self.other: dict[str, str] = {}  # ... with its id and another text

    def __call__(self, placed: PlacedPassage) -> None:
        """Look at one passage."""
        passage = placed.passage
        text = self._texts.get(passage.id)
        if text is None or placed.id_is_made:
            return
        equal = text in (folded(passage.text), folded(passage.model_text), folded(passage.title))
        (self.same if equal else self.other)[passage.id] = placed.place

    def enter(self, splits: Sequence[Split], findings: Findings, *, known: bool) -> None:
        """Enter queries in the corpus and queries judged by themselves.

        Where texts are not `known`, the ids alone decide.
        """
        for query_id, place in self.same.items():
            where = self._queries.places[query_id][0]
            places = (self._queries.place(query_id), place)
            text = shown(self._queries.texts[query_id])
            findings.add("qrels", "self-hit", where, Example(places, (query_id,), (text,)))
        for split in splits:
            for query_id in (q for q, p in split.relevant() if p == q):
                self._enter_judged(split, query_id, findings, known=known)

    def _enter_judged(
        self, split: Split, query_id: str, findings: Findings, *, known: bool
    ) -> None:
        example = Example((split.place(query_id, query_id),), (query_id,))
        if query_id in self.same or not known:
            findings.add("qrels", "self-judged", split.path, example)
        elif query_id in self.other:
            message = (
                "queries judged relevant to a passage that has their id by chance and another "
                "text; do not use --exclude-self, which would drop it"
            )
            findings.add("qrels", "self-judged", split.path, example, level="note", message=message)


class TitleLeak:
    """Which queries stand in the title of a passage judged relevant; shown every passage."""

    def __init__(self, queries: Queries, splits: Sequence[Split]) -> None:
        self._queries = queries
        self._queries_of: dict[str, list[str]] = {}
        self._judged: set[str] = set()
        self._found: dict[str, Example] = {}
        for split in splits:
            for query_id, passage_id in split.relevant():
                self._judged.add(query_id)
                if len(words(queries.texts.get(query_id, ""))) >= _LEAST_WORDS:
                    self._queries_of.setdefault(passage_id, []).append(query_id)

    def __call__(self, placed: PlacedPassage) -> None:
        """Look at one passage."""
        passage = placed.passage
        if not passage.title or placed.id_is_made:
            return
        for query_id in self._queries_of.get(passage.id, ()):
            text = self._queries.texts[query_id]
            if f" {' '.join(words(text))} " in f" {' '.join(words(passage.title))} ":
                self._found.setdefault(
                    query_id,
                    Example(
                        (self._queries.place(query_id), placed.place),
                        (query_id, passage.id),
                        (shown(text), shown(passage.title)),
                    ),
                )

    def enter(self, findings: Findings) -> None:
        """Enter what was found, with its share of the judged queries."""
        share = f"{len(self._found) / max(1, len(self._judged)):.1%}"
        message = (
            f"queries, {share} of those that have a relevant passage, stand in the title of one; "
            "index the texts without titles, or the title gives the answer away"
        )
        for query_id, example in self._found.items():
            where = self._queries.places[query_id][0]
            findings.add("qrels", "title-leak", where, example, message=message)
