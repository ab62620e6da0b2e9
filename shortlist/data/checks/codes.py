"""Every finding that `check` can make: its subject and code, its level, what it says and advises.

Levels: ``error``, results would be wrong or a file cannot be read; ``warning``, results may
mislead; ``note``, worth knowing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")

_UNREADABLE = "lines that cannot be read were left out; mend or remove them"
_STOPPED = "the file cannot be read to its end, and the checks that need its rest were left out"
_EMPTY = "the file holds nothing; was it written and downloaded completely?"
_BLANK = "ids with a blank in them cannot stand in a TREC run; rename them"
_TIE = (
    "the scores of ranks {k} and {k} + 1 are equal as float32, so what counts depends on a tie "
    "rule; break ties before writing the run"
)

SENTENCES: Mapping[tuple[str, str], tuple[Level, str]] = {
    ("corpus", "unreadable-file"): ("error", _STOPPED),
    ("corpus", "unreadable-line"): ("error", _UNREADABLE),
    ("corpus", "empty-file"): ("error", _EMPTY),
    ("corpus", "duplicate-id"): ("error", "ids that stand already further up; rename or drop one"),
    ("corpus", "empty-passage"): ("warning", "passages without text and title are not indexed"),
    ("corpus", "made-ids"): ("note", "passages without an id get one made from their content"),
    ("corpus", "id-with-blank"): ("warning", _BLANK),
    ("corpus", "duplicate-text"): (
        "warning",
        "passages that equal an earlier one but for case and blanks: a judgement of one copy "
        "counts the others as wrong; keep one",
    ),
    ("queries", "unreadable-file"): ("error", _STOPPED),
    ("queries", "unreadable-line"): ("error", _UNREADABLE),
    ("queries", "empty-file"): ("error", _EMPTY),
    ("queries", "duplicate-id"): ("error", "ids that stand already further up; keep one line"),
    ("queries", "empty-query"): ("error", "queries without id or text; fill or remove them"),
    ("queries", "id-with-blank"): ("warning", _BLANK),
    ("queries", "duplicate-text"): (
        "warning",
        "queries that equal an earlier one but for case and blanks count twice in every mean; "
        "join their judgements",
    ),
    ("queries", "query-without-judgement"): ("note", "queries that no judgement names"),
    ("qrels", "unreadable-file"): ("error", _STOPPED),
    ("qrels", "unreadable-line"): ("error", _UNREADABLE),
    ("qrels", "empty-file"): ("error", _EMPTY),
    ("qrels", "conflicting-grades"): ("error", "pairs with two different grades; keep one line"),
    ("qrels", "repeated-line"): ("note", "lines that repeat an earlier one"),
    ("qrels", "negative-grade"): (
        "warning",
        "negative grades count as not relevant here, but some tools take them as gains; write 0",
    ),
    ("qrels", "no-relevant-passage"): (
        "warning",
        "judged queries without a relevant passage score 0 whatever is found; remove them",
    ),
    ("qrels", "dangling-query"): (
        "error",
        "judged queries that are not among the queries; add their texts or drop the judgements",
    ),
    ("qrels", "dangling-passage"): (
        "error",
        "judged passages that are not in the corpus can never be found; use the corpus that the "
        "judgements are of",
    ),
    ("qrels", "id-type"): (
        "error",
        "judged ids that would be there if they were written alike; write ids as strings, the "
        "same in all files",
    ),
    ("qrels", "self-hit"): (
        "note",  # that is how symmetric collections are
        "queries that stand in the corpus themselves, with the same id and text, are the best hit "
        "for themselves; measure with --exclude-self",
    ),
    ("qrels", "self-judged"): (
        "warning",
        "queries judged relevant to the passage of their own id; drop these judgements",
    ),
    ("qrels", "title-leak"): (
        "warning",
        "queries that stand in the title of a passage judged relevant; index the texts without "
        "titles, or the title gives the answer away",
    ),
    ("splits", "same-query-in-two-splits"): ("warning", "query ids judged in both splits"),
    ("splits", "near-duplicate-query"): (
        "warning",
        "queries of the first split that nearly repeat one of the second; drop them from training",
    ),
    ("splits", "shared-positive"): (
        "warning",
        "passages relevant in both splits; drop them from training",
    ),
    ("splits", "near-duplicate-positive"): (
        "warning",
        "relevant passages of the first split that nearly repeat one of the second; drop them "
        "from training",
    ),
    ("held-out", "unreadable-line"): ("error", _UNREADABLE),
    ("held-out", "unreadable-file"): ("error", _STOPPED),
    ("held-out", "empty-file"): ("error", _EMPTY),
    ("held-out", "near-duplicate-passage"): (
        "warning",
        "passages of this corpus that nearly repeat one that dev or test of the held-out folder "
        "judges relevant; drop them from training",
    ),
    ("run", "unreadable-file"): ("error", _STOPPED),
    ("run", "unreadable-line"): ("error", _UNREADABLE),
    ("run", "empty-file"): ("error", _EMPTY),
    ("run", "repeated-passage"): ("error", "passages that come twice for a query; keep the better"),
    ("run", "score-not-finite"): ("error", "scores that are NaN or infinite have no rank"),
    ("run", "dangling-query"): (
        "warning",
        "queries of the run that are not among the queries; is this the run of other queries?",
    ),
    ("run", "dangling-passage"): (
        "error",
        "passages of the run that are not in the corpus; is this the run of another corpus?",
    ),
    ("run", "missing-query"): (
        "warning",
        "judged queries that the run lacks count 0 in the means; search with all of them",
    ),
    ("run", "tie-at-10"): ("warning", _TIE.format(k=10)),
    ("run", "tie-at-100"): ("warning", _TIE.format(k=100)),
    ("run", "rank-contradicts-score"): (
        "note",
        "queries whose rank column tells another order than the scores; the scores decide",
    ),
    ("run", "self-hit"): (
        "warning",
        "queries that found themselves; search or measure with --exclude-self",
    ),
    ("run", "self-hit-judged"): (
        "error",
        "queries that found themselves, and are judged relevant to themselves: every system that "
        "does not exclude them is rewarded for it; drop these judgements",
    ),
    ("run", "id-type"): (
        "error",
        "ids of the run that would be there if they were written alike; write ids as strings, the "
        "same in all files",
    ),
}
