"""`shortlist train`: fine-tune either stage's model on your own data, and see whether it paid."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from shortlist.cli.options import Device
from shortlist.cli.show import note, table
from shortlist.errors import UsageError
from shortlist.models.presets import MINILM

if TYPE_CHECKING:  # imported where training begins
    from shortlist.data.collections import Cutting
    from shortlist.models.bi_encoder import BiEncoder
    from shortlist.models.cross_encoder import Scorer
    from shortlist.training.card import Measured
    from shortlist.training.dev import DevSet
    from shortlist.training.groups import Group
    from shortlist.training.mining import Mining
    from shortlist.training.sources import Used
    from shortlist.training.trainer import Schedule

app = typer.Typer(
    help="Fine-tune a model on your own data.", no_args_is_help=True, add_completion=False
)

Recipe = TypeVar("Recipe", bound="Schedule")

Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE[:QUERIES]]...",
        help="BEIR, MS MARCO or Quora folders with a training split, or tables of pairs (query, "
        "positive, perhaps negatives); after a colon, how many queries to take.",
    ),
]
Unlabelled = Annotated[
    list[str] | None,
    typer.Option(
        "--unlabelled",
        metavar="SOURCE[:QUERIES]",
        help="Any collection: its titles, and sentences taken out of it, become the queries.",
    ),
]
Output = Annotated[Path, typer.Option("-o", "--output", help="The model folder to write.")]
Dev = Annotated[
    list[str] | None,
    typer.Option(
        "--dev",
        metavar="FOLDER[:QUERIES]",
        help="Folders with a dev split: training ends when it stops gaining there, and the best "
        "weights are kept and measured.",
    ),
]
HeldOut = Annotated[
    list[Path] | None,
    typer.Option("--held-out", help="More folders whose dev and test splits to avoid."),
]
LearningRate = Annotated[float | None, typer.Option("--learning-rate")]
Batch = Annotated[int | None, typer.Option("--batch", help="Queries in a step.")]
Epochs = Annotated[int | None, typer.Option("--epochs")]
WarmupSteps = Annotated[int | None, typer.Option("--warmup-steps")]
Negatives = Annotated[
    int | None, typer.Option("--negatives", help="Hard ones of each query in a step.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", help="Read in training; attention costs grow with it.")
]
EvaluateEvery = Annotated[
    int | None, typer.Option("--evaluate-every", help="Steps between two looks at --dev.")
]
Patience = Annotated[
    int | None, typer.Option("--patience", help="Looks without a gain that end it; 0: none do.")
]
MaxPassages = Annotated[
    int | None,
    typer.Option(
        "--max-passages", help="Of a collection, to mine negatives from and to measure on."
    ),
]
Ranks = Annotated[str, typer.Option("--ranks", help="Of the candidates for negatives.")]
RelativeMargin = Annotated[
    float,
    typer.Option("--relative-margin", help="A negative's similarity is below this share of the "
                 "positive's; 0: any."),
]  # fmt: skip
AbsoluteMargin = Annotated[
    float | None, typer.Option("--absolute-margin", help="... and below it by so much.")
]
FilterBy = Annotated[
    str | None,
    typer.Option("--filter", metavar="CROSS_ENCODER", help="Takes out negatives that look like "
                 "answers to it."),
]  # fmt: skip
MineWith = Annotated[
    str, typer.Option("--mine-with", metavar="BI_ENCODER", help="Whose mistakes become negatives.")
]
PresetName = Annotated[
    str | None, typer.Option("--preset", help="Keep the models under this name, for --preset.")
]
Seed = Annotated[int, typer.Option("--seed")]


@app.command("cross-encoder")
def cross_encoder(
    output: Output,
    data: Data = None,
    unlabelled: Unlabelled = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="msmarco.")] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="Model whose weights are the start.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", help="listwise, pairwise, lambda, margin-mse.")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option("--teacher", help="A cross-encoder to learn from; several: their mean."),
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", help="Keep so many, for a student.")
    ] = None,
    dev: Dev = None,
    held_out: HeldOut = None,
    bi_encoder: Annotated[
        str, typer.Option("--bi-encoder", help="The first stage in front of it.")
    ] = MINILM,
    learning_rate: LearningRate = None,
    batch: Batch = None,
    negatives: Negatives = None,
    epochs: Epochs = None,
    warmup_steps: WarmupSteps = None,
    max_tokens: MaxTokens = None,
    read_tokens: Annotated[
        int | None, typer.Option("--read-tokens", help="Of a pair, when the model is used.")
    ] = None,
    evaluate_every: EvaluateEvery = None,
    patience: Patience = None,
    max_passages: MaxPassages = 20_000,
    ranks: Ranks = "1-50",
    relative_margin: RelativeMargin = 0.95,
    absolute_margin: AbsoluteMargin = None,
    filter_by: FilterBy = None,
    preset: PresetName = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a cross-encoder with hard negatives; started again, it goes on where it was.

    With --dev the fusion with the first stage is fitted on one half of the dev
    questions and measured on the other. The folder has a model card with what
    was done and found.

    Example: shortlist train cross-encoder data/squad:2000 --dev data/squad:200 -o my-cross-encoder
    """
    from shortlist.models.cross_encoder import CrossEncoder
    from shortlist.models.registered import fusion_for, write_fusion
    from shortlist.training.card import write_card
    from shortlist.training.cross_encoder import RECIPES, CrossEncoderRecipe, train
    from shortlist.training.dev import cross_encoder_metric
    from shortlist.training.held_out import both_stages
    from shortlist.training.output import partial_of
    from shortlist.training.teacher import taught

    chosen = _recipe(
        CrossEncoderRecipe, RECIPES, recipe, init=init, loss=loss, layers=layers,
        learning_rate=learning_rate, batch=batch, negatives=negatives, epochs=epochs,
        warmup_steps=warmup_steps, max_tokens=max_tokens, read_tokens=read_tokens,
        evaluate_every=evaluate_every, patience=patience, seed=seed,
        teachers=tuple(teacher or ()),
    )  # fmt: skip
    _check_places(output, preset)
    first = _First(bi_encoder, device)
    work = partial_of(output) / "work"
    mining = _mining(ranks, relative_margin, absolute_margin, max(6, chosen.negatives))
    groups, used = _gathered(
        data, unlabelled, dev, held_out, first, work, mining,
        chosen.negatives, max_passages, filter_by, seed,
    )  # fmt: skip
    if teacher:
        groups = taught(groups, [_scorer(name, work, device) for name in teacher])
    sets = _dev_sets(dev, first, work, max_passages)
    rule = fusion_for(first.encoder.name, chosen.init)
    by = [dev.halves()[0] for dev in sets]  # on the other halves it is measured
    metric = cross_encoder_metric(by, rule, read_tokens=chosen.read_tokens) if sets else None
    key = f"{[dev.key for dev in by]} {rule}" if sets else ""
    started = _torch_device(device)
    trained = train(groups, output, chosen, dev_metric=metric, dev_key=key, device=started)
    # exported, and compared with torch
    model = CrossEncoder.load(output, precision="auto", device=device)
    rows: list[Measured] = []
    if sets:
        before = _before(chosen.init, rule, device)
        rule, rows = both_stages(sets, model, before=before)
        write_fusion(output, first.encoder.name, rule)
    write_card(
        output, output.name,
        f"A cross-encoder for reranking, trained by `shortlist train` from "
        f"{Path(chosen.init).name}; {model.max_tokens} tokens of a pair are read. "
        f"In front of it: {Path(first.encoder.name).name}.",
        chosen, used, trained, rows, device=started,
        notes=[f"The fusion rule, fitted on the other half of the questions: {asdict(rule)}."]
        if rows else [],
    )  # fmt: skip
    _finish(output, rows, preset, "asymmetric", first.encoder.name, str(output.resolve()))


