"""The model card that a run writes: what the model is, what made it, and whether it paid."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shortlist.evaluation.significance import Interval
from shortlist.training.sources import Used
from shortlist.training.trainer import Schedule, Trained

_LIBRARIES = ("shortlist", "sentence-transformers", "transformers", "torch")


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the held-out table."""

    name: str
    questions: int
    judged: int  # questions of the split
    measure: str
    values: dict[str, float]  # column -> mean
    change: Interval  # of the last column against the one named
    against: str


def write_card(
    folder: Path,
    title: str,
    what: str,
    recipe: Schedule,
    used: Sequence[Used],
    trained: Trained,
    table: Sequence[Measured],
    *,
    notes: Sequence[str] = (),
    device: str = "cpu",
) -> Path:
    """Write README.md into a model's folder."""
    parts = [
        f"# {title}",
        what,
        "## Data",
        _data(used),
        "## Recipe",
        _recipe(recipe),
        "## Run",
        _run(trained, device),
        "## Held out",
        _table(table),
        *notes,
    ]
    file = folder / "README.md"
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return file


def _data(used: Sequence[Used]) -> str:
    kinds = {
        "judged": "judged questions",
        "pairs": "pairs as given",
        "unlabelled": "titles and sentences of its own, without labels",
    }
    rows = [f"| {u.name} | {kinds[u.kind]} | {u.groups:,} | {u.licence} |" for u in used]
    return "\n".join(["| collection | from | queries | licence |", "|---|---|---|---|", *rows])


def _recipe(recipe: Schedule) -> str:
    rows = [f"| {name} | {_shown(value)} |" for name, value in sorted(asdict(recipe).items())]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    # a folder's own place on the machine is nobody's business
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)


def _run(trained: Trained, device: str) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    tenth = max(1, len(trained.losses) // 10)
    first, last = trained.losses[:tenth], trained.losses[-tenth:]
    lines = [
        f"- {datetime.now(UTC):%Y-%m-%d}; {trained.steps:,} steps; the last start of the run took "
        f"{trained.seconds / 60:.0f} minutes on {device} ({platform.machine()})",
        f"- {libraries}, Python {platform.python_version()}",
        f"- loss, mean of the first and the last tenth of the steps: "
        f"{sum(first) / len(first):.4f} → {sum(last) / len(last):.4f}",
    ]
    if trained.dev:
        looks = ", ".join(f"{step}: {value:.4f}" for step, value in trained.dev)
        lines.append(f"- dev metric by step: {looks}; the weights are those of the best look")
    return "\n".join(lines)


def _table(table: Sequence[Measured]) -> str:
    if not table:
        return "Nothing was measured: no dev split was named (`--dev`)."
    columns = list(table[0].values)
    measure, against = table[0].measure, table[0].against
    head = ["set", "questions", *columns, f"change against {against} (95 %)"]
    lines = [
        f"{measure}, on the half of a seeded sample of the questions that nothing was chosen by; "
        "intervals are of a paired bootstrap. Of large collections only some passages were "
        "searched (`--max-passages`).\n",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for row in table:
        cells = [f"{row.values[column]:.4f}" for column in columns]
        lines.append(
            f"| {row.name} | {row.questions} of {row.judged} | {' | '.join(cells)} | "
            f"{change_of(row.change)} |"
        )
    return "\n".join(lines)


def change_of(interval: Interval) -> str:
    """A relative change with its interval, such as "+4.1% (+1.0% to +7.3%)"."""
    if interval.relative is None:
        return f"{interval.mean_difference:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
    if interval.relative_low is None or interval.relative_high is None:
        return f"{interval.relative:+.1%}"
    return (
        f"{interval.relative:+.1%} ({interval.relative_low:+.1%} to {interval.relative_high:+.1%})"
    )
