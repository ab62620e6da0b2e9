"""How shortlist-static-v1 was made: all-MiniLM-L6-v2 distilled into a table of token vectors.

model2vec's distillation needs older transformers than shortlist runs with, so it has an environment
of its own, and the teacher (`resolve("all-MiniLM-L6-v2").path` of `shortlist.models.loading`) is
given by its folder. It takes a minute on two cores, and twice it gave the same bytes.

    python -m venv distill
    distill/bin/pip install 'model2vec[distill]==0.10.0'
    distill/bin/python benchmarks/training/static_v1.py TEACHER_FOLDER OUTPUT_FOLDER

No text is read. Each of the 29,525 tokens of the vocabulary goes through the teacher alone;
principal components keep 256 of 384 dimensions; each vector is weighted by how rare its token is,
estimated from its place in the vocabulary (smooth inverse frequency, Arora et al. 2017, with a
coefficient of 1e-4). The table is kept in float16.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from model2vec.distill import distill

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    model = distill(
        model_name=str(options.teacher),
        pca_dims=256,
        sif_coefficient=1e-4,
        quantize_to="float16",
        device="cpu",
    )
    model.save_pretrained(options.output)
    (options.output / "README.md").unlink()  # a card of ours stands in its place
    config = options.output / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings["tokenizer_name"] = TEACHER  # and not where it lay on this machine
    config.write_text(json.dumps(settings, indent=4) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