@app.command("bi-encoder")
def bi_encoder(
    output: Output,
    data: Data = None,
    unlabelled: Unlabelled = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="msmarco, quora.")] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="Model whose weights are the start.")
    ] = None,
    dev: Dev = None,
    held_out: HeldOut = None,
    learning_rate: LearningRate = None,
    batch: Batch = None,
    mini_batch: Annotated[
        int | None, typer.Option("--mini-batch", help="Computed at once, for large batches.")
    ] = None,
    negatives: Negatives = None,
    positives: Annotated[
        int | None,
        typer.Option("--positives", help="At most so many of each query, drawn; 0: all."),
    ] = None,
    both_ways: Annotated[
        bool | None,
        typer.Option("--both-ways/--one-way", help="Each positive must find its query as well."),
    ] = None,
    matryoshka: Annotated[
        str | None,
        typer.Option("--matryoshka", metavar="DIMS", help="Dimensions to be good alone: 256,64."),
    ] = None,
    query_prompt: Annotated[str | None, typer.Option("--query-prompt")] = None,
    passage_prompt: Annotated[str | None, typer.Option("--passage-prompt")] = None,
    epochs: Epochs = None,
    warmup_steps: WarmupSteps = None,
    max_tokens: MaxTokens = None,
    evaluate_every: EvaluateEvery = None,
    patience: Patience = None,
    mine_with: MineWith = MINILM,
    max_passages: MaxPassages = 20_000,
    ranks: Ranks = "1-50",
    relative_margin: RelativeMargin = 0.95,
    absolute_margin: AbsoluteMargin = None,
    filter_by: FilterBy = None,
    preset: PresetName = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a bi-encoder; started again, it goes on where it was.

    Two recipes: quora for texts that say the same (symmetric), msmarco for
    short questions and passages that answer them (asymmetric).

    Example: shortlist train bi-encoder data/quora --recipe quora --dev data/quora:300 -o mine
    """
    from shortlist.models.bi_encoder import BiEncoder
    from shortlist.training.bi_encoder import RECIPES, BiEncoderRecipe, train, with_prompts
    from shortlist.training.card import write_card
    from shortlist.training.dev import bi_encoder_metric
    from shortlist.training.held_out import first_stage
    from shortlist.training.output import partial_of

    sizes = _dimensions(matryoshka) if matryoshka else None
    chosen = _recipe(
        BiEncoderRecipe, RECIPES, recipe, init=init, learning_rate=learning_rate, batch=batch,
        mini_batch=mini_batch, negatives=negatives, positives=positives, both_ways=both_ways,
        matryoshka=sizes, query_prompt=query_prompt, passage_prompt=passage_prompt, epochs=epochs,
        warmup_steps=warmup_steps, max_tokens=max_tokens, evaluate_every=evaluate_every,
        patience=patience, seed=seed,
    )  # fmt: skip
    _check_places(output, preset)
    chosen = with_prompts(chosen)
    first, start = _First(mine_with, device), _First(chosen.init, device)
    work = partial_of(output) / "work"
    mining = _mining(ranks, relative_margin, absolute_margin, max(1, chosen.negatives))
    groups, used = _gathered(
        data, unlabelled, dev, held_out, first, work, mining,
        chosen.negatives, max_passages, filter_by, seed,
    )  # fmt: skip
    sets = _dev_sets(dev, start, work, max_passages)
    by = [dev.halves()[0] for dev in sets]  # on the other halves it is measured
    prompts = (chosen.query_prompt or "", chosen.passage_prompt or "")
    metric = bi_encoder_metric(by, *prompts) if sets else None
    key = str([dev.key for dev in by]) if sets else ""
    started = _torch_device(device)
    trained = train(groups, output, chosen, dev_metric=metric, dev_key=key, device=started)
    # exported, and compared with torch
    model = BiEncoder.load(output, precision="auto", device=device)
    rows = (
        first_stage(
            _counted(dev), start.encoder, model, work, start.cutting, max_passages=max_passages
        )
        if sets
        else []
    )
    write_card(
        output, output.name,
        f"A bi-encoder trained by `shortlist train` from {Path(chosen.init).name}; embeddings of "
        f"{model.dim} dimensions.",
        chosen, used, trained, rows, device=started,
    )  # fmt: skip
    task = "symmetric" if chosen.both_ways else "asymmetric"
    _finish(output, rows, preset, task, str(output.resolve()), None)


class _First:
    """The bi-encoder, loaded when it is first needed."""

    def __init__(self, name: str, device: str) -> None:
        self._name, self.device = name, device

    @property
    def encoder(self) -> BiEncoder:
        return _loaded(self._name, self.device)

    @property
    def cutting(self) -> Cutting:
        from shortlist.data.collections import Cutting

        return Cutting(self.encoder.count_tokens, self.encoder.max_tokens)


@cache
def _loaded(name: str, device: str) -> BiEncoder:
    from shortlist.models.bi_encoder import BiEncoder

    return BiEncoder.load(name, device=device, precision="auto")


def _recipe(
    kind: Callable[[], Recipe], named: dict[str, Recipe], name: str | None, **given: Any
) -> Recipe:
    """The recipe of that name, with what was given in place of its own."""
    if name is not None and name not in named:
        raise UsageError(f"--recipe {name}: expected one of {', '.join(named)}")
    base = named[name] if name else kind()
    return replace(base, **{key: value for key, value in given.items() if value is not None})


def _mining(
    ranks: str, relative_margin: float, absolute_margin: float | None, negatives: int
) -> Mining:
    from shortlist.training.mining import Mining

    first, dash, last = ranks.partition("-")
    if not (dash and first.isdigit() and last.isdigit()):
        raise UsageError(f"--ranks {ranks}: expected FIRST-LAST, such as 1-50")
    return Mining(
        negatives=negatives,
        first_rank=int(first),
        last_rank=int(last),
        relative_margin=relative_margin or None,
        absolute_margin=absolute_margin,
    )


def _gathered(
    data: list[str] | None, unlabelled: list[str] | None, dev: list[str] | None,
    held_out: list[Path] | None, first: _First,
    work: Path, mining: Mining, negatives: int, max_passages: int | None, filter_by: str | None,
    seed: int,
) -> tuple[list[Group], list[Used]]:  # fmt: skip
    from shortlist.training.judged import read_held_out
    from shortlist.training.sources import Source, gather

    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    sources = [
        *(Source.parse(text) for text in data or []),
        *(Source.parse(text, labelled=False) for text in unlabelled or []),
    ]
    if not sources:
        raise UsageError("nothing to train on: name a folder, a table of pairs, or --unlabelled")
    folders = {s.path for s in sources if s.path.is_dir()}
    folders |= {*(held_out or []), *(folder for folder, _ in _counted(dev))}
    avoided = read_held_out(sorted(folders), first.cutting)
    return gather(
        sources, work, encoder=first.encoder, held_out=avoided, cutting=first.cutting,
        mining=mining, negatives=negatives, max_passages=max_passages,
        scorer=_scorer(filter_by, work, first.device) if filter_by else None, seed=seed,
    )  # fmt: skip


def _counted(dev: list[str] | None) -> list[tuple[Path, int | None]]:
    from shortlist.training.sources import Source

    sources = [Source.parse(text) for text in dev or []]
    return [(s.path, None if s.queries == sys.maxsize else s.queries) for s in sources]


def _dev_sets(
    dev: list[str] | None, first: _First, work: Path, max_passages: int | None
) -> list[DevSet]:
    from shortlist.training.dev import read_dev

    return [
        read_dev(
            folder, first.encoder, work, first.cutting, questions=count, max_passages=max_passages
        )
        for folder, count in _counted(dev)
    ]


def _dimensions(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise UsageError(f"--matryoshka {text}: expected dimensions, such as 256,128,64")
    return tuple(int(part) for part in parts)


def _torch_device(device: str) -> str:
    from shortlist.models.bi_encoder import choose_device

    return choose_device(device).removeprefix("torch-")


def _check_places(output: Path, preset: str | None) -> None:
    """Refuse, before anything is done, what could not be written when all is done."""
    from shortlist.models.registered import check_name
    from shortlist.training.output import refuse_to_replace

    refuse_to_replace(output.resolve())
    if preset is not None:
        check_name(preset)


def _scorer(name: str, work: Path, device: str) -> Scorer:
    """A cross-encoder whose scores are kept while the run goes on."""
    from shortlist.models.cross_encoder import CrossEncoder
    from shortlist.models.remembered import RememberedScores

    return RememberedScores(CrossEncoder.load(name, precision="auto", device=device), work)


def _before(init: str, rule: Any, device: str) -> Any:
    """The cross-encoder that the new one started from, where it was one."""
    from shortlist.errors import ModelError
    from shortlist.models.cross_encoder import CrossEncoder

    try:
        return CrossEncoder.load(init, precision="auto", device=device), rule
    except ModelError:
        return None


def _finish(
    output: Path, rows: list[Measured], name: str | None, task: Any, first: str,
    second: str | None,
) -> None:  # fmt: skip
    from shortlist.models.presets import Preset
    from shortlist.models.registered import register
    from shortlist.training.card import change_of
    from shortlist.training.output import partial_of

    if rows:
        columns = list(rows[0].values)
        lines = [
            [row.name, str(row.questions), *(f"{row.values[c]:.4f}" for c in columns),
             change_of(row.change)]
            for row in rows
        ]  # fmt: skip
        table("", ["set", "questions", *columns, f"change against {rows[0].against}"], lines)
    if name:
        made = Preset(
            name=name, task=task, bi_encoder=first, cross_encoder=second,
            note=f"trained here: {output.name}", licence="see its model card",
        )  # fmt: skip
        note(f"preset {name}: {register(made)}")
    shutil.rmtree(partial_of(output), ignore_errors=True)
    note(f"model and card: {output}")
