"""What a request must be before anything looks at it, and what every answer says to the browser.

A page on the web can make a visitor's browser talk to 127.0.0.1. It cannot read the answers of
another origin, unless its own name is made to stand for 127.0.0.1 after it was loaded (DNS
rebinding): then the request has that name as its Host, and is refused here.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

logger = logging.getLogger(__name__)

LARGEST_BODY = 65_536  # bytes
LONGEST_ADDRESS = 8_192
BODY_SECONDS = 10.0
LOCAL = ("127.0.0.1", "localhost", "[::1]")
OPEN = ("/healthz",)  # told to everyone who may connect
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """An ASGI application in front of another.

    Args:
        app: the other.
        hosts: names that a request may have as its Host, without the port; "*" for any.
        token: a bearer token that the API wants.
    """

    def __init__(self, app: App, *, hosts: Sequence[str] = LOCAL, token: str | None = None) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, await _with_body(scope, receive), sending)
        except _RefusedError as refused:
            if not begun:
                await _answer(sending, refused.status, str(refused))
        except Exception:
            logger.exception("a request could not be answered")
            if not begun:
                await _answer(sending, 500, "the server has failed; its log says how")

    def _check(self, scope: Scope) -> None:
        headers = {
            name.decode("latin-1").lower(): v.decode("latin-1") for name, v in scope["headers"]
        }
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise _RefusedError(414, f"the address is longer than {LONGEST_ADDRESS} bytes")
        host = _without_port(headers.get("host", ""))
        if "*" not in self.hosts and host not in self.hosts:
            raise _RefusedError(
                421, f"this server does not answer for {host[:100]!r}; see --allow-host"
            )
        if scope["path"].startswith("/api/"):
            self._check_api(headers)

    def _check_api(self, headers: Mapping[str, str]) -> None:
        if headers.get("sec-fetch-site", "same-origin") == "cross-site":
            raise _RefusedError(403, "pages of other sites may not ask here")
        if self.token is None:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), self.token.encode()
        ):
            raise _RefusedError(401, "the API wants a token: Authorization: Bearer TOKEN")


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdigit() else host.lower()).rstrip(".")


async def _with_body(scope: Scope, receive: Receive) -> Receive:
    """Read the body, as far as it is allowed to be long, in the time that is allowed."""
    if scope["method"] in ("GET", "HEAD"):
        return receive
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > LARGEST_BODY:
                    raise _RefusedError(413, f"the body is longer than {LARGEST_BODY:,} bytes")
    except TimeoutError:
        raise _RefusedError(408, f"the body did not come within {BODY_SECONDS:.0f} s") from None
    waiting = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
