"""`datasets.load_dataset` sources -> rows: from the hub, streamed, or from a folder.

``hf://wikimedia/wikipedia/20231101.simple`` is a dataset and its configuration,
``hf://squad:validation`` names a split, ``hf:///data/my-dataset`` is a folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shortlist.data.ledger import Ledger
from shortlist.data.rows import Row
from shortlist.errors import DataError

PREFIX = "hf://"


@dataclass(frozen=True, slots=True)
class HubSource:
    """What an ``hf://`` address names."""

    name: str
    config: str | None = None
    split: str | None = None
    is_local: bool = False

    @classmethod
    def parse(cls, address: str) -> HubSource:
        """Read an address; DataError for one that names nothing.

        >>> HubSource.parse("hf://wikimedia/wikipedia/20231101.simple:train")  # doctest: +ELLIPSIS
        HubSource(name='wikimedia/wikipedia', config='20231101.simple', split='train', ...)
        """
        rest = address.removeprefix(PREFIX)
        rest, _, split = rest.partition(":")
        if rest.startswith(("/", ".", "~")):
            return cls(str(Path(rest).expanduser()), None, split or None, is_local=True)
        parts = rest.split("/")
        if not 1 <= len(parts) <= 3 or not all(parts):
            raise DataError(
                f"{address}: expected hf://NAMESPACE/NAME[/CONFIG][:SPLIT], or hf:///FOLDER"
            )
        if Path("/".join(parts[:2])).exists():  # the library would read it instead of the hub
            raise DataError(f"{address}: there is a folder of that name here; is hf://./... meant?")
        config = parts[2] if len(parts) == 3 else None
        return cls("/".join(parts[:2]), config, split or None)


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `Dataset.save_to_disk`."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def read_dataset(source: HubSource, ledger: Ledger) -> Iterator[Row]:
    """Stream the rows of one split: the one that was named, else `train`, else the only one.

    Splits that are left out although none was named are warned of in the ledger. Raises DataError
    where there is no such dataset or split, or it cannot be read.
    """
    for number, values in enumerate(_opened(source, ledger), 1):
        yield Row(f"{source.name}:row {number}", values)


def _opened(source: HubSource, ledger: Ledger) -> Iterator[dict[str, Any]]:
    # The library has no common error class: whatever it raises is about this dataset.
    try:
        found = _load(source)
        names = list(map(str, found))
        split = _split(source, names)
        if source.split is None and len(names) > 1:
            left = ", ".join(name for name in names if name != split)
            ledger.warn(f"{source.name}: read the split {split}, left out {left}; :NAME names one")
        yield from found[split]
    except DataError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:300] or type(error).__name__
        offline = "; HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else ""
        message = f"{source.name}: the dataset cannot be read ({what}){offline}"
        raise DataError(message) from error


def _split(source: HubSource, names: list[str]) -> str:
    split = source.split or ("train" if "train" in names else names[0])
    if split not in names or (source.split is None and split != "train" and len(names) > 1):
        raise DataError(
            f"{source.name}: expected one of the splits {', '.join(names)} after a colon, got "
            f"{source.split or 'none'}"
        )
    return split


def _load(source: HubSource) -> Any:
    import datasets

    datasets.disable_progress_bars()
    folder = Path(source.name)
    if folder.is_dir() and is_saved_dataset(folder):
        saved = datasets.load_from_disk(source.name).with_format(None)  # plain Python values
        return saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
    return datasets.load_dataset(source.name, source.config, streaming=True)
