"""shortlist: semantic search in two stages, on your own texts, on your own machine.

A bi-encoder makes the shortlist, a cross-encoder picks the winners::

    from shortlist import RetrieveRerankPipeline

    pipeline = RetrieveRerankPipeline.build(["Plants make food from light.", ...], "notes.idx")
    hits = pipeline.search("how do plants make food?", top_k=5)

The public names are imported when they are first used, so that importing the package costs next to
nothing and never imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shortlist.errors import ShortlistError as ShortlistError
    from shortlist.models.bi_encoder import BiEncoder as BiEncoder
    from shortlist.models.cross_encoder import CrossEncoder as CrossEncoder
    from shortlist.models.encoders import FunctionEncoder as FunctionEncoder
    from shortlist.pipeline.exact.search import ExactSearch as ExactSearch
    from shortlist.pipeline.pipeline import RetrieveRerankPipeline as RetrieveRerankPipeline
    from shortlist.pipeline.reading import read_passages as read_passages
    from shortlist.pipeline.semantic_search import semantic_search as semantic_search
    from shortlist.pipeline.topk import exact_top_k as exact_top_k
    from shortlist.records import Hit as Hit
    from shortlist.records import Passage as Passage
    from shortlist.records import Query as Query

__version__ = "0.1.0"

_HOME = {
    "BiEncoder": "shortlist.models.bi_encoder",
    "CrossEncoder": "shortlist.models.cross_encoder",
    "ExactSearch": "shortlist.pipeline.exact.search",
    "FunctionEncoder": "shortlist.models.encoders",
    "Hit": "shortlist.records",
    "Passage": "shortlist.records",
    "Query": "shortlist.records",
    "RetrieveRerankPipeline": "shortlist.pipeline.pipeline",
    "ShortlistError": "shortlist.errors",
    "exact_top_k": "shortlist.pipeline.topk",
    "read_passages": "shortlist.pipeline.reading",
    "semantic_search": "shortlist.pipeline.semantic_search",
}
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'shortlist' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
