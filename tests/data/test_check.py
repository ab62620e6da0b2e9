"""Every fault that `check` names is planted, one at a time, into a set that has none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shortlist.data.check import check
from shortlist.data.checks.codes import SENTENCES
from shortlist.data.checks.report import Finding, Report
from shortlist.data.qrels import read_qrels
from shortlist.errors import UsageError

TEXTS = [
    "Plants make sugar from water, air and light; this is called photosynthesis.",
    "Tea is made by pouring hot water over the dried leaves of an evergreen shrub.",
    "A glacier is a river of ice that flows slowly downhill under its own weight.",
    "The cello is held between the knees and sounds an octave lower than the viola.",
    "Vaccines teach the immune system to recognise a germ before it meets it.",
    "A lighthouse warns ships of rocks with a lamp that can be seen for miles.",
    "Bees tell each other where flowers are by dancing in the dark of the hive.",
    "Chess is played on sixty-four squares by two players with sixteen pieces each.",
    "Wool is spun from the fleece of sheep, and keeps its warmth when it is wet.",
    "Granite cools slowly, deep under ground, so that its crystals grow large.",
    "An eclipse of the sun needs a new moon that passes exactly between us and it.",
    "Yeast turns the sugar of the dough into gas, and the bread begins to rise.",
]
QUERIES = [
    "how do leaves feed a tree?", "which plant gives tea?", "what makes ice flow?",
    "who is tuned below a viola?", "why are we vaccinated?", "what warns ships at night?",
]  # fmt: skip
LONG = (
    "the harbour of the old town was dug by hand in nine winters while the sea was kept out by a "
    "wall of oak and clay that the masons took down again on the day of the opening"
)


class Folder:
    """A small BEIR folder and a run, as lines that a fault may change."""

    def __init__(self) -> None:
        self.corpus = [
            {"_id": f"p{i}", "title": f"Note {i}", "text": text} for i, text in enumerate(TEXTS)
        ]
        self.queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(QUERIES)]
        self.qrels = {
            "train": ["q0\tp0\t1", "q1\tp1\t1"],
            "dev": ["q2\tp2\t1", "q2\tp9\t0", "q3\tp3\t1"],
            "test": ["q4\tp4\t2", "q5\tp5\t1"],
        }
        self.run = [
            f"q{q} Q0 p{(q + i) % 12} {i + 1} {9.5 - i} mine" for q in (4, 5) for i in range(12)
        ]
        self.raw: dict[str, bytes] = {}  # files written as they are

    def write(self, root: Path) -> Path:
        (root / "qrels").mkdir(parents=True)
        for name, rows in (("corpus", self.corpus), ("queries", self.queries)):
            lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
            (root / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
        for name, lines in self.qrels.items():
            text = "\n".join(["query-id\tcorpus-id\tscore", *lines, ""])
            (root / "qrels" / f"{name}.tsv").write_text(text)
        (root / "run.trec").write_text("".join(line + "\n" for line in self.run))
        for name, content in self.raw.items():
            (root / name).write_bytes(content)
        return root


def checked(folder: Folder, root: Path) -> Report:
    folder.write(root)
    return check(root, runs=root / "run.trec")


def found(report: Report, code: str) -> list[Finding]:
    subject, name = code.split("/")
    return [f for f in report.findings if (f.subject, f.code) == (subject, name)]


def test_the_clean_set_has_no_finding(tmp_path: Path) -> None:
    report = checked(Folder(), tmp_path)
    assert report.findings == ()
    assert list(report.read.values()) == [12, 6, 2, 3, 2, 24]


FAULTS: list[tuple[str, str, str, Callable[[Folder], object]]] = []


def put(code: str, level: str, example: str, plant: Callable[[Folder], object]) -> None:
    """Enter a fault: the code and level of its finding, and what its example must show."""
    FAULTS.append((code, level, example, plant))


def corpus_row(i: int, **values: object) -> Callable[[Folder], object]:
    return lambda folder: folder.corpus[i].update(values)


def corpus_more(*rows: object) -> Callable[[Folder], object]:
    return lambda folder: folder.corpus.extend(rows)  # type: ignore[arg-type]


def query_more(*rows: object) -> Callable[[Folder], object]:
    return lambda folder: folder.queries.extend(rows)  # type: ignore[arg-type]


def qrels_more(split: str, *lines: str) -> Callable[[Folder], object]:
    return lambda folder: folder.qrels[split].extend(lines)


def run_line(i: int, line: str) -> Callable[[Folder], object]:
    return lambda folder: folder.run.__setitem__(i, line)


def several(*plants: Callable[[Folder], object]) -> Callable[[Folder], object]:
    return lambda folder: [plant(folder) for plant in plants]


def raw(name: str, content: bytes) -> Callable[[Folder], object]:
    return lambda folder: folder.raw.update({name: content})


def cut(line: str) -> bytes:
    """A compressed file of many lines, cut off in the middle."""
    whole = gzip.compress("".join(line.format(i, i * i) for i in range(9000)).encode())
    return whole[: len(whole) // 2]


CUT = cut('{{"_id": "{}", "text": "{}"}}\n')
CUT_QRELS = cut("q{} 0 p{} 1\n")
CUT_RUN = cut("q{} Q0 p{} 1 1.0 mine\n")
BINARY = b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)) * 9

LATIN = b'{"_id": "p0", "text": "first"}\n{"_id": "p1", "text": "caf\xe9"}\n'

# corpus
put("corpus/unreadable-line", "error", "corpus.jsonl:13", corpus_more('{"_id": "x", "te'))
put("corpus/unreadable-line", "error", "corpus.jsonl:13", corpus_more({"_id": "x", "text": 7}))
put("corpus/unreadable-line", "error", "corpus.jsonl:13", corpus_more({"_id": "x"}))
put("corpus/unreadable-file", "error", "corpus.jsonl", raw("corpus.jsonl", CUT))
put("corpus/unreadable-file", "error", "corpus.jsonl", raw("corpus.jsonl", BINARY))
put("corpus/unreadable-file", "error", "corpus.jsonl:2", raw("corpus.jsonl", LATIN))
put("corpus/empty-file", "error", "corpus.jsonl", raw("corpus.jsonl", b""))
put("corpus/empty-file", "error", "corpus.jsonl", raw("corpus.jsonl", b"\n\n"))
put("corpus/duplicate-id", "error", "corpus.jsonl:8 corpus.jsonl:13",
    corpus_more({"_id": "p7", "text": "another text"}))  # fmt: skip
put("corpus/empty-passage", "warning", "p7", corpus_row(7, text=" ", title=""))
put("corpus/made-ids", "warning", "corpus.jsonl:13", corpus_more({"text": "nobody's"}))
put("corpus/id-with-blank", "warning", "'a b'", corpus_more({"_id": "a b", "text": "anything"}))
put("corpus/duplicate-text", "warning", "corpus.jsonl:8 corpus.jsonl:13",
    corpus_more({"_id": "x", "title": "NOTE 7", "text": TEXTS[7].upper() + "  "}))  # fmt: skip
# queries
put("queries/unreadable-line", "error", "queries.jsonl:7", query_more("q6\twhat?"))
put("queries/unreadable-file", "error", "queries.jsonl", raw("queries.jsonl", CUT))
put("queries/unreadable-file", "error", "queries.jsonl", raw("queries.jsonl", BINARY))
put("queries/empty-file", "error", "queries.jsonl", raw("queries.jsonl", b""))
put("queries/duplicate-id", "error", "queries.jsonl:2 queries.jsonl:7",
    query_more({"_id": "q1", "text": "again?"}))  # fmt: skip
put("queries/duplicate-id", "error", "queries.jsonl:2 queries.jsonl:7",
    query_more({"_id": "q1", "text": QUERIES[1]}))  # fmt: skip
put("queries/empty-query", "error", "queries.jsonl:7", query_more({"_id": "q6", "text": " "}))
put("queries/duplicate-text", "warning", "queries.jsonl:1 queries.jsonl:7",
    query_more({"_id": "q6", "text": "How do  LEAVES feed a tree?"}))  # fmt: skip
put("queries/id-with-blank", "warning", "'q 6'", query_more({"_id": "q 6", "text": "what?"}))
put("queries/query-without-judgement", "note", "q6 queries.jsonl:7",
    query_more({"_id": "q6", "text": "what is wool?"}))  # fmt: skip
# judgements
put("qrels/unreadable-line", "error", "dev.tsv:5", qrels_more("dev", "q3\tp1\tyes"))
put("qrels/unreadable-line", "error", "dev.tsv:5", qrels_more("dev", "q3\tp1"))
put("qrels/unreadable-file", "error", "test.tsv", raw("qrels/test.tsv", CUT_QRELS))
put("qrels/unreadable-file", "error", "test.tsv", raw("qrels/test.tsv", BINARY))
put("qrels/empty-file", "error", "test.tsv", raw("qrels/test.tsv", b""))
put("qrels/empty-file", "error", "test.tsv",
    raw("qrels/test.tsv", b"query-id\tcorpus-id\tscore\n"))  # fmt: skip
put("qrels/conflicting-grades", "error", "dev.tsv:2 dev.tsv:5 'q2' 'p2' grades 1 and 0",
    qrels_more("dev", "q2\tp2\t0"))  # fmt: skip
put("qrels/repeated-line", "note", "dev.tsv:2 dev.tsv:5", qrels_more("dev", "q2\tp2\t1"))
put("qrels/negative-grade", "warning", "dev.tsv:5", qrels_more("dev", "q2\tp7\t-2"))
put("qrels/no-relevant-passage", "warning", "'q6' dev.tsv:5",
    several(query_more({"_id": "q6", "text": "what?"}),
            qrels_more("dev", "q6\tp7\t0")))  # fmt: skip
put("qrels/dangling-query", "error", "'q77' dev.tsv:5", qrels_more("dev", "q77\tp6\t1"))
put("qrels/dangling-passage", "error", "'p77' dev.tsv:5", qrels_more("dev", "q3\tp77\t1"))
for given, own, rule in (
    ("007", "7", "leading zeros"),
    ("7.0", "7", "a trailing"),
    ("7", "07", "leading zeros"),
    ("x7", " x7", "surrounding blanks"),
    ("X7", "x7", "upper and lower case"),
    ("e\u0301", "\u00e9", "Unicode"),
    ("X07.0", "x07 ", "several"),
):
    put("qrels/id-type", "error", f"{given!r} {own!r} {rule} dev.tsv:5",
        several(corpus_more({"_id": own, "text": "a text of its own"}),
                qrels_more("dev", f"q3\t{given}\t1")))  # fmt: skip
put("qrels/id-type", "error", "'Q7' 'q7' dev.tsv:5",
    several(query_more({"_id": "q7", "text": "what?"}),
            qrels_more("dev", "Q7\tp6\t1")))  # fmt: skip
put("qrels/self-hit", "note", "'q2' corpus.jsonl:13 queries.jsonl:3",
    corpus_more({"_id": "q2", "text": QUERIES[2]}))  # fmt: skip
put("qrels/self-judged", "warning", "'q2' dev.tsv:5",
    several(corpus_more({"_id": "q2", "text": QUERIES[2]}),
            qrels_more("dev", "q2\tq2\t1")))  # fmt: skip
put("qrels/self-judged", "note", "'q2' dev.tsv:5",
    several(corpus_more({"_id": "q2", "text": "by chance"}),
            qrels_more("dev", "q2\tq2\t1")))  # fmt: skip
put("qrels/title-leak", "warning", "'q2' 'p2' queries.jsonl:3 corpus.jsonl:3",
    corpus_row(2, title="Ice: WHAT makes ice flow, and where"))  # fmt: skip
# splits
put("splits/same-query-in-two-splits", "warning", "'q0' train.tsv:2 test.tsv:4",
    qrels_more("test", "q0\tp6\t1"))  # fmt: skip
put("splits/near-duplicate-query", "warning", "'q0' 'q6' overlap 1.00",
    several(query_more({"_id": "q6", "text": "How do leaves feed a tree"}),
            qrels_more("test", "q6\tp6\t1")))  # fmt: skip
put("splits/shared-positive", "warning", "'p0' train.tsv:2 test.tsv:4",
    qrels_more("test", "q4\tp0\t1"))  # fmt: skip
put("splits/near-duplicate-positive", "warning", "'x' 'y' corpus.jsonl:13 corpus.jsonl:14",
    several(corpus_more({"_id": "x", "text": LONG}, {"_id": "y", "text": LONG[40:] + " at last"}),
            qrels_more("train", "q0\tx\t1"), qrels_more("test", "q4\ty\t1")))  # fmt: skip
# run
put("run/unreadable-line", "error", "run.trec:3", run_line(2, "q4 Q0 p6 3 six mine"))
put("run/unreadable-file", "error", "run.trec", raw("run.trec", CUT_RUN))
put("run/unreadable-file", "error", "run.trec", raw("run.trec", BINARY))
put("run/empty-file", "error", "run.trec", raw("run.trec", b""))
put("run/repeated-passage", "error", "run.trec:1 run.trec:3 'q4' 'p4'",
    run_line(2, "q4 Q0 p4 3 7.5 mine"))  # fmt: skip
put("run/score-not-finite", "error", "run.trec:3 nan", run_line(2, "q4 Q0 p6 3 nan mine"))
put("run/dangling-query", "warning", "run.trec:24 'q44'", run_line(23, "q44 Q0 p6 3 1 mine"))
put("run/dangling-passage", "error", "run.trec:3 'p66'", run_line(2, "q4 Q0 p66 3 7.5 mine"))
put("run/id-type", "error", "run.trec:3 'P6' 'p6'", run_line(2, "q4 Q0 P6 3 7.5 mine"))
put("run/missing-query", "warning", "'q5' test.tsv:3",
    lambda folder: folder.run.__delitem__(slice(12, 24)))  # fmt: skip
put("run/tie-at-10", "warning", "run.trec:1 'q4'",
    run_line(10, "q4 Q0 p2 11 0.50000000001 mine"))  # fmt: skip
put("run/rank-contradicts-score", "note", "'q4' rank 2 has 8.5, rank 3 has 9",
    run_line(2, "q4 Q0 p6 3 9 mine"))  # fmt: skip
put("run/self-hit", "warning", "'q4' run.trec:1",
    several(corpus_more({"_id": "q4", "text": QUERIES[4]}),
            run_line(0, "q4 Q0 q4 1 9.5 m")))  # fmt: skip
put("run/self-hit-judged", "error", "'q4' run.trec:1",
    several(corpus_more({"_id": "q4", "text": QUERIES[4]}),
            run_line(0, "q4 Q0 q4 1 9.5 m"),
            qrels_more("test", "q4\tq4\t1")))  # fmt: skip


@pytest.mark.parametrize(
    ("code", "level", "example", "plant"),
    FAULTS,
    ids=[f"{number}-{code}" for number, (code, *_) in enumerate(FAULTS)],
)
def test_every_fault_is_found(
    tmp_path: Path, code: str, level: str, example: str, plant: Callable[[Folder], object]
) -> None:
    folder = Folder()
    plant(folder)
    report = checked(folder, tmp_path)
    (finding,) = found(report, code)
    assert (finding.level, finding.count) == (level, 1)
    (shown,) = finding.examples
    told = f"{' '.join(Path(p).name for p in shown.places)} {shown.ids} {shown.remark}"
    for part in example.split(" "):
        assert part in told


# What a fault brings along by its nature; everything else found beside it would be a false alarm
ALONG = {
    "qrels/id-type": {"qrels/dangling-passage", "qrels/dangling-query", "corpus/id-with-blank",
                      "queries/query-without-judgement"},
    "qrels/unreadable-file": {"qrels/dangling-query", "qrels/dangling-passage",
                              "splits/shared-positive", "splits/same-query-in-two-splits"},
    "qrels/self-judged": {"qrels/self-hit"},
    "queries/id-with-blank": {"queries/query-without-judgement"},
    "queries/duplicate-text": {"queries/query-without-judgement"},
    "queries/unreadable-file": {"queries/query-without-judgement"},
    "splits/near-duplicate-query": {"run/missing-query", "queries/duplicate-text"},
    "splits/same-query-in-two-splits": {"run/missing-query"},
    "run/unreadable-file": {"run/dangling-query", "run/dangling-passage"},
    "run/id-type": {"run/dangling-passage"},
    "run/self-hit": {"qrels/self-hit"},
    "run/self-hit-judged": {"qrels/self-hit", "qrels/self-judged"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "plant"),
    [(code, plant) for code, _, _, plant in FAULTS],
    ids=[f"{number}-{code}" for number, (code, *_) in enumerate(FAULTS)],
)
def test_a_fault_raises_no_other_alarm(
    tmp_path: Path, code: str, plant: Callable[[Folder], object]
) -> None:
    folder = Folder()
    plant(folder)
    codes = {f"{f.subject}/{f.code}" for f in checked(folder, tmp_path).findings}
    assert codes - {code} <= ALONG.get(code, set())


HARMLESS = {
    "a passage that has a query's id by chance": several(
        corpus_more({"_id": "q4", "text": "by chance"}), run_line(0, "q4 Q0 q4 1 9.5 m")
    ),
    "a passage relevant in dev and test": qrels_more("test", "q4\tp2\t1"),
    "a query of two words in a title": several(
        lambda folder: folder.queries[2].update(text="ice flow"), corpus_row(2, title="Ice flow")
    ),
    "a run of one split in lines of any order": lambda folder: folder.run.reverse(),
    "equal scores above the cut-off": run_line(1, "q4 Q0 p5 2 9.5 mine"),
    "texts equal but for a word": corpus_more({"_id": "x", "title": "Note 9", "text": TEXTS[7]}),
}


@pytest.mark.parametrize("plant", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_harmless_is_not_found(tmp_path: Path, plant: Callable[[Folder], object]) -> None:
    folder = Folder()
    plant(folder)
    assert checked(folder, tmp_path).findings == ()


def test_no_finding_is_without_a_fault() -> None:
    planted = {code for code, *_ in FAULTS}
    elsewhere = {"run/tie-at-100"}  # below; held-out findings have tests of their own
    named = {f"{subject}/{code}" for subject, code in SENTENCES if subject != "held-out"}
    assert named - planted == elsewhere


def test_a_tie_at_100_is_one_of_float32(tmp_path: Path) -> None:
    scores = [200.0 - i for i in range(100)] + [101.0 - 1e-9] + [50.0]
    lines = [f"q4 Q0 d{i} {i + 1} {score!r} mine" for i, score in enumerate(scores)]
    run = tmp_path / "run.trec"
    run.write_text("\n".join(lines))
    (finding,) = check(runs=run).findings
    assert (finding.code, finding.examples[0].ids) == ("tie-at-100", ("q4",))
    run.write_text("\n".join(lines).replace(repr(101.0 - 1e-9), "100.9"))
    assert check(runs=run).findings == ()


def test_more_than_ten_are_counted_and_ten_are_shown(tmp_path: Path) -> None:
    folder = Folder()
    folder.corpus += [{"_id": f"x{i % 7}", "text": f"text {i % 5}"} for i in range(70)]
    report = checked(folder, tmp_path)
    (ids,) = found(report, "corpus/duplicate-id")
    (texts,) = found(report, "corpus/duplicate-text")
    assert (ids.count, texts.count) == (63, 65)
    assert len(ids.examples) == len(texts.examples) == 10


def test_the_lines_after_a_bad_one_are_read(tmp_path: Path) -> None:
    folder = Folder()
    for rows in (folder.corpus, folder.queries):
        rows.insert(0, "no json")  # type: ignore[arg-type]
    for lines in (*folder.qrels.values(), folder.run):
        lines.insert(1, "one")
    report = checked(folder, tmp_path)
    assert list(report.read.values()) == [12, 6, 2, 3, 2, 24]
    assert {f.code for f in report.findings} == {"unreadable-line"}
    assert len(report.findings) == 6


def test_an_ms_marco_folder_is_read_compressed_or_not(tmp_path: Path) -> None:
    collection = [f"{i}\t{text}" for i, text in enumerate(TEXTS)]
    collection.insert(5, "no tab at all")
    (tmp_path / "collection.tsv.gz").write_bytes(gzip.compress("\n".join(collection).encode()))
    for name in ("dev", "dev.small"):
        (tmp_path / f"queries.{name}.tsv").write_text(f"1\t{QUERIES[0]}\n2\t{QUERIES[1]}\n")
        (tmp_path / f"qrels.{name}.tsv").write_text("1 0 1 1\n2 0 2 1\n")
    (tmp_path / "queries.train.tsv").write_text(f"3\t{QUERIES[2]}\n")
    (tmp_path / "qrels.train.tsv").write_text("3\t0\t2\t1\n")
    report = check(tmp_path)
    assert report.read == {
        "passages": 12, "queries": 3, "judgements of dev.small": 2, "judgements of dev": 2,
        "judgements of train": 1,
    }  # fmt: skip
    codes = {(f.code, f.where.split("/")[-1]) for f in report.findings}
    assert codes >= {("unreadable-line", "collection.tsv.gz"), ("shared-positive", "train, dev")}
    assert "same-query-in-two-splits" not in {code for code, _ in codes}  # dev.small is of dev


def test_tables_and_pairs_of_questions_are_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": ["1", "2", "1"], "text": ["one", "two", "three"]})
    table.to_parquet(tmp_path / "corpus.parquet")
    table.to_csv(tmp_path / "corpus.csv", index=False)
    for name, places in (("parquet", ("row 1", "row 3")), ("csv", ("2", "4"))):
        corpus = tmp_path / f"corpus.{name}"
        (finding,) = check(corpus=corpus).findings
        assert finding.code == "duplicate-id"
        assert finding.examples[0].places == tuple(f"{corpus}:{place}" for place in places)
    pairs = tmp_path / "quora_duplicate_questions.tsv"
    pairs.write_text(
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        "0\t1\t2\thow is tea made?\thow to make tea?\t1\n"
    )
    report = check(tmp_path)
    assert list(report.read.values()) == [2, 2, 2]
    (finding,) = report.findings
    assert (finding.code, finding.count) == ("self-hit", 2)


def test_held_out_passages_are_found_in_a_corpus(tmp_path: Path) -> None:
    held_out = Folder()
    held_out.corpus += [{"_id": "x", "text": LONG}, {"_id": "unjudged", "text": LONG.upper()}]
    held_out.qrels["test"].append("q4\tx\t1")
    corpus = tmp_path / "own.jsonl"
    rows = [
        {"_id": "a", "text": "Something else. " + LONG},
        {"_id": "b", "text": TEXTS[0]},  # relevant in train only
        {"_id": "c", "text": TEXTS[9]},  # judged in dev, and not relevant
    ]
    corpus.write_text("\n".join(map(json.dumps, rows)))
    report = check(corpus=corpus, held_out=held_out.write(tmp_path / "held"))
    (finding,) = report.findings
    assert (finding.subject, finding.code) == ("held-out", "near-duplicate-passage")
    assert finding.count == 1
    assert finding.examples[0].ids == ("a", "x")
    assert "overlap 1.00" in finding.examples[0].remark


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(CUT, "unreadable-file"), (b"", "empty-file"), (b"one\n", "unreadable-line")],
)
@pytest.mark.parametrize("name", ["corpus.jsonl", "qrels/test.tsv"])
def test_a_held_out_folder_may_be_broken(
    tmp_path: Path, name: str, spoil: bytes, code: str
) -> None:
    folder = Folder()
    folder.raw[name] = spoil
    corpus = Folder().write(tmp_path / "own") / "corpus.jsonl"
    report = check(corpus=corpus, held_out=folder.write(tmp_path / "held"))
    assert code in {f.code for f in report.findings if f.subject == "held-out"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to check; give"),
        ({"folder": "/nowhere"}, "/nowhere: no such folder"),
        ({"queries": "/nowhere.tsv"}, "/nowhere.tsv: no such file"),
        ({"folder": "."}, "nothing to check in this folder"),
        ({"folder": __file__}, "expected a folder, got a file"),
        ({"queries": __file__, "held_out": "."}, "is compared with a corpus"),
    ],
)
def test_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        check(**arguments)  # type: ignore[arg-type]


# Public collections

FOLDERS = [  # medquad takes as long as all of them; others are checked by tests of their own
    "cranfield", "fever_small", "quora", "reqa_squad", "scifact", "squadshifts_amazon_reviews",
    "squadshifts_new_wiki", "squadshifts_reddit", "xquad",
]  # fmt: skip


@pytest.mark.collections
@pytest.mark.parametrize("name", FOLDERS)
def test_public_collections_are_read_without_errors(shared_data: Path, name: str) -> None:
    report = check(shared_data / name)
    lines = (shared_data / name / "corpus.jsonl").read_bytes().count(b"\n")
    assert report.read["passages"] == lines
    assert report.of("error") == []


@pytest.mark.collections
def test_msmarco_has_its_twelve_shared_positives(shared_data: Path) -> None:
    folder = shared_data / "msmarco"
    train, test = (
        {
            passage_id
            for grades in read_qrels(folder / "qrels" / f"{split}.tsv").values()
            for passage_id, grade in grades.items()
            if grade > 0
        }
        for split in ("train", "test")
    )
    report = check(folder)
    assert report.of("error") == []
    (finding,) = (f for f in found(report, "splits/shared-positive") if f.where == "train, test")
    assert finding.count == len(train & test) == 12
    assert {example.ids[0] for example in finding.examples} <= train & test


@pytest.mark.collections
def test_publications_give_their_titles_away(shared_data: Path) -> None:
    (finding,) = found(check(shared_data / "publications"), "qrels/title-leak")
    assert finding.count > 2100
    assert "99.7%" in finding.message


@pytest.mark.collections
def test_wikipedia_repeats_squad(shared_data: Path) -> None:
    """Paragraphs whose letters and digits equal those of a judged one, found independently."""

    def rows(name: str) -> list[dict[str, str]]:
        lines = (shared_data / name / "corpus.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def letters(text: str) -> str:
        return "".join(character for character in text.lower() if character.isalnum())

    judged = {
        passage_id
        for split in ("dev", "test")
        for grades in read_qrels(shared_data / "squad" / "qrels" / f"{split}.tsv").values()
        for passage_id in grades
    }
    texts = {letters(row["text"]) for row in rows("squad") if row["_id"] in judged}
    equal = sum(letters(row["text"]) in texts for row in rows("wikipedia"))
    report = check(shared_data / "wikipedia", held_out=shared_data / "squad")
    assert report.of("error") == []
    (finding,) = found(report, "held-out/near-duplicate-passage")
    assert equal == 31
    assert finding.count >= equal
