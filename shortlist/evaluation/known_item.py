"""Known-item queries: judged queries for a corpus that has none, made from its own texts.

Each looks for one passage that is known, because the query was cut out of it: its title, or a
sentence of it (the inverse cloze task of Lee, Chang and Toutanova, "Latent retrieval for weakly
supervised open domain question answering", ACL 2019). What was cut out must not be indexed, or it
is found by itself: `KnownItems.changed` holds the passages as they are then.

Such queries are written in the corpus's own words by its own authors, and nothing but their one
passage counts, however well another answers. They are easier and more lexical than users'
questions: good for telling systems apart, not for how good a system is. Azzopardi, de Rijke and
Balog, "Building simulated queries for known-item topics", SIGIR 2007, discuss how far they carry.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.rewrites import keywords
from shortlist.evaluation.task_kind import is_unspaced, seeded_rank, words
from shortlist.records import Passage, Qrels

SentenceSpans: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]
"""text -> (start, end) of each sentence, such as `shortlist.data.sentences.sentence_spans`."""

_CANDIDATES = 10  # held for each query wanted: most titles are not unique, some sentences recur
_MIN_CANDIDATES = 1_000
_TITLE_WORDS, _SENTENCES = 3, 3  # a title, and a passage that a sentence is taken from, at least
_SENTENCE_WORDS = range(6, 31)
_FIT_SHARE = 0.1  # of the passages; where fewer have such a sentence, they are not typical
_KEYWORDS_EACH = 3  # every third sentence becomes keywords
# A sentence that begins so speaks of what the one before named
_POINTS_BACK = """
    it its he she they his her hers their theirs this that these those such here there then thus
    however therefore moreover furthermore both another others also but and or so some
