"""Sampler: the next token of every row of a running batch, each row by its own settings.

Order: penalties, logit bias and bans, temperature, top-k, top-p, min-p, then one draw by inverse
cumulative distribution. Rows of one kind are worked on together, but a row never sees another and
its random number is a hash of (seed, choice, position), so a seeded answer does not depend on its
neighbours or on the order.

Reported log-probabilities are those of the model's own distribution, before all of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from parrotlet.core.errors import CheckpointError
from parrotlet.engine.cuts import best, choose, first_best, looks_at_best
from parrotlet.engine.randomness import random_key, uniform
from parrotlet.engine.request import Request, Scored

NEVER = float("-inf")
Table = Literal["seen", "counts", "added"]  # held ids, sampled ones, bias (-inf: a ban)
Pairs = tuple[tuple[int, float], ...]  # (id, log-probability), best first


class Sampled(NamedTuple):
    """A new token, and what its event says of it."""

    token: int
    logprob: float
    alternatives: Pairs = ()


class Sampler:
    """What every slot of a running batch asks for, has seen and may not say."""

    def __init__(self, slots: int, vocab_size: int, device: torch.device) -> None:
        self._requests: list[Request | None] = [None] * slots
        self._keys = [0] * slots
        self._sampled = [0] * slots  # how many tokens
        self._device = device
        self._shape = (slots, vocab_size)
        self._tables: dict[Table, Tensor] = {}  # one row for each slot; made by the first need

    def join(
        self, slot: int, request: Request, ids: Sequence[int], sampled: Sequence[int] = ()
    ) -> None:
        """A request takes a slot; `ids` is all that it holds, `sampled` the sampled ones."""
        self._requests[slot] = request
        self._keys[slot] = random_key(request.sampling.seed, request.choice)
        self._sampled[slot] = len(sampled)
        for table in _needs(request):
            self._table(table)[slot] = 0
        if "added" in _needs(request):
            for id, bias in request.sampling.logit_bias:
                self._table("added")[slot, id] = bias
            self._table("added")[slot, sorted(request.banned_ids)] = NEVER
        if "counts" in _needs(request):
            for id in sampled:
                self._table("counts")[slot, id] += 1
        self.observe(slot, ids)

    def observe(self, slot: int, ids: Sequence[int]) -> None:
        """Ids that the slot's request now holds, sampled or not, for the repetition penalty."""
        if "seen" in _needs(self._held(slot)):
            self._table("seen")[slot, list(ids)] = 1

    def sample(
        self, logits: Float[Tensor, "N V"], slots: Sequence[int], positions: Sequence[int]
    ) -> list[Sampled]:
        """Draw, and remember what was drawn."""
        found = self.draw(logits, slots, positions)
        self.remember(slots, [each.token for each in found])
        return found

    def draw(
        self, logits: Float[Tensor, "N V"], slots: Sequence[int], positions: Sequence[int]
    ) -> list[Sampled]:
        """For each row, the new id and its log-probability.

        `positions` is where in its sequence each new token goes. Raises CheckpointError where the
        model gives NaN.
        """
        logits = logits.float()
        requests = [self._held(slot) for slot in slots]
        scores = self._adjusted(logits, list(slots), requests)
        groups: dict[bool | None, list[int]] = {}
        for row, request in enumerate(requests):
            kind = looks_at_best(request.sampling, logits.shape[-1])
            groups.setdefault(kind if request.sampling.temperature else None, []).append(row)
        chosen = torch.empty(len(scores), dtype=torch.long, device=self._device)
        for looks, rows in groups.items():
            part = scores if len(rows) == len(scores) else scores[rows]
            if looks is None:
                chosen[rows] = first_best(part)
                continue
            numbers = [uniform(self._keys[slots[row]], positions[row]) for row in rows]
            uniforms = torch.tensor(numbers, dtype=torch.float32, device=self._device)
            chosen[rows] = choose(part, [requests[row].sampling for row in rows], uniforms)
        everything = logits.log_softmax(-1)
        logprobs = everything.gather(1, chosen[:, None])[:, 0].tolist()
        tokens = chosen.tolist()
        _refuse_nan(logprobs)
        pairs = alternatives(everything, [each.alternatives for each in requests])
        return [Sampled(*each) for each in zip(tokens, logprobs, pairs, strict=True)]

    def remember(self, slots: Sequence[int], tokens: Sequence[int]) -> None:
        """The requests of these slots now hold these sampled ids too."""
        for slot, token in zip(slots, tokens, strict=True):
            self._sampled[slot] += 1
            needs = _needs(self._held(slot))
            if "counts" in needs:
                self._table("counts")[slot, token] += 1
            if "seen" in needs:
                self._table("seen")[slot, token] = 1

    def _adjusted(
        self, logits: Float[Tensor, "N V"], slots: list[int], requests: list[Request]
    ) -> Float[Tensor, "N V"]:
        """The logits after penalties, bias and bans."""

        def column(name: str) -> Float[Tensor, "N 1"]:
            numbers = [[getattr(each.sampling, name)] for each in requests]
            return torch.tensor(numbers, dtype=torch.float32, device=self._device)

        needs = set().union(*map(_needs, requests))
        scores = logits
        if "seen" in needs:  # Keskar et al., "CTRL", 2019, section 4.1
            factors = column("repetition_penalty")
            lower = torch.where(scores > 0, scores / factors, scores * factors)
            scores = torch.where(self._rows("seen", slots) > 0, lower, scores)
        if "counts" in needs:  # OpenAI's API reference, "Frequency and presence penalties"
            counts = self._rows("counts", slots)
            scores = scores - column("frequency_penalty") * counts
            scores -= column("presence_penalty") * (counts > 0)
        if "added" in needs:
            rows = [row for row, each in enumerate(requests) if "added" in _needs(each)]
            added = self._rows("added", [slots[row] for row in rows])
            if len(rows) == len(requests):
                scores = scores + added
            else:
                scores = scores.index_add(0, torch.tensor(rows, device=self._device), added)
        early = [
            (row, id)
            for row, request in enumerate(requests)
            if self._sampled[slots[row]] < request.min_tokens
            for id in request.stop_ids
        ]
        if early:
            places = torch.tensor(early, device=self._device).unbind(1)
            scores = scores.index_put(places, scores.new_tensor(NEVER))
        return scores

    def _held(self, slot: int) -> Request:
        request = self._requests[slot]
        assert request is not None, f"nobody has joined slot {slot}"
        return request

    def _rows(self, table: Table, slots: list[int]) -> Float[Tensor, "N V"]:
        """Those of some slots; in place where they are neighbours."""
        first, end = slots[0], slots[0] + len(slots)
        neighbours = slots == list(range(first, end))
        return self._table(table)[slice(first, end) if neighbours else slots]

    def _table(self, table: Table) -> Float[Tensor, "S V"]:
        if table not in self._tables:
            self._tables[table] = torch.zeros(self._shape, device=self._device)
        return self._tables[table]


