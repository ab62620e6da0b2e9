"""Options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.models.onnx import PrecisionChoice
from shortlist.pipeline.schedule import DEEPEST, DEFAULT_DEPTH

IndexArgument = Annotated[Path, typer.Argument(metavar="INDEX", help="The index folder.")]
IndexOrAddress = Annotated[
    str,
    typer.Argument(
        metavar="INDEX", help="The index folder, or where it was pushed: milvus://HOST:PORT/NAME."
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A MediaWiki dump, a .jsonl, .csv, .tsv or .parquet table, a BEIR or MS MARCO folder, "
        "a folder of notes, or hf://NAMESPACE/NAME.",
    ),
]
TopK = Annotated[int, typer.Option("-k", "--top-k", help="Passages to show.")]
Depth = Annotated[int, typer.Option("--depth", help="Candidates that the cross-encoder rescores.")]
DepthOrNone = Annotated[
    int | None,
    typer.Option(
        "--depth",
        help=f"Candidates that the cross-encoder rescores: {DEFAULT_DEPTH}; with --adaptive or "
        f"--budget-ms the most of them: {DEEPEST}.",
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", help="Only among passages like: year >= 2018 and venue in ('ACL', 'EMNLP')."
    ),
]
Adaptive = Annotated[
    bool, typer.Option("--adaptive", help="Rescore until no candidate can beat the best any more.")
]
BudgetMs = Annotated[
    float | None,
    typer.Option("--budget-ms", help="Milliseconds for an answer; the depth is what they allow."),
]
CascadeKeep = Annotated[
    int | None,
    typer.Option(
        "--cascade",
        metavar="KEEP",
        help=f"A small cross-encoder scores --depth candidates ({DEEPEST}), and the large one the "
        "best KEEP of them; with --adaptive at most so many.",
    ),
]
StudentName = Annotated[
    str | None,
    typer.Option("--student", help="The small cross-encoder of --cascade, a name or a folder."),
]
NoRerank = Annotated[bool, typer.Option("--no-rerank", help="The first stage alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, torch-cpu, cuda, cuda:1, mps.", show_default=True),
]
PrecisionName = Annotated[
    PrecisionChoice,
    typer.Option(
        "--precision",
        help="float32, or int8: faster on a CPU, a little less exact; auto: int8 where it is good.",
    ),
]
PresetName = Annotated[str, typer.Option("--preset", help="Which models, by the kind of task.")]
BiEncoderName = Annotated[
    str | None, typer.Option("--bi-encoder", help="Another first stage: a name or a folder.")
]
CrossEncoderName = Annotated[
    str | None,
    typer.Option("--cross-encoder", help='Another second stage: a name, a folder, or "none".'),
]
IdField = Annotated[
    str | None, typer.Option("--id-field", help="The column of a table that holds the ids.")
]
TitleField = Annotated[str | None, typer.Option("--title-field", help="... that holds titles.")]
TextField = Annotated[str | None, typer.Option("--text-field", help="... that holds the texts.")]
PassageTokens = Annotated[
    int | None,
    typer.Option("--passage-tokens", help="Cut texts into passages shorter than the model reads."),
]
Overlap = Annotated[
    int, typer.Option("--overlap", help="Tokens that two pieces of one paragraph share.")
]
CutRecords = Annotated[
    bool | None,
    typer.Option(
        "--cut-records/--whole-records",
        help="Cut long rows of a table, too; by default only those of hf:// datasets.",
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What finds the candidates: exact, faiss, faiss-ivfpq, hnswlib, annoy, milvus, "
        "milvus://HOST:PORT, or bm25; made on first use. exact+bm25 fuses two.",
    ),
]
TargetRecall = Annotated[
    float | None,
    typer.Option(
        "--target-recall",
        help="The share of the exact candidates that an approximate engine is to find: 0.99.",
        show_default=False,
    ),
]
FuseName = Annotated[
    str,
    typer.Option("--fuse", help="How engines are fused: rrf, or weighted:0.7,0.3."),
]
GroupBy = Annotated[
    str | None, typer.Option("--group-by", help='"document": the best passage of each document.')
]
FoldDuplicates = Annotated[
    bool, typer.Option("--fold-duplicates", help="Show one of several nearly equal passages.")
]