"""
_ANAPHORA = frozenset(_POINTS_BACK.split())


@dataclass(frozen=True, slots=True)
class KnownItems:
    """Queries, each with the one passage that it was cut out of.

    Easier and more lexical than users' questions: for telling systems apart, not for absolute
    figures.
    """

    queries: Mapping[str, str]  # query id -> text
    qrels: Qrels  # query id -> the id of its passage -> 1
    changed: Mapping[str, Passage]  # passage id -> what must be indexed in its place
    method: Mapping[str, int]  # "title", "sentence", "keywords" (of a sentence) -> queries

    def as_json(self) -> dict[str, Any]:
        """Return the queries, their judgements, and how many were made in each way."""
        return {
            "queries": dict(self.queries),
            "qrels": {query_id: dict(grades) for query_id, grades in self.qrels.items()},
            "method": dict(self.method),
        }


def known_items(
    passages: Iterable[Passage],
    number: int = 100,
    *,
    sentences: SentenceSpans,
    seed: int = 0,
) -> KnownItems:
    """Make up to `number` queries from passages drawn once; index `changed` instead of its like.

    Half of the queries are titles, of three words or more, that only their passage has (but for
    case and figures: "Review 12" is not unlike "Review 13") and that do not stand in its text.
    Half are sentences of 6 to 30 words, every third as keywords, from passages of three sentences
    or more whose text comes once. The first sentence of a passage stays in it, for it names the
    subject, and so does the last, for pieces that were cut with an overlap share those; one that
    points back ("It was ...") is passed over. None is taken where less than a tenth of the passages
    have one, as in a corpus of single questions: those would not stand for the rest. In scripts
    without blanks two characters count as a word. Where there are too few of one kind, there are
    more of the other; where there are too few of both, there are fewer queries.

    What is drawn depends on the passages and the seed, never on their order. Memory is bounded, by
    some thousand passages or twenty for each query, however many there are.

    Raises `UsageError` for a number below 1, and `DataError` where not one query can be made.
    """
    if number < 1:
        raise UsageError(f"the number of known-item queries must be at least 1, got {number}")
    most = max(_MIN_CANDIDATES, _CANDIDATES * number)
    by_title, by_text = _Distinct(most, seed), _Distinct(most, seed)
    seen = 0
    for passage in passages:
        seen += 1
        if title := _title_key(passage):
            by_title.offer(title, passage)
        by_text.offer(passage.text, passage)
    titles = [made for p in by_title.unique() if (made := _without_title(p))]
    cloze = list(_without_sentence(list(by_text.unique()), sentences, seed))
    chosen = _chosen(titles, cloze, number)
    if not chosen:
        raise DataError(
            f"no known-item query can be made from {seen} passages: there is no title of three "
            "words or more that only one passage has, and less than a tenth of the passages have "
            "three sentences, one of which could be taken out. From single questions or sentences "
            "nothing can be made honestly; give queries and judgements"
        )
    return _numbered(chosen)


@dataclass(frozen=True, slots=True)
class _Made:
    method: str
    query: str
    changed: Passage


class _Distinct:
    """Passages of the keys that rank lowest by the seed, and which of these keys came once.

    A key below the final threshold was below every earlier one, so it has been held since it first
    came, and that it came again was noticed: exact, in one pass and bounded memory.
    """

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.seed = most, seed
        self.held: dict[int, Passage | None] = {}  # rank of the key -> None where it came again
        self.ranks: list[int] = []  # negated: the highest is let go of first

    def offer(self, key: str, passage: Passage) -> None:
        """Take the passage in where its key ranks low enough."""
        rank = seeded_rank(key, self.seed)
        if rank in self.held:
            self.held[rank] = None
        elif len(self.ranks) < self.most:
            self.held[rank] = passage
            heapq.heappush(self.ranks, -rank)
        elif rank < -self.ranks[0]:
            self.held[rank] = passage
            del self.held[-heapq.heapreplace(self.ranks, -rank)]

    def unique(self) -> Iterator[Passage]:
        """Yield the passages whose key came once, lowest rank first."""
        for rank in sorted(self.held):
            if passage := self.held[rank]:
                yield passage


def _title_key(passage: Passage) -> str:
    """Title in lower case, its figures all alike; "" where it is too short to be a query."""
    if _length(passage.title) < _TITLE_WORDS or not passage.text.strip():
        return ""
    plain = " ".join(words(passage.title.casefold()))
    return "".join("0" if character.isdigit() else character for character in plain)


def _length(text: str) -> int:
    if is_unspaced(text):
        return sum(character.isalnum() for character in text) // 2
    return len(words(text))


def _without_title(passage: Passage) -> _Made | None:
    query, changed = " ".join(passage.title.split()), replace(passage, title="")
    return None if _stands_in(query, changed) else _Made("title", query, changed)


def _stands_in(query: str, passage: Passage) -> bool:
    text = " ".join(passage.model_text.split()).casefold()
    return " ".join(query.split()).casefold() in text


def _middle(text: str, sentences: SentenceSpans) -> list[tuple[int, int]]:
    """Spans that could be a query: neither first nor last, of a good length, not pointing back."""
    spans = list(sentences(text))
    return [span for span in spans[1:-1] if _is_askable(text[slice(*span)])]


def _is_askable(sentence: str) -> bool:
    if _length(sentence) not in _SENTENCE_WORDS:
        return False
    letters = sum(character.isalpha() for character in sentence)
    if 2 * letters < len(sentence):  # figures of a table, a formula
        return False
    return words(sentence)[0].casefold() not in _ANAPHORA


def _without_sentence(
    passages: list[Passage], sentences: SentenceSpans, seed: int
) -> Iterator[_Made]:
    """Take a sentence out of each passage; not one that several of the passages have."""
    spans = [_middle(passage.text, sentences) for passage in passages]
    if sum(map(bool, spans)) < _FIT_SHARE * len(passages):
        return
    recurring = Counter(
        passage.text[start:end]
        for passage, found in zip(passages, spans, strict=True)
        for start, end in found
    )
    made = 0
    for passage, found in zip(passages, spans, strict=True):
        own = [(a, b) for a, b in found if recurring[passage.text[a:b]] == 1]
        if not own:
            continue
        start, end = own[seeded_rank(f"sentence of {passage.id}", seed) % len(own)]
        text = passage.text[:start] + passage.text[end:].lstrip()
        query, changed = " ".join(passage.text[start:end].split()), replace(passage, text=text)
        if _stands_in(query, changed):
            continue
        made += 1
        brief = keywords(query, np.random.default_rng(seed)) if made % _KEYWORDS_EACH == 0 else None
        if brief and len(words(brief)) >= 3 and not _stands_in(brief, changed):
            yield _Made("keywords", brief, changed)
        else:
            yield _Made("sentence", query, changed)


def _chosen(titles: list[_Made], cloze: list[_Made], number: int) -> list[_Made]:
    """Half of each where there are enough, of different passages."""
    half = min(len(titles), max(number // 2, number - len(cloze)))
    chosen = {made.changed.id: made for made in titles[:half]}
    for made in [*cloze, *titles[half:]]:
        if len(chosen) == number:
            break
        chosen.setdefault(made.changed.id, made)
    return list(chosen.values())


def _numbered(chosen: list[_Made]) -> KnownItems:
    named = {f"known-item-{n}": made for n, made in enumerate(chosen, 1)}
    counts = Counter(made.method for made in chosen)
    return KnownItems(
        queries={query_id: made.query for query_id, made in named.items()},
        qrels={query_id: {made.changed.id: 1} for query_id, made in named.items()},
        changed={made.changed.id: made.changed for made in chosen},
        method={name: counts[name] for name in ("title", "sentence", "keywords")},
    )
