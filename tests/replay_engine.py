"""An engine that says what it is told to: the real scheduler, and scripts in place of a model."""

from __future__ import annotations

from collections.abc import Sequence

from parrotlet.engine.request import Event, Load, Request, RequestId
from parrotlet.engine.scheduler import Scheduler


class ReplayEngine:
    """The n-th request that is added samples the n-th script; what it may not say, it cannot."""

    def __init__(
        self,
        scripts: Sequence[Sequence[int]],
        *,
        vocab_size: int,
        length: int = 1000,
        slots: int = 2,
    ) -> None:
        self.length = length
        self.vocab_size = vocab_size
        self.requests: dict[RequestId, Request] = {}
        self._scheduler = Scheduler(slots=slots, length=length, chunk=64)
        self._scripts = [list(script) for script in scripts]
        self._reports: list[Event] = []
        self.fed: dict[RequestId, list[int]] = {}  # sampled and forced ids

    def add(self, request: Request) -> RequestId:
        id = self._scheduler.add(request).id
        self.requests[id] = request
        self.fed[id] = []
        return id

    def force(self, id: RequestId, ids: Sequence[int]) -> None:
        job = self._scheduler.find(id)
        assert job is not None and (job.paused or job.slot is not None)
        self._scheduler.force(job, ids)
        self.fed[id] += ids
        self._reports += [Event(id, token, forced=True) for token in ids]

    def cancel(self, id: RequestId) -> None:
        job = self._scheduler.find(id)
        if job is not None:
            self._scheduler.remove(job)
            self._reports.append(Event(id, None, finish="cancelled"))

    def step(self) -> list[Event]:
        events, self._reports = self._reports, []
        self._scheduler.admit()
        for feed in self._scheduler.plan():
            for job in feed.jobs:
                job.fed += feed.count
                if job.pending:
                    continue
                token = self._scripts[job.id][job.sampled]
                assert token not in job.request.banned_ids, f"{token} cannot be sampled"
                events.append(job.accept(token, -1.0, self.length))
                self.fed[job.id].append(token)
                if events[-1].finish is not None:
                    self._scheduler.remove(job)
        return events

    @property
    def idle(self) -> bool:
        return self._scheduler.idle and not self._reports

    @property
    def load(self) -> Load:
        return self._scheduler.load

    @property
    def running(self) -> int:
        return self._scheduler.running + self._scheduler.waiting