def _needs(request: Request) -> list[Table]:
    """The tables that have something to say of a request."""
    asked = request.sampling
    needs: list[Table] = []
    if asked.repetition_penalty != 1:
        needs.append("seen")
    if asked.presence_penalty or asked.frequency_penalty:
        needs.append("counts")
    if asked.logit_bias or request.banned_ids:
        needs.append("added")
    return needs


def alternatives(logprobs: Float[Tensor, "N V"], wanted: Sequence[int]) -> list[Pairs]:
    """As many of each row's best ids as are wanted of it."""
    if not any(wanted):
        return [()] * len(wanted)
    values, ids = best(logprobs, max(wanted))
    rows = zip(ids.tolist(), values.tolist(), wanted, strict=True)
    return [tuple(zip(some[:count], numbers[:count], strict=True)) for some, numbers, count in rows]


def score(logits: Float[Tensor, "T V"], ids: Sequence[int], wanted: int) -> list[Scored]:
    """What the model said of ids that were not sampled; CheckpointError where it is NaN."""
    everything = logits.log_softmax(-1)
    picked = everything.gather(1, torch.tensor(ids, device=logits.device)[:, None])[:, 0]
    logprobs = picked.tolist()
    _refuse_nan(logprobs)
    pairs = alternatives(everything, [wanted] * len(ids))
    return [Scored(*each) for each in zip(ids, logprobs, pairs, strict=True)]


def _refuse_nan(logprobs: Sequence[float]) -> None:
    if any(math.isnan(each) for each in logprobs):
        raise CheckpointError(
            "the model's logits are not numbers (NaN), so its weights are damaged; "
            "use an earlier checkpoint"
        )
