"""Where in a passage the answer stands: its best sentence, by the cross-encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from shortlist.data.sentences import sentence_spans
from shortlist.models.cross_encoder import Scorer
from shortlist.records import Hit

Span: TypeAlias = tuple[int, int]
"""First and last character (exclusive) of a part of a text."""

MOST_SENTENCES = 16  # of one passage that are looked at


def highlights(scorer: Scorer, query: str, hits: Sequence[Hit]) -> list[Span | None]:
    """The sentence of each hit that answers best; None where the text is empty.

    Sentences are read behind the passage's title, which says what they are about. Of a long passage
    those of the window that scored best are compared, the first 16 of them.
    """
    spans = [list(islice(_sentences(hit), MOST_SENTENCES)) for hit in hits]
    pairs = [
        (query, f"{hit.title} {hit.text[start:end]}".strip())
        for hit, own in zip(hits, spans, strict=True)
        if len(own) > 1
        for start, end in own
    ]
    logits: Iterator[float] = iter(scorer.score(pairs) if pairs else [])
    best: list[Span | None] = []
    for own in spans:
        if len(own) > 1:
            scores = list(islice(logits, len(own)))
            best.append(own[scores.index(max(scores))])
        else:
            best.append(own[0] if own else None)
    return best


def _sentences(hit: Hit) -> list[Span]:
    first, last = hit.window or (0, len(hit.text))
    return [(first + start, first + end) for start, end in sentence_spans(hit.text[first:last])]
