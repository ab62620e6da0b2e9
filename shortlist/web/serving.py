"""The application on a socket."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from shortlist.errors import UsageError
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.web.app import create_app
from shortlist.web.guards import LOCAL, Guard
from shortlist.web.patience import PatientProtocol
from shortlist.web.service import Service

MOST_CONNECTIONS = 512
LARGEST_HEADERS = 16_384  # bytes


def run(
    pipeline: RetrieveRerankPipeline,
    *,
    name: str,
    host: str,
    port: int,
    hosts: Sequence[str],
    token: str | None,
    budget: float,
    most_waiting: int,
    samples: Sequence[str],
    on_ready: Callable[[str], object],
) -> None:
    """Serve until a signal ends it; what was accepted is still answered.

    Raises:
        UsageError: the address cannot be listened on.
    """
    service = Service(pipeline, budget=budget, most_waiting=most_waiting)
    app = create_app(service, name=name, samples=samples, token=token is not None)
    listening = _listening(host, port)
    own = f"[{host}]" if ":" in host else host
    guard: Any = Guard(app, hosts=[*LOCAL, own, *hosts], token=token)
    config = uvicorn.Config(
        guard,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LARGEST_HEADERS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(budget) + 5,
        http=PatientProtocol,
        ws="none",
    )
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: None)  # uvicorn ends in its own way and raises them again
    with listening:
        on_ready(f"http://{own}:{listening.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}; try --port 0") from error
    return listening
