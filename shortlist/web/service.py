"""Questions of many clients, answered by one pipeline: queued, batched, within their time.

Two threads work. The first encodes and retrieves whatever is waiting, together, in milliseconds, so
that something can be shown at once; the second rescores in the order of arrival. A question is
accepted only if it can be answered within its time by what those before it will take; otherwise the
client is told at once when to come again. Whoever has left is not answered.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from shortlist.errors import IndexFolderError, ServerError, ShortlistError
from shortlist.pipeline.highlight import Span, highlights
from shortlist.pipeline.pipeline import DEFAULT_TOP_K, RetrieveRerankPipeline
from shortlist.pipeline.retrieved import Retrieved, joined, parted
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.records import Hit

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 10.0
MOST_WAITING = 64
ENCODED_TOGETHER = 32
RESCORED_TOGETHER = 4  # more make the first of them wait, and gain nothing
_LOOK_FOR_CHANGES = 1.0  # seconds between two looks at the index
_FIRST_GUESS = 0.02  # seconds that a candidate takes, before any was rescored
_LEARNING = 0.2  # the share of the last measurement in what a candidate is taken to need
_MARGIN = 0.8  # of a budget, that is given away: estimates are wrong


class BusyError(Exception):
    """More is waiting than can be answered in time; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy; try again in {retry_after} s")
        self.retry_after = retry_after


class StoppingError(Exception):
    """The server is being shut down."""


@dataclass(frozen=True)
class Options:
    """How a question is to be answered; questions of the same options are answered together."""

    top_k: int = DEFAULT_TOP_K
    depth: int = DEFAULT_DEPTH
    rerank: bool = True
    where: str | None = None
    adaptive: bool = False
    group_by: str | None = None
    fold_duplicates: bool = False


@dataclass(frozen=True)
class Answer:
    """What a client is told.

    Attributes:
        hits: the passages, best first.
        spans: the best sentence of each hit; empty where none was looked for.
        final: whether there is nothing more to come.
        reranked: whether the cross-encoder has looked.
        answered: whether the first hit is a good answer; None where nobody knows (yet).
        seconds: what took how long: "wait", "encode", "retrieve", "rerank", "total".
    """

    hits: Sequence[Hit]
    spans: Sequence[Span | None]
    final: bool
    reranked: bool
    seconds: dict[str, float]
    answered: bool | None = None


@dataclass(eq=False)
class Ticket:
    """A question that was accepted.

    Attributes:
        first: what the first stage says.
        last: the answer.
        gone: set when nobody waits for it any more.
    """

    text: str
    options: Options
    cost: float  # candidates, and as many as the first stage takes
    accepted: float
    first: Future[Answer] = field(default_factory=Future)
    last: Future[Answer] = field(default_factory=Future)
    gone: bool = False
    retrieved: Retrieved | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def refuse(self, error: BaseException) -> None:
        """End it with an error."""
        for future in (self.first, self.last):
            if not future.done():
                future.set_exception(error)


