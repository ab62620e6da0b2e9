"""The shape of the package: its public names, its layers, and how little importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import shortlist
from shortlist import RetrieveRerankPipeline

PACKAGE = Path(shortlist.__file__).parent

# Each layer may import those before it; siblings on one level never import each other.
LEVELS = [
    {"records", "errors"},
    {"data", "models", "evaluation"},
    {"pipeline"},
    {"training"},
    {"web"},
    {"cli"},  # `shortlist serve` starts the server
]
LEVEL_OF = {name: number for number, names in enumerate(LEVELS) for name in names}
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "datasets",
    "onnx",
    "pandas",
    "sklearn",
    "scipy",
}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def imports(path, *, at_import_time=False):
    """Names of imported modules; with `at_import_time`, only those outside of functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if at_import_time:
        nodes = [n for top in tree.body if not isinstance(top, ast.If) for n in [top]]
        nodes += [
            n
            for top in tree.body
            if isinstance(top, ast.If) and "TYPE_CHECKING" not in ast.unparse(top.test)
            for n in top.body
        ]
    else:
        nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [alias.name for alias in node.names]
            if node.module == "shortlist":  # a public name, or a part of the package
                yield from (shortlist._HOME.get(name, f"shortlist.{name}") for name in names)
            else:
                yield node.module


def layer(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "shortlist" and len(parts) > 1 else None


def test_no_import_climbs():
    wrong = []
    for path in modules():
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own == "__init__" or path.relative_to(PACKAGE).parts == ("evaluation", "__main__.py"):
            continue  # the second only starts the script in cli/datasets.py
        for module in imports(path):
            other = layer(module)
            if other in (None, own, "__version__"):
                continue
            if LEVEL_OF[other] >= LEVEL_OF[own] and other not in LEVELS[0]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong


def test_every_part_of_the_package_has_a_level():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert parts - {"__init__"} <= set(LEVEL_OF)


def test_heavy_libraries_are_imported_inside_functions():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in modules()
        for module in imports(path, at_import_time=True)
        if module.split(".")[0] in HEAVY
    ]
    assert not wrong


def test_no_module_is_a_dumping_ground():
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not [path for path in modules() if path.stem in banned]


def loaded_after(code):
    """Which heavy libraries a fresh interpreter has loaded after running `code`."""
    report = f"{code}\nimport sys\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "code",
    [
        "import shortlist",
        "import importlib, shortlist.cli.__main__ as cli\n"
        "for verb in cli.VERBS.values():\n"
        "    importlib.import_module('shortlist.cli.' + verb.partition(':')[0])",
        "from shortlist import RetrieveRerankPipeline, BiEncoder, CrossEncoder, exact_top_k",
    ],
)
def test_importing_loads_nothing_heavy(code):
    assert loaded_after(code) == []


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_searching_loads_neither_torch_nor_sentence_transformers(notes_index, precision):
    RetrieveRerankPipeline.open(notes_index, precision=precision).search("exports both models")
    code = (
        "from shortlist import RetrieveRerankPipeline\n"
        f"pipeline = RetrieveRerankPipeline.open({str(notes_index)!r}, precision={precision!r})\n"
        "hits = pipeline.search('how do plants make food?', adaptive=True, budget_ms=60_000)\n"
        "assert hits[0].rerank_score is not None"
    )
    assert loaded_after(code) == []


def test_neither_does_a_search_with_an_int8_copy():
    code = (
        "import numpy as np\n"
        "from shortlist import ExactSearch, semantic_search\n"
        "rows = np.random.default_rng(0).normal(size=(5000, 64)).astype('f4')\n"
        "search = ExactSearch(rows, integers=True)\n"
        "search.search(rows[:3], 5)\n"
        "assert search.is_rounded\n"
        "assert semantic_search(rows[:3], rows)[1][0]['corpus_id'] == 1"
    )
    assert loaded_after(code) == ["onnx"]  # that made the graph of the product


def test_public_names():
    assert shortlist.__all__ == [
        "__version__",
        "BiEncoder",
        "CrossEncoder",
        "ExactSearch",
        "FunctionEncoder",
        "Hit",
        "Passage",
        "Query",
        "RetrieveRerankPipeline",
        "ShortlistError",
        "exact_top_k",
        "read_passages",
        "semantic_search",
    ]
    for name in shortlist.__all__:
        assert getattr(shortlist, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        shortlist.nothing  # noqa: B018
