"""Who runs: a waiting queue, slots, and which ids each running request is fed in a step.

First come, first served. A request joins when a slot is free and leaves when it ends, between the
steps of a running batch. A slot has room for the engine's whole length, the worst case, so whoever
is admitted can end and memory never grows. A paused request gives its slot up where another waits
for one, and comes back (preempted, to be computed again) once it is forced to go on.

A step feeds every request that has one id to go (decoding), and prompts in chunks that share one
budget in equal parts, so that a long prompt delays nobody by more than a chunk.

Prefixes are reused (blocks.py): a request begins with what any slot already holds of it. It takes
that slot over, where it is free and half of it fits, or copies from it. Where another request is
just reading the same prompt, it waits for that and copies: several answers to a prompt share its
reading. Free slots keep what they hold until they are given away, the one unused for longest first.

Torch-free. Not here: block tables, where the attention kernel takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from parrotlet.core.errors import UsageError
from parrotlet.engine.blocks import BLOCK, Blocks
from parrotlet.engine.job import Job
from parrotlet.engine.request import Load, Request, RequestId


@dataclass(frozen=True)
class Feed:
    """Jobs of which each is fed its next `count` ids, in one forward pass."""

    count: int
    jobs: list[Job] = field(default_factory=list)


@dataclass(frozen=True)
class Copy:
    """The first `count` places of a slot are to be copied to another."""

    source: int
    target: int
    count: int


class Scheduler:
    """The queue and the slots."""

    def __init__(self, *, slots: int, length: int, chunk: int, reuse: bool = False) -> None:
        """With `reuse`, whoever calls plan() carries out `copies`, in order, before the feeds."""
        for name, value in (("slots", slots), ("length", length), ("prefill_chunk", chunk)):
            if value < 1:
                raise UsageError(f"{name} is {value}; the engine needs at least 1")
        self.length = length
        self.copies: deque[Copy] = deque()
        self._slots = slots
        self._chunk = chunk
        self._blocks = Blocks(slots) if reuse else None
        self._free = dict.fromkeys(range(slots))  # unused for longest first
        self._jobs: dict[RequestId, Job] = {}  # all that have not ended
        self._waiting: deque[Job] = deque()
        self._running: dict[RequestId, Job] = {}  # in order of admission
        self._next_id = 0
        self._preemptions = self._prompt_tokens = self._reused_tokens = 0

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
        self._jobs[job.id] = job
        self._waiting.append(job)
        return job

    def find(self, id: RequestId) -> Job | None:
        """The job of a request that has not ended."""
        return self._jobs.get(id)

    def remove(self, job: Job) -> None:
        """A job ends, wherever it is; its slot is free at once."""
        del self._jobs[job.id]
        if job.slot is not None:
            self._release(job)
        elif not job.paused:
            self._waiting.remove(job)

    def preempt(self, job: Job) -> None:
        """A running job gives up its slot; it is the first to get one again, once it can go on.

        Its ids are fed again then, but for those that a slot still holds.
        """
        self._release(job)
        job.rewind()
        self._preemptions += 1
        if not job.paused:
            self._waiting.appendleft(job)

    def force(self, job: Job, ids: Sequence[int]) -> None:
        """Append ids that were not sampled, and end the job's pause."""
        if len(job.ids) + len(ids) >= self.length:
            raise UsageError(
                f"{len(ids)} forced tokens after {len(job.ids)} leave no room for an answer in a "
                f"context of {self.length}; shorten them"
            )
        job.ids.extend(ids)
        if job.paused and job.slot is None:
            self._waiting.appendleft(job)
        job.paused = False

    def admit(self) -> list[Job]:
        """Give slots to those who have waited longest; the jobs that joined."""
        joined = []
        while self._waiting and self._has_room():
            job = self._waiting.popleft()
            self._place(job)
            self._running[job.id] = job
            if not job.said:
                self._prompt_tokens += len(job.ids)
            joined.append(job)
        return joined

    def plan(self) -> list[Feed]:
        """The forward passes of this step: one for each number of ids that jobs are fed.

        Prompts get equal parts of the chunk, and the longer ones what the shorter leave. Within a
        pass, jobs are in order of slots, since neighbours are read together.
        """
        active = [job for job in self._running.values() if not job.paused and self._may_read(job)]
        feeds: dict[int, Feed] = {}
        reading = sorted((job for job in active if job.pending > 1), key=lambda job: job.pending)
        budget = self._chunk
        counts = {job.id: 1 for job in active if job.pending == 1}
        for index, job in enumerate(reading):
            part = -(-budget // (len(reading) - index))
            counts[job.id] = min(job.pending, part)
            budget -= counts[job.id]
        for job in active:
            if counts[job.id]:
                feeds.setdefault(counts[job.id], Feed(counts[job.id])).jobs.append(job)
        for feed in feeds.values():
            feed.jobs.sort(key=lambda job: job.held_slot)
        return list(feeds.values())

    def restart(self) -> None:
        """Nothing is in the cache any more: running jobs are fed again from their first id."""
        self.copies.clear()
        self._free = dict.fromkeys(sorted(self._free))
        if self._blocks is not None:
            self._blocks = Blocks(self._slots)
        for job in self._running.values():
            job.rewind()

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
        return not self._waiting and all(job.paused for job in self._running.values())

    @property
    def load(self) -> Load:
        """What is held and was done."""
        return Load(
            running=len(self._running),
            waiting=len(self._waiting),
            blocks=self._slots * -(-self.length // BLOCK),
            blocks_used=sum(-(-len(job.ids) // BLOCK) for job in self._running.values()),
            preemptions=self._preemptions,
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self._reused_tokens,
        )

    def _has_room(self) -> bool:
        """Whether a slot is free, or could be taken from a paused job."""
        paused = None if self._free else next((j for j in self._running.values() if j.paused), None)
        if paused is not None:
            self.preempt(paused)
        return bool(self._free)

    def _release(self, job: Job) -> None:
        """The slot is free, and keeps what it holds for whoever can use it."""
        del self._running[job.id]
        if self._blocks is not None:
            self._blocks.hold(job.held_slot, job.ids[: job.fed])
        self._free[job.held_slot] = None
        job.slot = None

    def _place(self, job: Job) -> None:
        """Choose the job's slot, and begin with what is already there or elsewhere."""
        source, count = self._longest_for(job)
        fits = self._blocks is not None and 2 * count >= self._blocks.held(source)
        job.slot = source if source in self._free and count and fits else self._least_used()
        del self._free[job.slot]
        self._begin(job, source, count)
        if self._blocks is not None:
            self._blocks.hold(job.slot, job.ids)

    def _least_used(self) -> int:
        """The free slot to give away; low ones where nothing is kept, so that rows lie together."""
        return min(self._free) if self._blocks is None else next(iter(self._free))

    def _begin(self, job: Job, source: int, count: int) -> None:
        """The job's first `count` ids are those of slot `source`: copy them, or wait for them."""
        if not count:
            return
        reader = next((each for each in self._running.values() if each.slot == source), None)
        if reader is not None and reader.fed < count:
            # one that came back after giving up its slot may be whom the reader itself waits for
            job.shares = None if _waits_for(reader, job) else (reader, count)
            return
        job.shares = None
        job.fed = count
        if not job.said:
            self._reused_tokens += count
        if source != job.slot:
            self.copies.append(Copy(source, job.held_slot, count))

    def _longest_for(self, job: Job) -> tuple[int, int]:
        """(slot, how many first ids of the job it has, or will have once its prompt is read).

        0 where it is not worth a copy. The last id is always fed, since its logits are wanted;
        where the prompt's log-probabilities are, all are fed.
        """
        wanted = len(job.ids) - 1
        if self._blocks is None or (job.request.prompt_logprobs and not job.said):
            return 0, 0
        source, count = self._blocks.longest(job.ids[:wanted])
        for other in self._running.values():
            if other.slot == source:
                count = min(count, max(other.fed, len(other.request.prompt)))
        return source, count if count >= min(wanted, BLOCK) else 0

    def _may_read(self, job: Job) -> bool:
        """Whether the job need not wait for another to read what both begin with."""
        if job.shares is None:
            return True
        reader, count = job.shares
        if reader.slot is not None and reader.fed < count:
            return False
        job.shares = None
        if reader.slot is not None:
            self._begin(job, reader.slot, count)
        return True


def _waits_for(job: Job, other: Job) -> bool:
    """Whether `job` waits for what `other` reads, perhaps through more jobs."""
    while job.shares is not None:
        job = job.shares[0]
        if job is other:
            return True
    return False
