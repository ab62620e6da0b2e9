"""A connection to Milvus: a server by its address, or Milvus Lite over a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from shortlist.errors import MissingExtraError, ServerError, UsageError

TOKEN = "MILVUS_TOKEN"  # noqa: S105 - the name of the variable that has it
EXTRA = "milvus"
PORT = 19530
CONNECT_SECONDS = 10.0
# The client would ping every ten seconds, and Milvus Lite hangs up on who does so, with a message
_SELDOM_PINGED = {
    "grpc.keepalive_time_ms": 330_000,
    "grpc.keepalive_permit_without_calls": False,
}


def is_server(name: str) -> bool:
    """Whether a name is the address of a server, such as ``milvus://host:19530``."""
    return "://" in name


def server_address(name: str) -> tuple[str, str]:
    """The address that the client wants, and the collection that is named behind it, or "".

    Raises:
        UsageError: another scheme, or a password in the address.
    """
    parts = urlsplit(name)
    try:
        port = parts.port or PORT
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    if parts.scheme not in ("milvus", "http", "https") or not parts.hostname:
        raise UsageError(
            f"{name} is no address of a Milvus server; expected milvus://HOST:{PORT}, or https://..."
        )
    if parts.username or parts.password or parts.query:
        raise UsageError(
            f"{parts.scheme}://{parts.hostname}: leave user, password and options out of the "
            f"address, where others can read them; put USER:PASSWORD or a token in {TOKEN}"
        )
    scheme = "https" if parts.scheme == "https" else "http"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{port}", parts.path.strip("/")


def require_milvus() -> None:
    """Raise MissingExtraError where the client is not installed."""
    if not find_spec("pymilvus"):
        raise MissingExtraError(f"Milvus needs an extra: pip install 'shortlist[{EXTRA}]'")


def connected(address: str) -> Any:
    """A client of a server (its address), or of Milvus Lite (a path).

    Raises:
        ServerError: it cannot be reached.
        MissingExtraError: no pymilvus.
    """
    require_milvus()
    import logging

    from pymilvus import MilvusClient

    for name in ("pymilvus", "grpc._server"):  # what they log they raise as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    token = os.environ.get(TOKEN, "") if is_server(address) else ""
    with errors_of(address):
        return MilvusClient(
            address,
            token=token,
            timeout=CONNECT_SECONDS,
            dedicated=True,
            grpc_options=_SELDOM_PINGED,
        )


@contextmanager
def errors_of(address: str) -> Iterator[None]:
    """Raise what goes wrong at a server as `ServerError`."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        what = getattr(error, "message", None) or str(error)
        raise ServerError(
            f"Milvus at {address}: {' '.join(str(what).split())[:300]}; is the server running, and "
            f"is {TOKEN} set if it wants one?"
        ) from error
