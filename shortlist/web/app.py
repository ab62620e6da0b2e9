"""The page and the API over one service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

import shortlist
from shortlist.errors import ServerError, UsageError
from shortlist.pipeline.pipeline import DEFAULT_TOP_K
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.web.reference import reference_page
from shortlist.web.schema import (
    DEEPEST,
    LONGEST_FILTER,
    LONGEST_QUERY,
    MOST_HITS,
    Health,
    Info,
    Problem,
    SearchRequest,
    SearchResponse,
    response_of,
)
from shortlist.web.service import Answer, BusyError, Service, StoppingError, Ticket

_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_STATIC = {
    "index.html": "/",
    "app.js": "/app.js",
    "style.css": "/style.css",
    "icon.svg": "/icon.svg",
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The question cannot be answered as it was asked",
        503: "More is waiting than can be answered in time; see Retry-After",
    }.items()
}


class _GoneError(Exception):
    """The client has left."""


def create_app(
    service: Service, *, name: str, samples: Sequence[str] = (), token: bool = False
) -> FastAPI:
    """The application.

    Args:
        service: answers; started and stopped with the application.
        name: of the index, as the page shows it.
        samples: questions to begin with.
        token: whether `Guard` wants a token, which the page then asks for.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="shortlist",
        version=shortlist.__version__,
        description=f"Semantic search in {name}.",
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    _add_files(app)
    _add_errors(app, service, name)
    _add_search(app, service)

    @app.get("/healthz")
    def healthz() -> Health:
        """Whether the server lives."""
        return Health(
            status="ok",
            passages=len(service.pipeline.index),
            waiting=service.waiting,
            answered=service.answered,
            refused=service.refused,
        )

    @app.get("/api/info")
    def info() -> Info:
        """What is searched, and with what."""
        pipeline = service.pipeline
        return Info(
            name=name,
            version=shortlist.__version__,
            passages=len(pipeline.index),
            bi_encoder=pipeline.index.manifest.model.name,
            cross_encoder=pipeline.cross_encoder_name,
            engine=pipeline.engine,
            symmetric=not pipeline.has_reranker,
            fields=pipeline.index.fields(),
            samples=list(samples),
            top_k=DEFAULT_TOP_K,
            depth=DEFAULT_DEPTH,
            budget_ms=service.budget * 1000,
            limits={
                "q": LONGEST_QUERY,
                "where": LONGEST_FILTER,
                "top_k": MOST_HITS,
                "depth": DEEPEST,
            },
            token=token,
        )

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()))

    return app


def _add_files(app: FastAPI) -> None:
    """The page's files, read once: no request names a file."""
    for file, path in _STATIC.items():
        content = files("shortlist.web").joinpath("static", file).read_bytes()
        kind = _KINDS[file.rpartition(".")[2]]

        def send(content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

        app.get(path, include_in_schema=False)(send)


def _add_errors(app: FastAPI, service: Service, name: str) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        said = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}"
            for one in error.errors()[:5]
        )
        return _problem(422, said)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(UsageError)
    async def wrong(_: Request, error: UsageError) -> Response:
        where = str(service.pipeline.index.path)
        return _problem(400, str(error).replace(where, name))  # nobody is told of folders here

    @app.exception_handler(ServerError)
    async def behind(_: Request, __: ServerError) -> Response:
        return _problem(502, "the search server behind this one does not answer")

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> Response:
        return _problem(503, str(error), {"retry-after": str(error.retry_after)})

    @app.exception_handler(StoppingError)
    async def stopping(_: Request, __: StoppingError) -> Response:
        return _problem(503, "the server is being shut down", {"retry-after": "5"})

    @app.exception_handler(_GoneError)
    async def gone(_: Request, __: _GoneError) -> Response:
        return Response(status_code=499)


def _add_search(app: FastAPI, service: Service) -> None:
    async def answered(request: Request, asked: SearchRequest) -> SearchResponse:
        ticket = service.submit(asked.q, asked.options)
        return response_of(asked.q, await _while_there(request, service, ticket, ticket.last))

    @app.post("/api/search", responses=_PROBLEMS)
    async def search(request: Request, asked: SearchRequest) -> SearchResponse:
        """The best passages for a question."""
        return await answered(request, asked)

    @app.get("/api/search", responses=_PROBLEMS)
    async def search_by_address(
        request: Request, asked: Annotated[SearchRequest, Query()]
    ) -> SearchResponse:
        """The same, for addresses that can be passed on."""
        return await answered(request, asked)

    @app.get("/api/stream", responses=_PROBLEMS, response_class=StreamingResponse)
    async def stream(request: Request, asked: Annotated[SearchRequest, Query()]) -> Response:
        """The same as server-sent events: `first` as soon as the first stage is done, then `last`.

        What goes wrong in between is told by the event `problem`.
        """
        ticket = service.submit(asked.q, asked.options)
        first = await _while_there(request, service, ticket, ticket.first)
        return StreamingResponse(
            _events(asked.q, service, ticket, first),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )


async def _events(
    query: str, service: Service, ticket: Ticket, first: Answer
) -> AsyncIterator[str]:
    try:
        if not first.final:
            yield _event("first", response_of(query, first).model_dump_json())
        last = await asyncio.shield(asyncio.wrap_future(ticket.last))
        yield _event("last", response_of(query, last).model_dump_json())
    except Exception as error:  # too late for another status
        said = str(error) if isinstance(error, UsageError) else "the server has failed"
        yield _event("problem", json.dumps({"error": said}))
    finally:
        service.leave(ticket) if not ticket.last.done() else None


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


async def _while_there(
    request: Request, service: Service, ticket: Ticket, wanted: Future[Answer]
) -> Answer:
    """Wait for an answer as long as the client does."""
    coming = asyncio.ensure_future(asyncio.shield(asyncio.wrap_future(wanted)))
    began = time.monotonic()
    try:
        while not coming.done():
            await asyncio.wait([coming], timeout=0.25)
            if not coming.done() and await request.is_disconnected():
                raise _GoneError
            if time.monotonic() - began > 2 * service.budget:
                raise BusyError(1)
        return coming.result()
    finally:
        if not coming.done():
            coming.cancel()
            service.leave(ticket)


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status_code=status, headers=headers)
