"""Task kinds: right on collections whose kind is known, unclear where two readings stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import DataError, UsageError
from shortlist.evaluation.task_kind import TaskKind, disagreement, form_of, is_unspaced, task_kind
from shortlist.records import Passage, Qrels

Judged = tuple[list[Passage], dict[str, str], Qrels | None]


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def collection(folder: Path) -> Judged:
    """Passages, and the queries judged in dev or train; where there is only a test split, all."""
    passages = list(load(folder, Cutting(count_words, 256)).passages)
    queries = read_queries(folder / "queries.jsonl")
    for split in ("dev", "train"):
        if (file := folder / "qrels" / f"{split}.tsv").is_file():
            qrels = read_qrels(file)
            return passages, {query_id: queries[query_id] for query_id in qrels}, qrels
    return passages, queries, None


def passages_of(*texts: str, title: str = "") -> list[Passage]:
    return [Passage(f"p{i}", text, title) for i, text in enumerate(texts)]


def queries_of(*texts: str) -> dict[str, str]:
    return {f"q{i}": text for i, text in enumerate(texts)}


LONG = (
    "The canal was opened in 1827 and carried coal to the mills until the railway came. Its locks "
    "were rebuilt twice. Barges were drawn by horses, and later by small steam engines on rails. "
    "Today it is used by walkers, by anglers and by a few boats in summer."
)
ANSWERS = [LONG.replace("1827", str(year)) for year in range(1800, 1830)]
QUESTIONS = [f"When was canal number {n} opened?" for n in range(30)]

# collections whose kind is known

KINDS = {
    "quora": "symmetric",
    "squad": "asymmetric",
    "scifact": "asymmetric",
    "squadshifts_new_wiki": "asymmetric",
    "fever_small": "asymmetric",
    "publications": "unclear",
    "msmarco": "asymmetric",
    "squadshifts_reddit": "asymmetric",
    "squadshifts_amazon_reviews": "asymmetric",
    "medquad": "asymmetric",
    "cranfield": "asymmetric",
    "reqa_squad": "asymmetric",
}


@pytest.mark.collections
@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_kind_of_a_public_collection(shared_data: Path, name: str, kind: str) -> None:
    passages, queries, qrels = collection(shared_data / name)
    found = task_kind(passages, queries, qrels)
    assert found.kind == kind, found
    untitled = [replace(passage, title="") for passage in passages[:600]]
    # not by the luck of the draw, nor by the titles
    assert task_kind(untitled, queries, qrels, seed=1).kind == kind
    few = dict(list(queries.items())[:8])
    assert task_kind(passages[:300], few).kind in (kind, "unclear")
    # of questions alone it is clear that they are compared with each other
    assert task_kind(passages[:300], {}).kind == ("symmetric" if name == "quora" else "unclear")
    if titles := {f"q {p.id}": p.title for p in passages if p.title}:
        assert task_kind(passages, titles).kind == "unclear"


@pytest.mark.collections
def test_publications_are_unclear_for_both_readings_and_settled_by_whole_papers(
    shared_data: Path,
) -> None:
    passages, queries, qrels = collection(shared_data / "publications")
    for corpus in (passages, [replace(p, title="") for p in passages]):
        said = " ".join(task_kind(corpus, queries, qrels).reasons)
        assert "paper and paper" in said
        assert "symmetric" in said
        assert "asymmetric" in said
        assert "To settle it" in said
    lines = (shared_data / "publications" / "new_papers.jsonl").read_text().splitlines()
    papers = [json.loads(line) for line in lines]
    whole = {paper["_id"]: f"{paper['title']} {paper['text']}" for paper in papers}
    assert task_kind(passages, whole).kind == "symmetric"


@pytest.mark.collections
def test_queries_that_are_missing_from_a_sample_are_known_by_form_and_length(
    shared_data: Path,
) -> None:
    passages, queries, _ = collection(shared_data / "quora")
    found = task_kind([p for p in passages if p.id not in queries], queries)
    assert found.statistics["queries_in_corpus"] < 0.1
    assert found.kind == "symmetric"


@pytest.mark.collections
@pytest.mark.parametrize("language", ["ar", "de", "el", "hi", "zh", "th"])
def test_other_languages(shared_data: Path, language: str) -> None:
    folder = shared_data / "xquad"
    corpus = load(folder / f"corpus_{language}.jsonl", Cutting(count_words, 256)).passages
    found = task_kind(list(corpus), read_queries(folder / f"queries_{language}.jsonl"))
    if language in ("zh", "th"):
        assert found.kind == "unclear"
        assert "Words cannot be counted" in found.reasons[0]
        assert "length_ratio" not in found.statistics
    else:
        assert found.kind == "asymmetric"


def test_the_sample_that_we_ship() -> None:
    encyclopedia = load(SAMPLE / "encyclopedia.xml", Cutting(count_words, 256)).passages
    questions = read_queries(SAMPLE / "queries.jsonl")
    qrels = read_qrels(SAMPLE / "qrels" / "dev.tsv")
    assert task_kind(list(encyclopedia), questions, qrels).kind == "asymmetric"
    passages, queries, qrels_of_pairs = collection(SAMPLE / "similar_questions")
    found = task_kind(passages, queries, qrels_of_pairs)
    assert found.kind == "symmetric"
    assert found.statistics["queries_in_corpus"] == 1


# cases made by hand

KEYWORDS = ["canal 1827", "lock gates rebuilt", "barges horses", "coal mills railway"] * 5
CLAIMS = [f"Canal {n} was opened before the railway came." for n in range(20)]
TITLES = [f"A Short History of Canals in the {n}th Century" for n in range(20)]
DETAIL = "a horse, a mill and the new"
OFF_TOPIC = "I have a very old boat and many friends."
FAQ = [Passage(f"p{i}", LONG, f"How do I open lock {i}?") for i in range(20)]


@pytest.mark.parametrize(
    ("passages", "queries", "kind", "reason"),
    [
        (ANSWERS, QUESTIONS, "asymmetric", "Passages are 8.2 times as long"),
        (ANSWERS, QUESTIONS[:3], "asymmetric", "judged from 3 queries only"),
        (ANSWERS, KEYWORDS, "asymmetric", "100 % keywords or phrases"),
        (ANSWERS, CLAIMS, "asymmetric", "100 % single sentences"),
        (ANSWERS, TITLES, "unclear", "look like titles"),
        (ANSWERS, [*QUESTIONS[:2], TITLES[0]], "unclear", "look like titles"),
        (TITLES, [t.replace("Short", "Long") for t in TITLES], "symmetric", "similar length"),
        (QUESTIONS, [q.replace("opened", "closed") for q in QUESTIONS], "symmetric", "similar"),
        (QUESTIONS[:9], ["When was canal one opened?"] * 3, "symmetric", "judged from 9 passages"),
        (CLAIMS, [c.replace("before", "after") for c in CLAIMS], "symmetric", "similar length"),
        (ANSWERS, [a.replace("coal", "salt") for a in ANSWERS], "symmetric", "similar length"),
        ([c.replace("the", DETAIL) for c in CLAIMS], QUESTIONS, "asymmetric", "2.3 times as long"),
        # of few queries, nearly all must say the same
        (ANSWERS, [*QUESTIONS[:2], f"{LONG} Still."], "unclear", "these figures are neither"),
        (CLAIMS, [CLAIMS[0], "canal"], "unclear", "these figures are neither"),
        # contradictions: one form and another length, one length and another form
        ([*QUESTIONS[:15], *ANSWERS], QUESTIONS[:15], "unclear", "speaks for asymmetric search"),
        ([f"{OFF_TOPIC} {q}" for q in QUESTIONS], QUESTIONS[:9], "unclear", "figures are neither"),
        (CLAIMS, QUESTIONS, "unclear", "these figures are neither"),
        (ANSWERS, [f"{a} Why?" for a in ANSWERS], "unclear", "these figures are neither"),
        (QUESTIONS, ANSWERS, "unclear", "Queries are 8.2 times as long as passages"),
        # nothing to go by
        (ANSWERS, [], "unclear", "usually searched with short questions"),
        (CLAIMS, [], "unclear", "compared with each other"),
        (QUESTIONS, [], "symmetric", "another question"),
        (QUESTIONS[:3], [], "symmetric", "judged from 3 passages only"),
        (ANSWERS, ["...", "?!"], "unclear", "no words at all"),
        (
            ["运河于1827年开通。它把煤运到工厂。"] * 12,
            ["运河何时开通？"] * 12,
            "unclear",
            "counted",
        ),
        (["运河何时开通？", "谁建造了它？"], ["谁建造了它?"], "symmetric", "word for word"),
    ],
)
def test_cases_made_by_hand(
    passages: list[str], queries: list[str], kind: str, reason: str
) -> None:
    found = task_kind(passages_of(*passages), queries_of(*queries))
    assert found.kind == kind, found
    assert reason in " ".join(found.reasons), found.reasons


def test_questions_among_titles_that_ask_have_two_readings() -> None:
    found = task_kind(FAQ, queries_of(*(q.replace("canal", "gate") for q in QUESTIONS)))
    assert found.kind == "unclear"
    assert "find the same question in the titles" in found.reasons[1]


def test_a_query_is_in_the_corpus_whatever_its_case_punctuation_and_blanks() -> None:
    corpus = [*passages_of(*CLAIMS), Passage("t", LONG, "Old  Canals"), Passage("u", "", "Locks!")]
    queries = queries_of("CANAL 3 was opened before\nthe railway came", "old canals", "locks", "x")
    found = task_kind(corpus, queries).statistics
    assert found["queries_in_corpus"] == 0.5
    assert found["queries_as_titles"] == 0.25


def test_overlap_with_the_best_judged_passage_by_hand() -> None:
    corpus = [
        Passage("a", "Red red apples fall.", "Orchard"),
        Passage("b", "Green pears."),
        Passage("q1", "Where do apples fall?"),
    ]
    queries = {"q1": "Where do apples fall?", "q2": "green apples", "q3": "nothing judged here"}
    qrels = {"q1": {"q1": 3, "a": 1}, "q2": {"a": 1, "b": 2, "gone": 3}, "q3": {"a": 0}}
    found = task_kind(corpus, queries, qrels).statistics
    assert found["judged_pairs"] == 2
    # apples, fall of {where, do, apples, fall} and {orchard, red, apples, fall}; green of {green,
    # apples} and {green, pears}
    assert found["overlap_containment"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert found["overlap_jaccard"] == pytest.approx((2 / 6 + 1 / 3) / 2)


def test_judged_queries_are_looked_at_first() -> None:
    queries = queries_of(*KEYWORDS * 50) | {f"j{i}": text for i, text in enumerate(QUESTIONS)}
    judged = {query_id: {"p0": 1} for query_id in queries if query_id.startswith("j")}
    found = task_kind(passages_of(*ANSWERS), queries, judged).statistics
    assert (found["queries"], found["judged_pairs"]) == (500, 30)


# by embeddings


def by_angle(texts: list[str]) -> np.ndarray:
    """Unit vectors in the plane: a text is its angle in degrees."""
    angles = np.radians([float(text.split()[0]) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_nearest_texts_by_angles_in_the_plane() -> None:
    corpus = passages_of("0 degrees", "0 degrees.", "30 degrees", "90 degrees")
    queries = {"a": "30 degrees", "b": "50 degrees", "c": "80 degrees", "d": "89 degrees"}
    found = task_kind(corpus, queries, {"b": {"p3": 1}}, encode=by_angle).statistics

    def mean(*degrees: float) -> float:
        return float(np.mean(np.cos(np.radians(degrees))))

    # the same text, up to punctuation, is not its own neighbour
    assert found["cosine_passage_passage"] == pytest.approx(mean(30, 30, 30, 60), abs=1e-6)
    assert found["cosine_query_passage"] == pytest.approx(mean(30, 20, 10, 1), abs=1e-6)
    assert found["cosine_query_query"] == pytest.approx(mean(20, 20, 9, 9), abs=1e-6)
    assert found["cosine_relevant"] == pytest.approx(mean(40), abs=1e-6)


def test_every_nearest_text_is_sought_among_equally_many() -> None:
    asked: list[int] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.append(len(texts))
        return by_angle(texts)

    corpus = passages_of(*(f"{n / 10} degrees" for n in range(900)))
    task_kind(corpus, queries_of(*(f"{n} degrees" for n in range(40))), encode=encode)
    assert asked == [40, 40]
    asked.clear()
    found = task_kind(corpus, {}, encode=encode).statistics
    assert asked == [200]
    assert "cosine_query_query" not in found


def test_one_text_of_a_kind_has_no_other_near_it() -> None:
    found = task_kind(passages_of("1 degree"), {"q": "2 degrees"}, encode=by_angle).statistics
    assert "cosine_query_query" not in found
    assert "cosine_passage_passage" not in found
    assert found["cosine_query_passage"] == pytest.approx(np.cos(np.radians(1)))


# forms


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        (
            "question",
            "What is a canal?|who built it|how to open a lock|Is it deep?|can boats pass here|"
            "what are the results for the buckling of columns .|I have a boat. May I moor here?|"
            "Where did Dr. J. R. Smith of the U.S. live?|What's a lock|¿Dónde está?|运河何时开通？",
        ),
        (
            "sentence",
            "Coal causes smoke.|When the railway came, traffic fell.|Will Smith was born in 1968.|"
            "Canals freeze in winter!|CCL19 is a ligand for CCR7.|Kanal on 12 km pikk.",
        ),
        (
            "title",
            "Neural Machine Translation with Word Predictions|A Short History of the Canal|"
            "Blood stem cells emerge from aortic endothelium by a novel type of cell transition|"
            "How Noisy Is Social Media Text",
        ),
        (
            "keywords",
            "canal|opening hours canal lock|Panama Canal|Yes.|...|symptoms of flu in kids",
        ),
        ("paragraph", f"{LONG}|{'word ' * 41}|It is long. It is wide. It is deep. Is it?"),
    ],
)
def test_forms(form: str, texts: str) -> None:
    assert {text: form_of(text) for text in texts.split("|")} == dict.fromkeys(
        texts.split("|"), form
    )


def test_scripts_without_blanks() -> None:
    assert [is_unspaced(t) for t in ("运河", "คลอง", "運河はいつ")] == [True] * 3
    assert not any(
        map(is_unspaced, ("canal", "канал", "운하는 언제", "नहर कब", "1827 年 in a text"))
    )


# properties

TEXTS = st.one_of(
    st.sampled_from([*QUESTIONS[:5], *CLAIMS[:5], *TITLES[:5], *KEYWORDS[:4], LONG, "运河。"]),
    st.text(max_size=30),
)


@given(
    bodies=st.lists(TEXTS, min_size=1, max_size=25),
    asked=st.lists(TEXTS, max_size=25),
    data=st.data(),
)
@settings(deadline=None, max_examples=80)
def test_any_texts_in_any_order_have_one_kind_and_reasons(
    bodies: list[str], asked: list[str], data: st.DataObject
) -> None:
    corpus, queries = passages_of(*bodies), queries_of(*asked)
    found = task_kind(corpus, queries, {"q0": {"p0": 1}}, seed=3)
    assert found.reasons
    assert all(reason.endswith(".") and reason[0].isupper() for reason in map(plain, found.reasons))
    read = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert read == {
        "kind": found.kind,
        "reasons": list(found.reasons),
        "statistics": dict(found.statistics),
    }
    for side in ("query", "passage"):
        names = ("questions", "sentences", "titles", "keywords", "paragraphs")
        shares = [found.statistics.get(f"{side}_{name}", 0.0) for name in names]
        assert sum(shares) == pytest.approx(1) or not found.statistics["queries"]
    shuffled = data.draw(st.permutations(corpus))
    again = dict(data.draw(st.permutations(list(queries.items()))))
    other = task_kind(shuffled, again, {"q0": {"p0": 1}}, seed=3)
    assert (other.kind, other.reasons) == (found.kind, found.reasons)
    assert other.statistics == pytest.approx(found.statistics)


def plain(reason: str) -> str:
    return reason if reason[0].isalpha() else f"A{reason}"  # "98 % of the queries ..."


def test_large_samples_do_not_depend_on_order_either() -> None:
    corpus = passages_of(*(f"{LONG} {'deep ' * (n // 100)}" for n in range(2500)))
    queries = queries_of(*(f"What is {'very ' * (n % 7)}deep?" for n in range(900)))
    found = task_kind(corpus, queries)
    assert task_kind(corpus[::-1], dict(reversed(queries.items()))) == found
    assert (found.statistics["passages"], found.statistics["queries"]) == (1000, 500)


# what is refused, what is warned of


def test_wrong_input() -> None:
    with pytest.raises(DataError, match="no passage to look at; give the corpus"):
        task_kind([], {"q": "?"})
    with pytest.raises(UsageError, match=r"one embedding a text, \[1, dim\].* \(3,\)"):
        task_kind(passages_of("x"), {}, encode=lambda _: np.ones(3, np.float32))


def test_a_warning_only_where_model_and_data_disagree() -> None:
    def kinds() -> Iterator[TaskKind]:
        yield task_kind(passages_of(*ANSWERS), queries_of(*QUESTIONS))
        yield task_kind(passages_of(*QUESTIONS), queries_of(*QUESTIONS))
        yield task_kind(passages_of(*ANSWERS), {})

    asymmetric, symmetric, unclear = kinds()
    for kind, model, warned in [
        (asymmetric, "asymmetric", False),
        (asymmetric, "symmetric", True),
        (symmetric, "asymmetric", True),
        (symmetric, "symmetric", False),
        (asymmetric, "both", False),
        (symmetric, "both", False),
        (unclear, "symmetric", False),
        (unclear, "asymmetric", False),
    ]:
        warning = disagreement(kind, model)
        assert (warning is not None) == warned
        if warning:
            assert f"made for {model} search" in warning
            assert f"Compare it with a model made for {kind.kind} search." in warning
            assert kind.reasons[0] in warning
    with pytest.raises(UsageError, match=r"'sideways'.*symmetric, asymmetric or both"):
        disagreement(unclear, "sideways")
