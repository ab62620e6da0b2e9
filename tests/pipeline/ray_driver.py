"""One build on a Ray cluster, in a process of its own; what came of it is printed as JSON.

python ray_driver.py SOURCE INDEX ADDRESS BLOCK [--overwrite] [--stop-after SEGMENTS]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from shortlist.errors import ShortlistError
from shortlist.models.bi_encoder import BiEncoder
from shortlist.pipeline import ray_building
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.stages import new_manifest
from shortlist.pipeline.writing import progress_bar

MODEL = "shortlist-static-v1"


def stop_after(segments: int) -> None:
    """As a Ctrl-C would, once so many segments are committed."""
    adopt = ray_building.IndexWriter.adopt
    adopted = []

    def adopt_some(writer, folder, record):  # type: ignore[no-untyped-def]
        if len(adopted) == segments:
            raise KeyboardInterrupt
        adopted.append(record.rows)
        adopt(writer, folder, record)

    ray_building.IndexWriter.adopt = adopt_some  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("index", type=Path)
    parser.add_argument("address")
    parser.add_argument("block", type=int)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--stop-after", type=int)
    given = parser.parse_args()
    ray_building.PASSAGES_PER_BLOCK = given.block
    if given.stop_after is not None:
        stop_after(given.stop_after)
    said: list[str] = []
    model = BiEncoder.load(MODEL)
    reading = Reading(given.source, model, ReadingOptions(), said.append)
    manifest = new_manifest(
        model, cross_encoder="none", preset="fast", store="float32", source=reading.described()
    )
    error = None
    try:
        with progress_bar("", None, "", False) as bar:
            ray_building.build_on_ray(
                reading,
                given.index,
                given.address,
                manifest,
                device="cpu",
                overwrite=given.overwrite,
                bar=bar,
            )
    except (ShortlistError, KeyboardInterrupt) as raised:
        error = [type(raised).__name__, str(raised)]
    print(json.dumps({"said": said, "error": error}))


if __name__ == "__main__":
    main()
