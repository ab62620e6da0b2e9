"""`hf://` addresses by the real `datasets` library: saved folders, shards, no network."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from shortlist.data.collections import Collection, Cutting, load
from shortlist.data.columns import Columns
from shortlist.data.hub import HubSource
from shortlist.errors import DataError

ROWS = [{"id": f"d{n}", "title": f"T{n}", "text": f"text {n}", "year": 1900 + n} for n in range(5)]


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def opened(source: Path | str, columns: Columns | None = None) -> Collection:
    return load(source, Cutting(count_words, 50), columns)


def ids(collection: Collection) -> list[str]:
    return [passage.id for passage in collection.passages]


def saved(folder: Path, rows: list[dict], split: str | None = None) -> Path:
    datasets.Dataset.from_list(rows, split=split).save_to_disk(folder)
    return folder


def jsonl(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://squad", HubSource("squad")),
        ("hf://squad:validation", HubSource("squad", None, "validation")),
        ("hf://a/b", HubSource("a/b")),
        ("hf://a/b/c:test", HubSource("a/b", "c", "test")),
        ("hf:///data/my set", HubSource("/data/my set", is_local=True)),
        ("hf:///data/d:train", HubSource("/data/d", None, "train", is_local=True)),
        ("hf://./d", HubSource("d", is_local=True)),
        ("hf://../d", HubSource("../d", is_local=True)),
        ("hf://~/d", HubSource(str(Path("~/d").expanduser()), is_local=True)),
    ],
)
def test_addresses(address: str, expected: HubSource) -> None:
    assert HubSource.parse(address) == expected


@pytest.mark.parametrize("address", ["hf://", "hf://a/b/c/d", "hf://a//b", "hf://:train"])
def test_addresses_that_name_nothing(address: str) -> None:
    with pytest.raises(DataError, match=r"expected hf://NAMESPACE/NAME\[/CONFIG\]\[:SPLIT\]"):
        HubSource.parse(address)


@pytest.mark.parametrize("split", [None, "validation"])
def test_a_saved_dataset(tmp_path: Path, split: str | None) -> None:
    folder = saved(tmp_path / "d", ROWS, split)
    for source in (folder, f"hf://{folder}", f"hf://{folder}:{split or 'train'}"):
        collection = opened(source)
        assert collection.kind == f"dataset {folder}"
        first, *_ = passages = list(collection.passages)
        assert [p.id for p in passages] == [row["id"] for row in ROWS]
        assert (first.title, first.text, first.metadata) == ("T0", "text 0", {"year": 1900})


def test_the_splits_of_a_saved_dataset(tmp_path: Path) -> None:
    parts = {"train": ROWS[:2], "test": ROWS[2:]}
    datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}
    ).save_to_disk(tmp_path / "d")
    assert ids(opened(f"hf://{tmp_path}/d")) == ["d0", "d1"]
    assert ids(opened(tmp_path / "d")) == ["d0", "d1"]
    assert ids(opened(f"hf://{tmp_path}/d:test")) == ["d2", "d3", "d4"]
    match = r"d: expected one of the splits train, test after a colon, got dev"
    with pytest.raises(DataError, match=match):
        ids(opened(f"hf://{tmp_path}/d:dev"))


def test_without_train_a_split_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    parts = {"dev": ROWS[:2], "test": ROWS[2:]}
    datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}
    ).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match=r"one of the splits dev, test after a colon, got none"):
        ids(opened(tmp_path / "d"))
    assert ids(opened(f"hf://{tmp_path}/d:dev")) == ["d0", "d1"]


def test_shards_of_parquet(tmp_path: Path) -> None:
    for number, rows in enumerate((ROWS[:2], ROWS[2:])):
        folder = tmp_path / "d" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"train-0000{number}-of-00002.parquet"
        datasets.Dataset.from_list(rows).to_parquet(folder / name)
    expected = [row["id"] for row in ROWS]
    assert ids(opened(f"hf://{tmp_path}/d")) == expected
    collection = opened(tmp_path / "d")  # without the library: as a folder of tables
    assert collection.kind == "folder of tables"
    assert ids(collection) == expected


def test_shards_of_jsonl_in_splits(tmp_path: Path) -> None:
    jsonl(tmp_path / "d" / "train.jsonl", ROWS[:3])
    jsonl(tmp_path / "d" / "validation.jsonl", ROWS[3:])
    assert ids(opened(f"hf://{tmp_path}/d")) == ["d0", "d1", "d2"]
    assert ids(opened(f"hf://{tmp_path}/d:validation")) == ["d3", "d4"]
    with pytest.raises(DataError, match=r"one of the splits train, validation after a colon, got"):
        ids(opened(f"hf://{tmp_path}/d:test"))


def test_columns_and_places_of_a_dataset(tmp_path: Path) -> None:
    rows = [{"key": "a", "prose": "one"}, {"key": "b", "prose": "two"}, {"key": "a", "prose": "!"}]
    folder = saved(tmp_path / "d", rows)
    collection = opened(folder, Columns(id="key", text="prose"))
    match = rf"{folder}:row 3: the id 'a' stands already at {folder}:row 1;"
    with pytest.raises(DataError, match=match):
        ids(collection)
    with pytest.raises(DataError, match=r":row 1: no column 'x' for --text-field; .*'key', 'pr"):
        ids(opened(folder, Columns(text="x")))


def test_own_rows_stay_whole_unless_asked(tmp_path: Path) -> None:
    text = " ".join(f"Sentence {n} has five words." for n in range(40))
    folder = saved(tmp_path / "d", [{"id": "a", "text": text}])
    assert ids(opened(folder)) == ["a"]
    cut = load(folder, Cutting(count_words, 50, cut_records=True))
    assert ids(cut) == [f"a#{n}" for n in range(5)]


def test_no_network_and_no_such_dataset_are_told(tmp_path: Path) -> None:
    for name in ("nobody/no-such-dataset", "no-such-dataset"):
        with pytest.raises(DataError, match=rf"{name}: the dataset cannot be read \(.+\)"):
            ids(opened(f"hf://{name}"))


def test_broken_datasets_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "d", ROWS)
    (data,) = folder.glob("*.arrow")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(DataError, match=r"d: the dataset cannot be read \(.+\)"):
        ids(opened(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: the dataset cannot be read \(.+\)"):
        ids(opened(f"hf://{tmp_path}/empty"))
    jsonl(tmp_path / "j" / "train.jsonl", ROWS)
    with (tmp_path / "j" / "train.jsonl").open("a") as file:
        file.write('{"id": "x", "text"\n')
    with pytest.raises(DataError, match=r"j: the dataset cannot be read \(.+\)"):
        ids(opened(f"hf://{tmp_path}/j"))
