"""Symmetric or asymmetric: whether queries and passages are texts of one kind, from figures.

Symmetric search looks for texts that say the same (question and question, paper and paper);
asymmetric search for a longer passage that answers something short (a question, a claim, keywords).
A model trained for the one is worse at the other, so which one it is decides what to try first.

Length and form decide, and whether the queries are themselves texts of the corpus; where these
disagree or cannot be measured, the answer is "unclear" and says what would settle it. Overlap of
words and nearness of embeddings are reported, not used: they depend on how hard the collection is.
The form of a text is read from its punctuation, capitals and length; questions without a question
mark are known in English only.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import statistics as stats
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError, UsageError
from shortlist.records import Passage, Qrels

FloatArray: TypeAlias = NDArray[np.float32]
Kind: TypeAlias = Literal["symmetric", "asymmetric", "unclear"]
Form: TypeAlias = Literal["question", "sentence", "title", "keywords", "paragraph"]

_PASSAGES, _QUERIES, _ENCODED = 1_000, 500, 200  # how many of each are looked at
_FEW = 10  # of fewer texts, a share is trusted only where it is nearly all of them
_MOST, _NEARLY_ALL = 2 / 3, 0.9
_ALIKE = 2.0  # one side at most this many times as long as the other: of one length
_LONGER = 3.0  # at least this many times as long: "several times longer"


@dataclass(frozen=True, slots=True)
class TaskKind:
    """What kind of task it is, and why.

    The `statistics`, each absent where it could not be measured:

    - ``queries``, ``passages``: how many were looked at (a sample, the same for the same seed);
    - ``query_words``, ``passage_words``, ``title_words``: medians (a passage's without its title);
      ``length_ratio``: the second divided by the first. Absent in scripts without blanks;
    - ``query_questions``, ``query_sentences``, ``query_titles``, ``query_keywords``,
      ``query_paragraphs`` and the same for ``passage_``: shares of the forms (`form_of`), which add
      up to 1; ``form_overlap``: how much of the two distributions is common, 0 to 1;
    - ``query_asks``, ``passage_asks``, ``title_asks``: shares with a question anywhere in them;
    - ``queries_in_corpus``, ``queries_as_titles``: shares of the queries that are, but for case and
      punctuation, the whole text of a passage, or the title of one that has a text besides;
    - ``judged_pairs``: queries with a relevant passage at hand; over these ``overlap_jaccard``
      (distinct words in both / in either) and ``overlap_containment`` (of the query's distinct
      words, those in the passage, title included), means;
    - ``cosine_relevant`` (query and its relevant passage), ``cosine_query_passage``,
      ``cosine_passage_passage``, ``cosine_query_query`` (each text and the nearest other one among
      as many): means, where there is something to encode with.
    """

    kind: Kind
    reasons: tuple[str, ...]  # sentences with the figures in them
    statistics: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        found = dict(self.statistics)
        return {"kind": self.kind, "reasons": list(self.reasons), "statistics": found}


def task_kind(
    passages: Sequence[Passage],
    queries: Mapping[str, str],
    qrels: Qrels | None = None,
    *,
    encode: Callable[[list[str]], FloatArray] | None = None,
    seed: int = 0,
) -> TaskKind:
    """Say whether a search for these queries among these passages is symmetric or asymmetric.

    At most 1,000 passages and 500 queries are looked at, drawn by their ids and the seed, whatever
    their order; queries that have judgements before those that have none. Only what asks for it is
    looked up in all passages: a query's own words, and relevant passages. Give all passages for
    that; with a part of the corpus, `queries_in_corpus` is too low. `encode` maps n texts to
    float32 [n, dim] of unit length.

    Raises `DataError` where there is no passage, and `UsageError` where `encode` returns another
    shape.
    """
    if not passages:
        raise DataError("there is no passage to look at; give the corpus, or a sample of it")
    drawn = _drawn_queries(queries, qrels, seed)
    sample = heapq.nsmallest(_PASSAGES, passages, key=lambda p: seeded_rank(p.id, seed))
    asked, bodies = list(drawn.values()), [_body(p) for p in sample]
    titles = [p.title for p in sample if p.title.strip() and p.text.strip()]
    pairs = _relevant_pairs(passages, drawn, qrels or {})
    found = _lengths(asked, bodies, titles) | _forms(asked, bodies, titles)
    found |= _presence(passages, drawn) | _overlap(pairs)
    if encode is not None:
        found |= _nearness(encode, drawn, sample, pairs)
    kind, reasons = _decided(found) if drawn else _decided_without_queries(found)
    return TaskKind(kind, (*reasons, *_supporting(found)), found)


def disagreement(kind: TaskKind, model_task: str) -> str | None:
    """Return a warning where a model made for `model_task` is used for data of another kind.

    None where the two agree, where the model is for "both", and where the data are unclear. Raises
    `UsageError` for a task other than symmetric, asymmetric and both.
    """
    if model_task not in ("symmetric", "asymmetric", "both"):
        raise UsageError(
            f"unknown task {model_task!r} of a model; expected symmetric, asymmetric or both"
        )
    if kind.kind == "unclear" or model_task in ("both", kind.kind):
        return None
    what = {
        "symmetric": "symmetric search (texts of one kind that say the same)",
        "asymmetric": "asymmetric search (something short, and the passage that answers it)",
    }
    return (
        f"the model was made for {what[model_task]}, but the data look like {what[kind.kind]}: "
        f"{kind.reasons[0]} Compare it with a model made for {kind.kind} search."
    )


def seeded_rank(text: str, seed: int) -> int:
    """Return a number below 2**64 that looks random but depends on nothing but text and seed.

    The texts with the smallest ones are a sample that is the same in whatever order texts come.
    """
    key = str(seed).encode()[:64]
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key)
    return int.from_bytes(digest.digest(), "big")


def words(text: str) -> list[str]:
    """Split at blanks; pieces without a letter or digit are no words, marks around one go."""
    pieces = text.split()
    stripped = (p if p.isalnum() else _AROUND_WORDS.sub("", p) for p in pieces)
    return [word for word in stripped if word]


def is_unspaced(text: str) -> bool:
    """Whether most letters are of a script that puts no blanks between words, as Chinese does."""
    unspaced = len(_UNSPACED.findall(text))
    return unspaced > 0 and 2 * unspaced > sum(character.isalpha() for character in text)


def form_of(text: str) -> Form:
    """Say what a text looks like.

    - ``paragraph``: more than two sentences, or more than 40 words;
    - ``question``: ends with a question mark, or begins as an English question does;
    - ``sentence``: three words or more that end with a full stop or exclamation mark;
    - ``title``: five words or more without a final stop, most of the long ones with a capital; or
      eight or more of which the first has one, for that is more than most would type to search;
    - ``keywords``: the rest.
    """
    found = words(text)
    if len(found) > 40 or len(_SENTENCE_END.findall(text)) > 2:
        return "paragraph"
    if _QUESTION_END.search(text):
        return "question"
    is_sentence = len(found) >= 3 and bool(_FINAL_STOP.search(text))
    if not is_sentence and _is_capitalised(found):
        return "title"
    if _begins_as_question(found, is_sentence=is_sentence):
        return "question"
    if is_sentence:
        return "sentence"
    return "title" if len(found) >= 8 and found[0][0].isupper() else "keywords"


_AROUND_WORDS = re.compile(r"^[\W_]+|[\W_]+$")
# Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese; Korean puts blanks
_UNSPACED = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)
_CLOSING = r"[\"'”’»)\]）」』]*"
# a stop behind a letter or two is that of an abbreviation more often than not
_SENTENCE_END = re.compile(rf"(?:(?<=\w\w\w)|(?<=\s))[.!?…।؟۔]+{_CLOSING}(?=\s|$)|[。！？｡]")
_FINAL_STOP = re.compile(rf"[.!?…।؟۔。！？｡]{_CLOSING}\s*$")
_QUESTION_END = re.compile(rf"[?？؟;\u037e]{_CLOSING}\s*$")  # Greek asks with a semicolon
_ASKS_ANYWHERE = re.compile(rf"[?؟\u037e]{_CLOSING}(?=\s|$)|？")
_WH_WORDS = "what which who whom whose why how where"
# These begin statements, too: "When he came ...", "Will Smith is ..."
_AUXILIARIES = """
    when is are was were am do does did can could should would will shall may might has have had
    isn't aren't don't doesn't didn't can't
"""
_ASK_ALWAYS, _ASK_UNSTOPPED = frozenset(_WH_WORDS.split()), frozenset(_AUXILIARIES.split())


def _begins_as_question(found: list[str], *, is_sentence: bool) -> bool:
    first = found[0].casefold().replace("’", "'").removesuffix("'s") if found else ""
    return first in _ASK_ALWAYS or (first in _ASK_UNSTOPPED and not is_sentence)


def _is_capitalised(found: list[str]) -> bool:
    long = [word for word in found if len(word) >= 4]
    return len(found) >= 5 and len(long) >= 2 and _share(w[0].isupper() for w in long) >= 0.6


def _asks(text: str) -> bool:
    return bool(_ASKS_ANYWHERE.search(text)) or form_of(text) == "question"


# figures


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values) if values else 0.0


def _body(passage: Passage) -> str:
    return passage.text if passage.text.strip() else passage.title


def _plain(text: str) -> str:
    """Without what does not make two texts differ: case, punctuation, width of blanks."""
    return " ".join(words(unicodedata.normalize("NFKC", text).casefold()))


def _drawn_queries(queries: Mapping[str, str], qrels: Qrels | None, seed: int) -> dict[str, str]:
    judged = queries.keys() & (qrels or {}).keys()
    ids = heapq.nsmallest(
        _QUERIES,
        (i for i in queries if queries[i].strip()),
        key=lambda i: (i not in judged, seeded_rank(i, seed)),
    )
    return {query_id: queries[query_id] for query_id in ids}


def _lengths(queries: list[str], bodies: list[str], titles: list[str]) -> dict[str, float]:
    found = {"queries": float(len(queries)), "passages": float(len(bodies))}
    sides = {"query_words": queries, "passage_words": bodies, "title_words": titles}
    for name, texts in sides.items():
        if texts and _share(map(is_unspaced, texts)) < 1 / 3:
            found[name] = float(stats.median(len(words(text)) for text in texts))
    if found.get("query_words") and found.get("passage_words"):
        found["length_ratio"] = found["passage_words"] / found["query_words"]
    return found


def _forms(queries: list[str], bodies: list[str], titles: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    plurals = ("questions", "sentences", "titles", "keywords", "paragraphs")
    for side, texts in (("query", queries), ("passage", bodies)):
        forms = [form_of(text) for text in texts]
        for form, plural in zip(get_args(Form), plurals, strict=True):
            if forms:
                found[f"{side}_{plural}"] = forms.count(form) / len(forms)
    for side, texts in (("query", queries), ("passage", bodies), ("title", titles)):
        if texts:
            found[f"{side}_asks"] = _share(map(_asks, texts))
    if queries:
        common = (min(found[f"query_{name}"], found[f"passage_{name}"]) for name in plurals)
        found["form_overlap"] = sum(common)
    return found


def _presence(passages: Sequence[Passage], drawn: Mapping[str, str]) -> dict[str, float]:
    """Look for each drawn query among all passages: as a text, as the title of one."""
    if not drawn:
        return {}
    plain = {query_id: _plain(text) for query_id, text in drawn.items()}
    wanted = set(plain.values()) - {""}
    # normalising a long text costs more than seeing that it cannot be one of the queries
    longest = 2 * max(map(len, drawn.values())) + 20
    as_text, as_title = set(), set()
    for passage in passages:
        body = _body(passage)
        if len(body) <= longest and (text := _plain(body)) in wanted:
            as_text.add(text)
        if body is passage.text and 0 < len(passage.title) <= longest:
            as_title.add(_plain(passage.title))
    return {
        "queries_in_corpus": _share(text in as_text for text in plain.values()),
        "queries_as_titles": _share(text in as_title for text in plain.values()),
    }


def _relevant_pairs(
    passages: Sequence[Passage], drawn: Mapping[str, str], qrels: Qrels
) -> list[tuple[str, Passage]]:
    """Pair each drawn query with its best judged passage that is at hand and not itself."""
    relevant = {
        query_id: {p: grade for p, grade in qrels.get(query_id, {}).items() if grade >= 1}
        for query_id in drawn
    }
    wanted = {p for grades in relevant.values() for p in grades}
    held = {p.id: p for p in passages if p.id in wanted}
    pairs = []
    for query_id, grades in relevant.items():
        known = [(-grade, p) for p, grade in grades.items() if p in held and p != query_id]
        if known:
            pairs.append((drawn[query_id], held[min(known)[1]]))
    return pairs


def _overlap(pairs: list[tuple[str, Passage]]) -> dict[str, float]:
    jaccard, containment = [], []
    for query, passage in pairs:
        ours, theirs = (set(_plain(t).split()) for t in (query, passage.model_text))
        if ours and not is_unspaced(query) and not is_unspaced(passage.model_text):
            jaccard.append(len(ours & theirs) / len(ours | theirs))
            containment.append(len(ours & theirs) / len(ours))
    found = {"judged_pairs": float(len(pairs))} if pairs else {}
    if jaccard:
        found["overlap_jaccard"] = stats.fmean(jaccard)
        found["overlap_containment"] = stats.fmean(containment)
    return found


def _nearness(
    encode: Callable[[list[str]], FloatArray],
    drawn: Mapping[str, str],
    sample: Sequence[Passage],
    pairs: Sequence[tuple[str, Passage]],
) -> dict[str, float]:
    """Mean cosines; every nearest one is sought among equally many, for more would be nearer."""
    asked, texts = list(drawn.values()), [p.model_text for p in sample]
    number = min(_ENCODED, len(texts), len(asked) or len(texts))
    asked, texts = asked[:number], texts[:number]
    embedded = [_encoded(encode, side) for side in (asked, texts) if side]
    found = {"cosine_passage_passage": _nearest(texts, embedded[-1], texts, embedded[-1])}
    if asked:
        found["cosine_query_passage"] = _nearest(asked, embedded[0], texts, embedded[1])
        found["cosine_query_query"] = _nearest(asked, embedded[0], asked, embedded[0])
    if judged := pairs[:_ENCODED]:
        ours = _encoded(encode, [query for query, _ in judged])
        theirs = _encoded(encode, [passage.model_text for _, passage in judged])
        found["cosine_relevant"] = float((ours * theirs).sum(axis=1).mean())
    return {name: value for name, value in found.items() if value is not None}


def _encoded(encode: Callable[[list[str]], FloatArray], texts: list[str]) -> FloatArray:
    embeddings = np.asarray(encode(texts), dtype=np.float32)
    if embeddings.ndim != 2 or len(embeddings) != len(texts):
        raise UsageError(
            f"encode must return one embedding a text, [{len(texts)}, dim]; it returned the shape "
            f"{embeddings.shape}"
        )
    return embeddings


def _nearest(
    texts: list[str], embeddings: FloatArray, others: list[str], other_embeddings: FloatArray
) -> float | None:
    """Mean cosine to the nearest text that is not the same; None where there is no other."""
    cosines = embeddings @ other_embeddings.T
    numbers: dict[str, int] = {}
    ours, theirs = (
        np.array([numbers.setdefault(_plain(text), len(numbers)) for text in side])
        for side in (texts, others)
    )
    cosines[ours[:, None] == theirs[None, :]] = -np.inf
    best = cosines.max(axis=1)
    return float(best[np.isfinite(best)].mean()) if np.isfinite(best).any() else None


# decision


def _is_most(found: Mapping[str, float], *names: str, side: str = "query") -> bool:
    number = found["queries" if side == "query" else "passages"]
    return sum(found[name] for name in names) >= (_NEARLY_ALL if number < _FEW else _MOST)


def _decided(found: Mapping[str, float]) -> tuple[Kind, list[str]]:
    rules = (_by_presence, _unless_countable, _by_titles, _by_likeness, _by_answering)
    for rule in rules:
        if decided := rule(found):
            return decided
    return "unclear", [
        f"{_lengths_said(found)} {_forms_said(found)}",
        "For symmetric search queries and passages would be of one length and form, for asymmetric "
        "search queries would be questions, claims or keywords and passages at least "
        f"{_LONGER:g} times as long: these figures are neither.",
        _SETTLE,
    ]


_SETTLE = (
    "Judged queries would settle it: compare models of both kinds on a few dozen queries with the "
    "passages that you would want for them."
)


def _by_presence(found: Mapping[str, float]) -> tuple[Kind, list[str]] | None:
    """Queries that are texts of the corpus: symmetric, unless the other texts are much longer."""
    needed = _NEARLY_ALL if found["queries"] < _FEW else 0.5
    if found["queries_in_corpus"] < needed:
        return None
    said = (
        f"{_percent(found['queries_in_corpus'])} of the queries stand in the corpus word for word, "
        "as the whole text of a passage"
    )
    if found.get("length_ratio", 1.0) < _LONGER:
        reasons = [f"{said}: text is compared with text of the same kind."]
        return "symmetric", [*reasons, *_known_lengths(found), _forms_said(found)]
    return "unclear", [
        f"{said}, which speaks for symmetric search.",
        f"{_lengths_said(found)} That speaks for asymmetric search.",
        "Judgements would settle it: whether the passages wanted are the short ones or the long.",
    ]


def _unless_countable(found: Mapping[str, float]) -> tuple[Kind, list[str]] | None:
    if "length_ratio" in found:
        return None
    return "unclear", [
        "Words cannot be counted: most queries or passages are in a script without blanks between "
        "words (or have no words at all), so that lengths and forms say nothing.",
        f"{_forms_said(found)} Where queries are questions and passages answer them, the search is "
        "asymmetric; where both are texts of one kind, symmetric.",
        _SETTLE,
    ]


def _by_titles(found: Mapping[str, float]) -> tuple[Kind, list[str]] | None:
    """Titles as queries: a title may be what is searched for, or stand for its whole document."""
    are_titles = found["queries_as_titles"] >= 0.5
    look_so = found["query_titles"] >= 1 / 3 and found["length_ratio"] > _ALIKE
    ask_alike = found["query_asks"] >= 0.5 and found.get("title_asks", 0.0) >= 0.5
    if are_titles:
        said = f"{_percent(found['queries_as_titles'])} of the queries are titles of the corpus."
    elif look_so:
        said = (
            f"{_percent(found['query_titles'])} of the queries look like titles: no final stop, "
            "with capitals or longer than what is typed to search."
        )
    elif ask_alike:
        return "unclear", [
            f"{_percent(found['query_asks'])} of the queries and {_percent(found['title_asks'])} "
            "of the titles are questions, and below the titles stand longer texts.",
            "To find the same question in the titles is symmetric search; to find the text that "
            "answers is asymmetric.",
            _SETTLE,
        ]
    else:
        return None
    return "unclear", [
        f"{said} {_lengths_said(found)}",
        "Where a title stands for its document and similar documents are wanted (paper and paper), "
        "the search is symmetric; where the title is something short to look a longer text up by, "
        "it is asymmetric.",
        "To settle it, give queries as they will really be: whole documents, title and text, for "
        "the first; questions or keywords for the second. Judgements would say it too.",
    ]


def _by_likeness(found: Mapping[str, float]) -> tuple[Kind, list[str]] | None:
    """One length and one form: symmetric."""
    is_long_as = 1 / _ALIKE <= found["length_ratio"] <= _ALIKE
    asks_as = abs(found["query_asks"] - found["passage_asks"]) <= 0.5
    if is_long_as and asks_as and _is_most(found, "form_overlap"):
        return "symmetric", [_lengths_said(found), _forms_said(found)]
    return None


def _by_answering(found: Mapping[str, float]) -> tuple[Kind, list[str]] | None:
    """Questions among what are none, or anything short among what is several times longer."""
    asks = _is_most(found, "query_questions") and found["passage_questions"] <= 1 / 3
    short = _is_most(found, "query_questions", "query_sentences", "query_keywords")
    ratio = found["length_ratio"]
    if (asks and ratio >= 1.5) or (short and ratio >= _LONGER):
        return "asymmetric", [_lengths_said(found), _forms_said(found)]
    return None


def _decided_without_queries(found: Mapping[str, float]) -> tuple[Kind, list[str]]:
    if _is_most(found, "passage_questions", side="passage"):
        return "symmetric", [
            f"{_percent(found['passage_questions'])} of the passages are questions: what is "
            "searched for among them is usually another question."
        ]
    length = f"{found['passage_words']:g} words (median)" if "passage_words" in found else ""
    said = "There are no queries, and passages alone do not tell what they are searched with."
    if found["passage_paragraphs"] >= 0.5:
        reading = (
            f"Paragraphs of {length} " if length else "Paragraphs "
        ) + "are usually searched with short questions, which is asymmetric; "
        other = "to find texts like a given one is symmetric."
    else:
        reading = f"Short texts{f' of {length}' if length else ''} may be compared with each other"
        other = ", which is symmetric, or be looked for with questions, which is asymmetric."
    return "unclear", [said, reading + other, "A few typical queries would settle it: give some."]


# words for it


def _supporting(found: Mapping[str, float]) -> Iterator[str]:
    """Sentences about what was measured but did not decide, and about how much was measured."""
    if "overlap_containment" in found:
        yield (
            f"A relevant passage has {_percent(found['overlap_containment'])} of its query's "
            f"words ({found['judged_pairs']:g} judged queries)."
        )
    if {"cosine_query_passage", "cosine_passage_passage", "cosine_query_query"} <= found.keys():
        yield (
            f"To the model, a query's nearest passage is at a cosine of "
            f"{found['cosine_query_passage']:.2f} in a sample, its nearest other query at "
            f"{found['cosine_query_query']:.2f}, and a passage's nearest other passage at "
            f"{found['cosine_passage_passage']:.2f}."
        )
    for name in ("queries", "passages"):
        if 0 < found[name] < _FEW:
            yield f"That was judged from {found[name]:g} {name} only; more would make it surer."


def _known_lengths(found: Mapping[str, float]) -> list[str]:
    return [_lengths_said(found)] if "length_ratio" in found else []


def _lengths_said(found: Mapping[str, float]) -> str:
    ours, theirs, ratio = (found[f"{n}"] for n in ("query_words", "passage_words", "length_ratio"))
    figures = f"{ours:g} and {theirs:g} words (medians)"
    if 1 / _ALIKE <= ratio <= _ALIKE:
        return f"Queries and passages are of similar length: {figures}."
    if ratio > 1:
        return f"Passages are {ratio:.1f} times as long as queries: {figures}."
    return f"Queries are {1 / ratio:.1f} times as long as passages: {figures}."


def _forms_said(found: Mapping[str, float]) -> str:
    names = {
        "questions": "questions",
        "sentences": "single sentences",
        "titles": "title-like",
        "keywords": "keywords or phrases",
        "paragraphs": "longer texts",
    }

    def said(side: str) -> str:
        shares = sorted(((found[f"{side}_{name}"], name) for name in names), reverse=True)
        told = [f"{_percent(s)} {names[n]}" for s, n in shares[:2] if s >= 0.1]
        return " and ".join(told)

    return f"By their form, the queries are {said('query')}; the passages {said('passage')}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
