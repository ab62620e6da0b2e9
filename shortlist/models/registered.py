"""Presets of the user's own, beside those of the package: one JSON file in the user's settings.

Each names a bi-encoder and a cross-encoder, by name or folder, as `shortlist train --preset`
writes it. The fusion fitted for a cross-encoder lies in its folder, `fusion.json`, so that it is
used wherever that model is, preset or not.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

from shortlist.errors import ModelError, UsageError
from shortlist.models.loading import BUNDLED
from shortlist.models.presets import PRESETS, Fusion, Preset

FUSION = "fusion.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEPT = ("name", "task", "bi_encoder", "cross_encoder", "note", "licence", "query_prompt",
         "passage_prompt")  # fmt: skip


def settings_folder() -> Path:
    """Where they are: `$SHORTLIST_CONFIG`, or shortlist/ in the user's settings."""
    if chosen := os.environ.get("SHORTLIST_CONFIG"):
        return Path(chosen)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "shortlist"


def registered() -> dict[str, Preset]:
    """The user's presets by name.

    Raises:
        ModelError: the file is not what `register` writes.
    """
    file = settings_folder() / "presets.json"
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return {row["name"]: Preset(**{name: row[name] for name in _KEPT}) for row in rows}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ModelError(
            f"{file} does not hold presets ({error}); mend it, or delete it and register them again"
        ) from error


def known_presets() -> dict[str, Preset]:
    """Those of the package, then the user's."""
    return {**PRESETS, **registered()}


def register(preset: Preset) -> Path:
    """Keep a preset under its name; one of the user's that has the name is replaced.

    Raises:
        UsageError: see `check_name`.
    """
    check_name(preset.name)
    rows = registered() | {preset.name: preset}
    folder = settings_folder()
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"presets.{os.getpid()}.draft"
    kept = [{name: getattr(row, name) for name in _KEPT} for row in rows.values()]
    draft.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    draft.replace(folder / "presets.json")
    return folder / "presets.json"


def check_name(name: str) -> None:
    """Refuse a name that `register` would refuse.

    Raises:
        UsageError: the name is one of the package's, or has other characters than letters, digits,
            dot, dash and underscore.
    """
    if name in PRESETS:
        raise UsageError(f"{name} is a preset of the package; choose another name")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a preset's name is made of letters, digits, dot, dash and underscore (got {name!r})"
        )


def preset(name: str) -> Preset:
    """The preset of that name, of the package or of the user.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    known = known_presets()
    if name not in known:
        there = "; ".join(f"{p.name} ({p.task}: {p.note})" for p in known.values())
        raise UsageError(f"unknown preset {name!r}; choose one of: {there}")
    return known[name]


def languages_of(bi_encoder: str) -> frozenset[str]:
    """The languages that a bi-encoder was trained on; empty where the table does not know."""
    rows = (row for row in PRESETS.values() if row.bi_encoder == bi_encoder)
    return next((row.languages for row in rows), frozenset())


def write_fusion(folder: Path, bi_encoder: str, fusion: Fusion) -> None:
    """Keep, in a cross-encoder's folder, the rule that was fitted for it behind a bi-encoder."""
    record = {"bi_encoder": bi_encoder, "fusion": asdict(fusion)}
    (folder / FUSION).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def fusion_for(bi_encoder: str, cross_encoder: str) -> Fusion:
    """The fusion fitted for two models; for a pair that none was fitted for, the logit alone.

    Raises:
        ModelError: the cross-encoder's folder has a file of one that cannot be read.
    """
    for row in PRESETS.values():
        if (row.bi_encoder, row.cross_encoder) == (bi_encoder, cross_encoder):
            return row.fusion
    bundled = BUNDLED / cross_encoder
    file = (bundled if bundled.is_dir() else Path(cross_encoder)) / FUSION
    if not file.is_file():
        return Fusion()
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        rule = Fusion(**record["fusion"])
        return rule if record["bi_encoder"] == bi_encoder else Fusion()
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{file} does not hold a fusion rule ({error}); delete it to go by the logit alone"
        ) from error
