"""The one thread that owns the engines, and what it hands to the event loop.

The event loop never waits for it: both sides leave messages. What happens in an engine's step
reaches the loop as one message, the words of quick steps together, and what a slow reader has not
taken yet is taken together. A client that goes away costs at most the step that is running.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from parrotlet.chat.answer import Answer, AnswerLoop
from parrotlet.chat.pieces import Finish, Piece
from parrotlet.core.log import get_logger
from parrotlet.engine.engine import Engine
from parrotlet.serve.errors import ApiError

T = TypeVar("T")
News = tuple[int, list[Piece]] | Exception | None  # None: an answer has begun
STOPPED = "the engine has stopped"
GATHER = 0.03  # seconds: words that follow on others wait so long for more, as eyes do not see
PATIENCE = 1.0  # seconds between two looks at whether the thread still runs
log = get_logger("serve")


class Ticket:
    """The answers to one HTTP request, on their way to it. Used on the event loop alone."""

    def __init__(self, lane: Lane, answers: Sequence[Answer]) -> None:
        self.lane = lane
        self.answers = answers
        self.unfinished = len(answers)
        self.begun = False  # an answer has a slot
        self._pieces: list[tuple[int, Piece]] = []
        self._error: Exception | None = None
        self._news = asyncio.Event()

    def put(self, news: News) -> None:
        """From the worker: pieces of an answer, an error that ends all of them, or None: begun."""
        self.begun = True
        if self._error is not None:  # it has ended
            return
        if isinstance(news, Exception):
            self._error = news
            self._leave(self.unfinished)
        elif news is not None:
            choice, pieces = news
            self._pieces += [(choice, piece) for piece in pieces]
            self._leave(sum(isinstance(piece, Finish) for piece in pieces))
        self._news.set()

    def _leave(self, count: int) -> None:
        self.unfinished -= count
        self.lane.live -= count

    async def start(self) -> None:
        """Wait until an answer has begun; raises what the worker raised."""
        while not self.begun:
            await self._next()
        if self._error is not None:
            raise self._error

    async def pieces(self, patience: float) -> AsyncIterator[list[tuple[int, Piece]]]:
        """(number of the answer, piece) as they come, to the end; empty after `patience` seconds
        of silence. Raises what the worker raised.
        """
        while self.unfinished or self._pieces or self._error:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                yield pieces
            elif self._error is not None:
                raise self._error
            else:
                # not asyncio.wait_for, which would make a task for every chunk
                silence = asyncio.get_running_loop().call_later(patience, self._news.set)
                try:
                    await self._next()
                finally:
                    silence.cancel()
                if not (self._pieces or self._error):
                    yield []

    async def _next(self) -> None:
        await self._news.wait()
        self._news.clear()

    def close(self) -> None:
        """The request is over, whoever ended it: its answers are no longer live."""
        self._leave(self.unfinished)


class Lane:
    """One engine with the answers that wait for it. `live` counts both, for the event loop."""

    def __init__(self, engine: Engine, slots: int) -> None:
        self.engine = engine
        self.live = 0
        self.running = AnswerLoop(engine)
        self.waiting: deque[tuple[Ticket, int]] = deque()  # which of the ticket's answers
        self.homes: dict[Answer, tuple[Ticket, int]] = {}
        self.slots = slots

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or len(self.running) or not self.engine.idle)


class Worker:
    """Runs the engines of all lanes in a thread of its own, until `stop` or an error."""

    def __init__(self, lanes: Sequence[Lane], on_death: Callable[[], None]) -> None:
        """`on_death` is called on the event loop when the thread ends by an error."""
        self.lanes = lanes
        self.error: BaseException | None = None
        self.cancelled = 0  # answers nobody waited for any more
        self._on_death = on_death
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._outbox: list[tuple[Ticket, News]] = []
        self._told = 0.0  # when all of it was last sent
        self._tickets: set[Ticket] = set()  # of the event loop
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; `loop` is the event loop that everything is handed to."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the step it is in."""
        self._inbox.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether engines still run."""
        return self._thread.is_alive() and self.error is None

    def submit(self, ticket: Ticket) -> None:
        """Let the answers of a ticket join."""
        ticket.lane.live += ticket.unfinished
        self._tickets.add(ticket)
        self._inbox.put(lambda: self._queue(ticket))
        if self.error is not None:  # the thread may have ended before it read this
            ticket.put(ApiError(500, STOPPED, "engine_stopped"))

    def release(self, ticket: Ticket) -> None:
        """The request of a ticket is over; what still runs for it is cancelled."""
        if ticket.unfinished:
            self._inbox.put(lambda: self._cancel(ticket))
        ticket.close()
        self._tickets.discard(ticket)

    @property
    def open(self) -> int:
        """Requests whose responses have not ended."""
        return len(self._tickets)

    def abort(self) -> None:
        """End every answer where it is: "cancelled" is its reason."""
        self._inbox.put(self._abort)

    async def call(self, function: Callable[[], T]) -> T:
        """What a function gives that has to run between two steps of the engines.

        ApiError where the thread ends before it comes to it.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():  # nobody waits any more
                return
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        self._inbox.put(run)
        found = asyncio.wrap_future(future)
        try:
            while not found.done():
                if not self._thread.is_alive():
                    raise ApiError(500, STOPPED, "engine_stopped")
                await asyncio.wait({found}, timeout=PATIENCE)
            return found.result()
        finally:
            found.cancel()

    def _run(self) -> None:
        """The thread."""
        try:
            while True:
                busy = any(lane.busy for lane in self.lanes)
                while not busy or not self._inbox.empty():
                    message = self._inbox.get()
                    if message is None:
                        return
                    message()
                    busy = any(lane.busy for lane in self.lanes)
                for lane in self.lanes:
                    self._step(lane)
                self._send()
        except BaseException as error:
            log.critical("the engine stopped: %r", error)
            self.error = error
            self._tell(self._died)

    def _abort(self) -> None:
        for lane in self.lanes:
            for ticket, _ in lane.waiting:
                stopping = ApiError(503, "the server is stopping", "shutting_down")
                self._outbox.append((ticket, stopping))
            lane.waiting.clear()
            for answer in lane.homes:
                lane.engine.cancel(answer.id)
        self._send()

    def _queue(self, ticket: Ticket) -> None:
        ticket.lane.waiting += [(ticket, choice) for choice in range(len(ticket.answers))]

    def _cancel(self, ticket: Ticket) -> None:
        lane = ticket.lane
        before = len(lane.waiting)
        lane.waiting = deque(each for each in lane.waiting if each[0] is not ticket)
        self.cancelled += before - len(lane.waiting)
        for answer in ticket.answers:
            if lane.homes.pop(answer, None) is not None:
                lane.running.leave(answer)
                self.cancelled += 1

    def _step(self, lane: Lane) -> None:
        """Answers join while there are slots; then one step of the engine, if it has work."""
        while lane.waiting and len(lane.running) < lane.slots:
            ticket, choice = lane.waiting.popleft()
            self._join(lane, ticket, choice)
        if lane.engine.idle:
            return
        for answer, event in lane.running.step():
            ticket, choice = lane.homes[answer]
            try:
                pieces = answer.take(event)
            except Exception as error:  # of a filter or tool: it ends this request alone
                log.exception("an answer failed")
                self._cancel(ticket)
                self._outbox.append((ticket, error))
                continue
            if answer.ended:
                del lane.homes[answer]
            if pieces:
                self._outbox.append((ticket, (choice, pieces)))

    def _join(self, lane: Lane, ticket: Ticket, choice: int) -> None:
        answer = ticket.answers[choice]
        if answer.refusal:  # of a message that the filters did not let through
            self._outbox += [(ticket, None), (ticket, (choice, list(answer.refusal)))]
            return
        try:
            lane.running.join(answer)
        except Exception as error:
            self._cancel(ticket)
            self._outbox.append((ticket, error))
            return
        lane.homes[answer] = ticket, choice
        self._outbox.append((ticket, None))

    def _send(self) -> None:
        """Hand over what has happened: beginnings and ends at once, words with others' or soon."""
        messages, now = self._outbox, time.monotonic()
        if now - self._told < GATHER:
            hurried = {ticket for ticket, news in messages if _hurries(news)}
            messages = [each for each in messages if each[0] in hurried]
            self._outbox = [each for each in self._outbox if each[0] not in hurried]
        else:
            self._outbox, self._told = [], now
        if messages:
            self._tell(lambda: self._deliver(messages))

    def _tell(self, message: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(message)
        except RuntimeError:  # the loop is closed: nobody waits
            log.debug("nobody to tell")

    def _deliver(self, messages: Sequence[tuple[Ticket, News]]) -> None:
        """On the event loop."""
        for ticket, news in messages:
            if ticket in self._tickets:
                ticket.put(news)

    def _died(self) -> None:
        """On the event loop: everyone who waits is told."""
        for ticket in self._tickets:
            if ticket.unfinished:
                ticket.put(ApiError(500, STOPPED, "engine_stopped"))
        self._on_death()


def _hurries(news: News) -> bool:
    """Whether somebody waits for more than the next words."""
    return not isinstance(news, tuple) or any(isinstance(each, Finish) for each in news[1])
