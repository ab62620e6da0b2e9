"""Other languages are noticed on real collections, and English is not taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shortlist.data.collections import Cutting, load
from shortlist.data.language import LanguageSample, detect
from shortlist.records import Passage

ENGLISH = frozenset({"en"})


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def watched(source: Path, languages: frozenset[str]) -> tuple[LanguageSample, list[str]]:
    told: list[str] = []
    sample = LanguageSample(languages, told.append)
    for _ in sample.watch(load(source, Cutting(count_words, 128)).passages):
        pass
    return sample, told


@pytest.mark.collections
@pytest.mark.parametrize(
    ("dump", "sentence", "language"),
    [
        ("etwiki_92pages.xml", "Tallinn", "et"),
        ("ltgwiki_2004pages_complete.xml", "Latgola", "ltg"),
    ],
)
def test_exports_in_other_languages_read_well_and_are_noticed(
    shared_data: Path, dump: str, sentence: str, language: str
) -> None:
    path = shared_data / "wikipedia" / "raw_xml" / dump
    passages = list(load(path, Cutting(count_words, 128)).passages)
    assert len(passages) > 1000
    text = "\n".join(p.text for p in passages)
    assert sentence in text
    letters = sum(map(str.isalpha, text)) / sum(not char.isspace() for char in text)
    assert letters > 0.85
    assert sum(map("\ufffd".__eq__, text)) == 0
    sample, told = watched(path, ENGLISH)
    (early,) = told
    for warning in (early, sample.warning):  # after fifty passages, and of the whole sample
        assert "trained on (en)" in warning
        assert f" passages {language} " in warning
    assert sample.counts().most_common(1)[0][0] == language


@pytest.mark.collections
@pytest.mark.parametrize("name", ["squad", "scifact", "cranfield", "quora"])
def test_english_collections_are_not_warned_of(shared_data: Path, name: str) -> None:
    sample, told = watched(shared_data / name, ENGLISH)
    assert told == []
    assert sample.warning == ""
    assert sample.counts()["en"] > 0.8 * sample.counts().total()


@pytest.mark.collections
def test_the_languages_of_xquad_are_told_apart(shared_data: Path) -> None:
    """Professional translations of the same paragraphs; the file's name says the language."""
    files = [f for f in (shared_data / "xquad").glob("corpus*.jsonl") if f.stem[-3] in "._-"]
    assert len(files) >= 11
    for file in files:
        texts = [json.loads(line)["text"] for line in file.read_text("utf-8").splitlines()[:60]]
        right = sum(detect(text) == file.stem[-2:] for text in texts)
        assert right > 0.9 * len(texts), file.name


def test_a_model_for_all_languages_warns_of_none() -> None:
    passages = [
        Passage(str(n), "See on eestikeelne lause, milles on palju sõnu.") for n in range(9)
    ]
    told: list[str] = []
    sample = LanguageSample(frozenset(), told.append)
    assert list(sample.watch(iter(passages))) == passages
    assert (told, sample.warning) == ([], "")


def test_the_warning_comes_after_fifty_passages_not_at_the_end() -> None:
    text = "See on eestikeelne lause, milles on palju sõnu ja ka mõned täpitähed."
    told: list[str] = []
    watching = LanguageSample(ENGLISH, told.append).watch(
        Passage(str(n), text) for n in range(10_000)
    )
    for number, _ in enumerate(watching, 1):
        if number == 49:
            assert not told
        if number == 51:
            break
    assert len(told) == 1


def test_a_language_that_begins_late_is_found_by_the_sample() -> None:
    english = "This is a sentence in plain English, with enough letters to be sure of it."
    estonian = "See on eestikeelne lause, milles on palju sõnu ja ka mõned täpitähed."
    texts = [english] * 5000 + [estonian] * 5000
    told: list[str] = []
    sample = LanguageSample(ENGLISH, told.append)
    for _ in sample.watch(Passage(str(n), text) for n, text in enumerate(texts)):
        pass
    assert len(told) == 1
    assert 0.35 < sample.counts()["et"] / sample.counts().total() < 0.65


@pytest.mark.parametrize("text", ["", "1234 5678", "E = mc²", "Too short.", "+-*/ " * 50])
def test_nothing_is_said_of_what_is_no_prose(text: str) -> None:
    assert detect(text) == ""
