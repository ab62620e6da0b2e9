"""An index of notes and hostile texts, served."""

from __future__ import annotations

import pytest
from serving import passages, serving


@pytest.fixture(scope="session")
def served_index(bi_encoder, notes_index, tmp_path_factory):
    from shortlist import RetrieveRerankPipeline

    path = tmp_path_factory.mktemp("served") / "secret-folder" / "web.idx"
    path.parent.mkdir()
    RetrieveRerankPipeline.build(passages(), path, bi_encoder=bi_encoder)
    return path


@pytest.fixture(scope="session")
def server(served_index, tmp_path_factory):
    samples = tmp_path_factory.mktemp("samples") / "queries.tsv"
    samples.write_text("1\thow do plants make food?\n2\t<b>what</b> is a danger?\n")
    with serving(served_index, "--samples", str(samples)) as server:
        yield server
