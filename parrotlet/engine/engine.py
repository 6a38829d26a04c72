"""Engine: many requests in one running batch, token ids in and token ids out.

A step reads: admit, feed, sample, report. Requests join and leave between steps. An answer does
not depend on its neighbours: rows share nothing but the forward pass. It knows no text: stop
strings, tools and filters are in chat/, which cancels and forces.

One caller owns an engine; it is not for several threads at once. Storage is contiguous slots.
Not here yet: prefix reuse, preemption, block tables, compiled decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from parrotlet.core.errors import UsageError
from parrotlet.engine.request import Event, Request, RequestId
from parrotlet.engine.runner import Runner
from parrotlet.engine.sampling import Sampler
from parrotlet.engine.scheduler import Feed, Job, Scheduler
from parrotlet.model.model import Model


class Engine:
    """Continues sequences of ids; the longest of all is `length` (the model's context)."""

    def __init__(
        self, model: Model, *, slots: int = 8, length: int | None = None, prefill_chunk: int = 512
    ) -> None:
        """`slots` requests run at once, the others wait; prompts are read `prefill_chunk` ids a
        step. UsageError where the model cannot be as long as `length`.
        """
        context = model.config.context
        if length is not None and length > context:
            raise UsageError(
                f"length {length} is more than the model's context of {context}; use at most that"
            )
        self.length = context if length is None else length
        self._scheduler = Scheduler(slots=slots, length=self.length, chunk=prefill_chunk)
        self._runner = Runner(model, slots=slots, length=self.length)
        self.vocab_size = model.config.vocab_size
        self._sampler = Sampler(slots, self.vocab_size, self._runner.device)
        self._reports: list[Event] = []  # what happened between two steps

    def add(self, request: Request) -> RequestId:
        """Queue a request. UsageError where it cannot fit or be answered."""
        self._check_ids(request.prompt)
        self._check_ids(request.banned_ids)
        self._check_ids(request.stop_ids)
        self._check_ids([id for id, _ in request.sampling.logit_bias])
        first = request.banned_ids | (request.stop_ids if request.min_tokens else frozenset())
        if len(first) == self.vocab_size:
            raise UsageError("every token of the vocabulary is banned; allow at least one")
        return self._scheduler.add(request).id

    def force(self, id: RequestId, ids: Sequence[int]) -> None:
        """Continue a paused (or running) request with ids that are not sampled.

        Only they are fed, not what came before. The next step reports them as forced events; they
        do not count for max_tokens. No ids at all: go on as if there had been no pause.
        UsageError where the request has ended or the ids leave no room for an answer.
        """
        job = self._scheduler.find(id)
        if job is None or job.slot is None:
            raise UsageError(f"request {id} does not run, so no tokens can be forced on it")
        self._check_ids(ids)
        self._scheduler.force(job, ids)
        self._sampler.observe(job.slot, ids)
        self._reports += [Event(id, token, forced=True) for token in ids]

    def cancel(self, id: RequestId) -> None:
        """End a request wherever it is; its slot is free at once, and the next step reports it.

        One that has already ended is left alone, since its end may not have been read yet.
        """
        job = self._scheduler.find(id)
        if job is not None:
            self._scheduler.remove(job)
            self._reports.append(Event(id, None, finish="cancelled"))

    def step(self) -> Sequence[Event]:
        """Advance every request that runs: at most one sampled token each."""
        for job in self._scheduler.admit():
            self._sampler.join(job.held_slot, job.request, job.ids)
        feeds = self._scheduler.plan()
        ready, logits = self._feed(feeds)
        slots, positions = [job.held_slot for job in ready], [len(job.ids) for job in ready]
        sampled = self._sampler.sample(logits, slots, positions) if ready else []
        # only now, so that a step that is interrupted can be taken again
        for feed in feeds:
            for job in feed.jobs:
                job.fed += feed.count
        events, self._reports = self._reports, []
        for job, found in zip(ready, sampled, strict=True):
            event = job.accept(found.token, found.logprob, self.length)
            events.append(replace(event, alternatives=found.alternatives))
            if event.finish is not None:
                self._scheduler.remove(job)
        return events

    def load_weights(self, model: Model) -> None:
        """Take new weights of the same shape and forget everything cached.

        Requests that run keep what they have said and go on with the new weights.
        """
        self._runner.load_weights(model)
        self._scheduler.restart()

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing: every request has ended, or is paused."""
        return self._scheduler.idle and not self._reports

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._scheduler.waiting

    def _feed(self, feeds: Sequence[Feed]) -> tuple[list[Job], Float[Tensor, "N V"]]:
        """Run the planned passes; the jobs that are fed to the end, and their logits."""
        ready: list[Job] = []
        logits = [torch.empty(0, self.vocab_size, device=self._runner.device)]
        for feed in feeds:
            starts = [job.fed for job in feed.jobs]
            rows = [job.ids[job.fed : job.fed + feed.count] for job in feed.jobs]
            found = self._runner.feed(rows, [job.held_slot for job in feed.jobs], starts)
            last = [row for row, job in enumerate(feed.jobs) if job.pending == feed.count]
            ready += [feed.jobs[row] for row in last]
            logits.append(found[last].float())
        return ready, torch.cat(logits)

    def _check_ids(self, ids: Sequence[int] | frozenset[int]) -> None:
        for id in ids:
            if not 0 <= id < self.vocab_size:
                raise UsageError(
                    f"token {id} is not in the model's vocabulary of {self.vocab_size}; "
                    "use the tokenizer of this checkpoint"
                )