class Service:
    """A pipeline at the service of many.

    Args:
        pipeline: what answers. It is refreshed when its index has changed.
        budget: seconds within which every accepted question is answered.
        most_waiting: questions that are accepted and not answered yet.
    """

    def __init__(
        self,
        pipeline: RetrieveRerankPipeline,
        *,
        budget: float = BUDGET_SECONDS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.pipeline = pipeline
        self.budget = budget
        self.most_waiting = most_waiting
        self.answered = 0
        self.refused = 0
        self._changes = Condition()
        self._to_retrieve: deque[Ticket] = deque()
        self._to_rescore: deque[Ticket] = deque()
        self._open: set[Ticket] = set()
        self._per_candidate = _FIRST_GUESS
        self._looked = time.monotonic()
        self._stopping = False
        self._threads = [
            Thread(target=self._work, args=(queue, work, most), name=f"shortlist-{name}")
            for name, queue, work, most in (
                ("retrieve", self._to_retrieve, self._retrieve, ENCODED_TOGETHER),
                ("rescore", self._to_rescore, self._rescore, RESCORED_TOGETHER),
            )
        ]

    # --- from the outside

    def start(self) -> None:
        """Load the models and begin to work."""
        self.pipeline.search("warm up", top_k=1, depth=1)
        for thread in self._threads:
            thread.start()

    def submit(self, text: str, options: Options) -> Ticket:
        """Accept a question.

        Raises:
            BusyError: it could not be answered in time.
            StoppingError: nothing is accepted any more.
        """
        reranks = options.rerank and self.pipeline.has_reranker
        ticket = Ticket(text, options, 1.0 + (options.depth if reranks else 0), time.perf_counter())
        with self._changes:
            if self._stopping:
                raise StoppingError
            wait = self._seconds_for(sum(one.cost for one in self._open if not one.gone))
            most = self.budget * _MARGIN - self._seconds_for(ticket.cost)
            if len(self._open) >= self.most_waiting or (self._open and wait > most):
                self.refused += 1
                raise BusyError(max(1, math.ceil(wait - max(most, 0) / 2)))
            self._open.add(ticket)
            self._to_retrieve.append(ticket)
            self._changes.notify_all()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Nobody waits for a question any more."""
        ticket.gone = True

    @property
    def waiting(self) -> int:
        """Questions that are accepted and not answered."""
        return len(self._open)

    def stop(self) -> None:
        """Answer what was accepted, and end."""
        with self._changes:
            self._stopping = True
            self._changes.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    # --- in the threads

    def _work(self, queue: deque[Ticket], work: Any, most: int) -> None:
        while True:
            with self._changes:
                while not queue:
                    if self._stopping and not self._open:
                        return
                    self._changes.wait(1.0)
                tickets = self._taken(queue, most)
            try:
                if tickets:
                    work(tickets)
            except ShortlistError as error:
                self._end(tickets, error)
            except Exception as error:
                logger.exception("a question could not be answered")
                self._end(tickets, error)

    def _taken(self, queue: deque[Ticket], most: int) -> list[Ticket]:
        """The next questions that can be answered together."""
        tickets: list[Ticket] = []
        while queue and len(tickets) < most:
            if queue[0].gone:
                self._close(queue.popleft())
            elif not tickets or _go_together(queue[0], tickets[0]):
                tickets.append(queue.popleft())
            else:
                break
        return tickets

    def _retrieve(self, tickets: list[Ticket]) -> None:
        self._look_for_changes()
        began, options = time.perf_counter(), tickets[0].options
        seconds: dict[str, float] = {}
        retrieved = self.pipeline.retrieve(
            [ticket.text for ticket in tickets],
            top_k=options.top_k,
            depth=options.depth,
            rerank=options.rerank and self.pipeline.has_reranker,
            where=options.where,
            adaptive=options.adaptive,
            group_by=options.group_by,
            fold_duplicates=options.fold_duplicates,
            on_stage=seconds.__setitem__,
        )
        final = retrieved.effort is None
        answers = (self.pipeline.answers if final else self.pipeline.first_answers)(retrieved)
        for ticket, part, hits in zip(tickets, parted(retrieved), answers, strict=True):
            ticket.retrieved = part
            ticket.seconds = {"wait": began - ticket.accepted, **seconds}
            answered = self.pipeline.is_answered(hits) if final else None
            answer = Answer(hits, [], final, False, _until_now(ticket), answered)
            ticket.first.set_result(answer)
            if final:
                ticket.last.set_result(answer)
        with self._changes:
            if final:
                for ticket in tickets:
                    self._close(ticket)
            else:
                self._to_rescore.extend(tickets)
            self._changes.notify_all()

    def _rescore(self, tickets: list[Ticket]) -> None:
        began = time.perf_counter()
        late = [one for one in tickets if began + self._seconds_for(one.cost) > self._end_of(one)]
        tickets = [one for one in tickets if one not in late]
        for ticket in late:  # estimates were wrong: better the first stage's answer than none
            hits = ticket.first.result().hits
            ticket.last.set_result(Answer(hits, [], True, False, _until_now(ticket)))
        if tickets:
            answers = self.pipeline.answers(joined([one.retrieved for one in tickets]))  # type: ignore[misc]
            for ticket, hits in zip(tickets, answers, strict=True):
                spans = highlights(self.pipeline.cross_encoder, ticket.text, hits)
                ticket.seconds["rerank"] = time.perf_counter() - began
                answered = self.pipeline.is_answered(hits)
                ticket.last.set_result(
                    Answer(hits, spans, True, True, _until_now(ticket), answered)
                )
            self._learn(sum(one.cost for one in tickets), time.perf_counter() - began)
        with self._changes:
            for ticket in [*late, *tickets]:
                self._close(ticket)

    def _look_for_changes(self) -> None:
        if time.monotonic() - self._looked < _LOOK_FOR_CHANGES:
            return
        self._looked = time.monotonic()
        try:
            if self.pipeline.refresh():
                logger.info("the index has changed: %s passages now", len(self.pipeline.index))
        except (IndexFolderError, ServerError) as error:  # it is being made anew, perhaps
            logger.warning("the index cannot be read again, the old state is searched: %s", error)

    def _learn(self, candidates: float, seconds: float) -> None:
        self._per_candidate += _LEARNING * (seconds / candidates - self._per_candidate)

    def _seconds_for(self, candidates: float) -> float:
        return candidates * self._per_candidate

    def _end_of(self, ticket: Ticket) -> float:
        return ticket.accepted + self.budget

    def _close(self, ticket: Ticket) -> None:
        self._open.discard(ticket)
        if ticket.gone:
            ticket.first.cancel()
            ticket.last.cancel()
        else:
            self.answered += 1

    def _end(self, tickets: Sequence[Ticket], error: Exception) -> None:
        for ticket in tickets:
            ticket.refuse(error)
        with self._changes:
            for ticket in tickets:
                self._open.discard(ticket)


def _go_together(one: Ticket, other: Ticket) -> bool:
    if one.options != other.options:
        return False
    if one.retrieved is None or other.retrieved is None:
        return True
    return one.retrieved.among.index is other.retrieved.among.index


def _until_now(ticket: Ticket) -> dict[str, float]:
    return {**ticket.seconds, "total": time.perf_counter() - ticket.accepted}
