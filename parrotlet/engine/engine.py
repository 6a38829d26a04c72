"""Engine: many requests in one running batch, token ids in and token ids out.

A step reads: admit, feed, sample, report. Requests join and leave between steps. An answer does
not depend on its neighbours: rows share nothing but the forward pass. It knows no text: stop
strings, tools and filters are in chat/, which cancels and forces.

A request starts from the longest beginning of it that is still in the cache, and several requests
with one prompt read it once (scheduler.py). Several answers to a prompt are requests that differ in
`choice`.

One caller owns an engine; it is not for several threads at once. Storage is contiguous slots, all
of it taken when the engine is made; on a GPU decoding passes are CUDA graphs (recorded.py). Not
here yet: block tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from parrotlet.core.errors import UsageError
from parrotlet.engine.job import Job
from parrotlet.engine.packed import Weights
from parrotlet.engine.request import Event, Load, Request, RequestId, Scored
from parrotlet.engine.runner import Runner
from parrotlet.engine.sampling import Sampled, Sampler, score
from parrotlet.engine.scheduler import Feed, Scheduler
from parrotlet.model.model import Model

CHUNK = 256  # tokens of prompts read in a step: who is answered meanwhile waits for them
LOGITS_AT_ONCE = 2**21  # numbers; more would leave the cache, fewer read the head too often


class Engine:
    """Continues sequences of ids; the longest of all is `length` (the model's context)."""

    def __init__(
        self,
        model: Model,
        *,
        slots: int = 8,
        length: int | None = None,
        prefill_chunk: int = CHUNK,
        reuse: bool = True,
        quantize: Weights | None = None,
        record: bool | None = None,
    ) -> None:
        """`slots` requests run at once, the others wait; prompts are read `prefill_chunk` ids a
        step; with `reuse`, what the cache still holds of a prompt is not read again; `quantize`
        packs the matrices in fewer bytes; with `record` decoding takes passes of fixed shapes,
        which a GPU records (None: on a GPU).

        UsageError where the model cannot be as long as `length`, or this machine cannot pack.
        """
        context = model.config.context
        if length is not None and length > context:
            raise UsageError(
                f"length {length} is more than the model's context of {context}; use at most that"
            )
        self.length = context if length is None else length
        self._scheduler = Scheduler(
            slots=slots, length=self.length, chunk=prefill_chunk, reuse=reuse
        )
        self._runner = Runner(
            model, slots=slots, length=self.length, quantize=quantize, record=record
        )
        self.vocab_size = model.config.vocab_size
        self._rows_at_once = max(1, LOGITS_AT_ONCE // self.vocab_size)
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
        if job is None or (job.slot is None and not job.paused):
            raise UsageError(f"request {id} does not run, so no tokens can be forced on it")
        self._check_ids(ids)
        self._scheduler.force(job, ids)
        if job.slot is not None:
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

    def preempt(self, id: RequestId) -> None:
        """Take a running request's slot for another; it goes on later and says the same.

        It is the next to get a slot. One that waits or has ended is left alone.
        """
        job = self._scheduler.find(id)
        if job is not None and job.slot is not None:
            self._scheduler.preempt(job)

    def step(self) -> Sequence[Event]:
        """Advance every request that runs: at most one sampled token each."""
        for job in self._scheduler.admit():
            self._sampler.join(job.held_slot, job.request, job.ids, job.said)
        feeds = self._scheduler.plan()
        while self._scheduler.copies:
            copy = self._scheduler.copies[0]
            self._runner.copy(copy.source, copy.target, copy.count)
            self._scheduler.copies.popleft()
        states = [self._feed(feed) for feed in feeds]
        ready = [job for feed in feeds for job in feed.jobs if job.pending == feed.count]
        asked = [job for job in ready if job.request.max_tokens]
        found = self._sample(feeds, states) if asked else []
        # only now, so that a step that is interrupted can be taken again
        self._sampler.remember([each.held_slot for each in asked], [each.token for each in found])
        for feed in feeds:
            for job in feed.jobs:
                job.fed += feed.count
        events, self._reports = self._reports, []
        events += [self._accept(job, each) for job, each in zip(asked, found, strict=True)]
        events += [self._end_unasked(job) for job in ready if not job.request.max_tokens]
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

    @property
    def load(self) -> Load:
        """What the engine holds and has done, in numbers."""
        return self._scheduler.load

    def _feed(self, feed: Feed) -> Float[Tensor, "B T D"]:
        """One pass; it also scores the part of a prompt whose log-probabilities are wanted."""
        rows = [job.ids[job.fed : job.fed + feed.count] for job in feed.jobs]
        slots, starts = [job.held_slot for job in feed.jobs], [job.fed for job in feed.jobs]
        states = self._runner.feed(rows, slots, starts)
        for row, job in enumerate(feed.jobs):
            if job.request.prompt_logprobs and job.fed < len(job.request.prompt):
                self._score(job, states[row])
        return states

    def _score(self, job: Job, states: Float[Tensor, "T D"]) -> None:
        """Add what the model said of the prompt's ids that follow those just fed."""
        prompt, wanted = job.request.prompt, job.request.alternatives
        del job.scored[job.fed + 1 :]  # of a step that was interrupted
        if not job.fed:
            job.scored = [Scored(prompt[0], None, ())]
        ids = prompt[job.fed + 1 : job.fed + 1 + len(states)]
        for start in range(0, len(ids), self._rows_at_once):
            part = ids[start : start + self._rows_at_once]
            logits = self._runner.logits(states[start : start + len(part)])
            job.scored += score(logits, part, wanted)

    def _sample(self, feeds: Sequence[Feed], states: Sequence[Tensor]) -> list[Sampled]:
        """A new token for every job that is fed to its end and may say something.

        `states`: of each feed, [jobs, its count, D].
        """
        last, jobs = [], []
        for feed, each in zip(feeds, states, strict=True):
            rows = [
                row
                for row, job in enumerate(feed.jobs)
                if job.pending == feed.count and job.request.max_tokens
            ]
            jobs += [feed.jobs[row] for row in rows]
            last.append(each[:, -1] if len(rows) == len(each) else each[rows, -1])
        ends, found = last[0] if len(last) == 1 else torch.cat(last), list[Sampled]()
        slots, positions = [job.held_slot for job in jobs], [len(job.ids) for job in jobs]
        for start in range(0, len(jobs), self._rows_at_once):
            part = slice(start, start + self._rows_at_once)
            logits = self._runner.logits(ends[part])
            found += self._sampler.draw(logits, slots[part], positions[part])
        return found

    def _accept(self, job: Job, found: Sampled) -> Event:
        """The event of a sampled token; a request that ends with it gives its slot back."""
        scored = () if job.said else tuple(job.scored)
        event = job.accept(found.token, found.logprob, self.length)
        if event.finish is not None:
            self._scheduler.remove(job)
        if found.alternatives or scored:
            event = replace(event, alternatives=found.alternatives, prompt=scored)
        return event

    def _end_unasked(self, job: Job) -> Event:
        """The end of a request that wanted no token, only its prompt's log-probabilities."""
        self._scheduler.remove(job)
        return Event(job.id, None, finish="length", prompt=tuple(job.scored))

    def _check_ids(self, ids: Sequence[int] | frozenset[int]) -> None:
        for id in ids:
            if not 0 <= id < self.vocab_size:
                raise UsageError(
                    f"token {id} is not in the model's vocabulary of {self.vocab_size}; "
                    "use the tokenizer of this checkpoint"
                )
