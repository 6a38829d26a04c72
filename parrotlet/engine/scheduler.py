"""Who runs: a waiting queue, slots, and which ids each running request is fed in a step.

First come, first served. A request joins when a slot is free and leaves when it ends, between the
steps of a running batch. A step feeds every request that has one id to go (decoding), and prompts
in chunks that share one budget, so that a long prompt delays nobody by more than a chunk.

Torch-free. Not here: blocks, prefix reuse and preemption; a slot is the admission's only unit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from parrotlet.core.errors import UsageError
from parrotlet.engine.request import Event, Request, RequestId


@dataclass
class Job:
    """One request on its way: what it holds, how much of that is in the cache, where it stands."""

    id: RequestId
    request: Request
    ids: list[int]  # prompt, then sampled and forced ids
    slot: int | None = None  # None while it waits
    fed: int = 0  # ids whose keys and values are in the cache
    sampled: int = 0
    paused: bool = False

    @property
    def pending(self) -> int:
        """Ids that are still to be fed before the next one can be sampled."""
        return len(self.ids) - self.fed

    @property
    def held_slot(self) -> int:
        """The slot of a running job."""
        assert self.slot is not None, "a waiting job has no slot"
        return self.slot

    def accept(self, token: int, logprob: float, length: int) -> Event:
        """Take a sampled id; the event says whether the request ends or pauses with it."""
        self.ids.append(token)
        self.sampled += 1
        if token in self.request.stop_ids:
            return Event(self.id, token, logprob, finish="stop")
        if self.sampled == self.request.max_tokens or len(self.ids) >= length:
            return Event(self.id, token, logprob, finish="length")
        self.paused = token in self.request.pause_ids
        return Event(self.id, token, logprob, paused=self.paused)


@dataclass(frozen=True)
class Feed:
    """Jobs of which each is fed its next `count` ids, in one forward pass."""

    count: int
    jobs: list[Job] = field(default_factory=list)


class Scheduler:
    """The queue and the slots."""

    def __init__(self, *, slots: int, length: int, chunk: int) -> None:
        for name, value in (("slots", slots), ("length", length), ("prefill_chunk", chunk)):
            if value < 1:
                raise UsageError(f"{name} is {value}; the engine needs at least 1")
        self.length = length
        self._chunk = chunk
        self._free = list(range(slots))  # a heap: low slots first, so that rows lie together
        self._waiting: deque[Job] = deque()
        self._running: dict[RequestId, Job] = {}  # in order of admission
        self._next_id = 0

    def add(self, request: Request) -> Job:
        """Queue a request; UsageError where it could never fit in a slot."""
        total = len(request.prompt) + request.max_tokens
        if total > self.length:
            raise UsageError(
                f"a prompt of {len(request.prompt)} tokens and max_tokens {request.max_tokens} "
                f"need {total} places, and the context has {self.length}; shorten either"
            )
        job = Job(self._next_id, request, list(request.prompt))
        self._next_id += 1
        self._waiting.append(job)
        return job

    def find(self, id: RequestId) -> Job | None:
        """The job of a request that has not ended."""
        if id in self._running:
            return self._running[id]
        return next((job for job in self._waiting if job.id == id), None)

    def remove(self, job: Job) -> None:
        """A job ends, wherever it is; its slot is free at once."""
        if job.slot is None:
            self._waiting.remove(job)
            return
        del self._running[job.id]
        heappush(self._free, job.slot)

    def force(self, job: Job, ids: Sequence[int]) -> None:
        """Append ids that were not sampled, and end the job's pause."""
        if len(job.ids) + len(ids) >= self.length:
            raise UsageError(
                f"{len(ids)} forced tokens after {len(job.ids)} leave no room for an answer in a "
                f"context of {self.length}; shorten them"
            )
        job.ids.extend(ids)
        job.paused = False

    def admit(self) -> list[Job]:
        """Give free slots to those who have waited longest; the jobs that joined."""
        joined = []
        while self._free and self._waiting:
            job = self._waiting.popleft()
            job.slot = heappop(self._free)
            self._running[job.id] = job
            joined.append(job)
        return joined

    def plan(self) -> list[Feed]:
        """The forward passes of this step: one for each number of ids that jobs are fed.

        Prompts get their share in order of admission; within a pass, jobs are in order of slots,
        since neighbours are read together.
        """
        budget = self._chunk
        feeds: dict[int, Feed] = {}
        for job in self._running.values():
            if job.paused:
                continue
            count = min(job.pending, budget) if job.pending > 1 else 1
            if job.pending > 1:
                budget -= count
            if count:
                feeds.setdefault(count, Feed(count)).jobs.append(job)
        for feed in feeds.values():
            feed.jobs.sort(key=lambda job: job.held_slot)
        return list(feeds.values())

    def restart(self) -> None:
        """Nothing is in the cache any more: running jobs are fed again from their first id."""
        for job in self._running.values():
            job.fed = 0

    @property
    def running(self) -> int:
        """Requests that hold a slot, paused ones too."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether a step would feed nobody: nothing runs but what is paused, nothing can join."""
        can_join = bool(self._free and self._waiting)
        return not can_join and all(job.paused for job in self._running.values())
