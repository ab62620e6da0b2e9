"""What is handed over to a Milvus server: never less than meets the filter."""

from __future__ import annotations

import pytest

from shortlist.pipeline.server_filters import comparable, of_one_kind, server_filter
from shortlist.records import Passage

KINDS = {"year": "number", "venue": "text", "draft": "flag", "first author": "text", 'a"b': "text"}
YEAR, VENUE = 'fields["year"]', 'fields["venue"]'


@pytest.mark.parametrize(
    ("where", "narrowed"),
    [
        (None, ""),
        ("year >= 2018", f"{YEAR} >= 2018"),
        ("2018 <= year", f"{YEAR} >= 2018"),
        ("1990 <= year < 2000.5", f"{YEAR} >= 1990 and {YEAR} < 2000.5"),
        ("year == -3", f"{YEAR} == -3"),
        ('venue in ("ACL", "EMNLP")', f'{VENUE} in ["ACL", "EMNLP"]'),
        ("draft == True", 'fields["draft"] == true'),
        ('field("first author") == "Ada Lovelace"', 'fields["first author"] == "Ada Lovelace"'),
        ("id == 'p7' and year > 1", f'(id == "p7") and ({YEAR} > 1)'),
        ("year > 1 or venue == 'ACL'", f'({YEAR} > 1) or ({VENUE} == "ACL")'),
        ("year > 1 and title == 'x'", f"({YEAR} > 1)"),
        ("year > 1 and not venue == 'ACL'", f"({YEAR} > 1)"),
        # what the server is not asked
        ("year > 1 or title == 'x'", ""),
        ("year != 2018", ""),
        ("not year == 2018", ""),
        ("year is None", ""),
        ("venue not in ('ACL',)", ""),
        ("'AC' in venue", ""),
        ("draft", ""),
        ("year in ()", ""),
        ("year == '2018'", ""),
        ("year == True", ""),
        ("draft == 1", ""),
        ("year in (1, 'x')", ""),
        ("unknown == 1", ""),
        ("venue == 'say \"hi\"'", ""),
        ("venue == 'a\\\\b'", ""),
        ("field('a\"b') == 'x'", ""),
        ("venue == 'two\\nlines'", ""),
        ("year == 9007199254740993", ""),
        ("year == 1e999", ""),
        ("year ==", ""),
        ("__import__('os').system('x') == 1", ""),
    ],
)
def test_what_the_server_is_asked(where, narrowed):
    assert server_filter(where, KINDS) == narrowed


def test_fields_of_several_kinds_are_not_handed_over():
    kinds = {}
    rows = [
        {"year": 1, "mixed": 1, "late": None, "tags": ["a"], "big": 1, "odd": "x", "title": "t"},
        {"year": 2.5, "mixed": "1", "late": True, "big": 2**60, "odd": "\ud800"},
    ]
    first, second = (comparable(Passage("p", "t", metadata=row), kinds) for row in rows)
    assert of_one_kind(kinds) == {"late": "flag", "year": "number"}
    assert first == {"year": 1, "mixed": 1, "big": 1, "odd": "x"}
    assert second == {"year": 2.5, "mixed": "1", "late": True}


def test_a_passage_has_the_same_fields_whatever_came_before():
    passage = Passage("p", "t", metadata={"year": 5, "venue": "ACL"})
    assert comparable(passage, {"year": "text", "venue": "mixed"}) == comparable(passage, {})
