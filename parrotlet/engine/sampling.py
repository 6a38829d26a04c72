"""The next token of every row of a running batch, each row by its own settings.

Order: repetition penalty, bans, temperature, top-k, top-p, min-p, then one draw by inverse
cumulative distribution. Every operation works on a row alone and the random number is a hash of
(seed, choice, position), so a seeded answer does not depend on its neighbours or on the order.

Reported log-probabilities are those of the model's own distribution, before all of that.
Not here: presence and frequency penalties, logit bias, alternatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from parrotlet.core.errors import CheckpointError
from parrotlet.engine.request import Request, SamplingSettings

NEVER = float("-inf")
COLDEST = 1e-30  # a smaller temperature would be 0 in float32
MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(value: int) -> int:
    """A bijection of 64-bit integers in which every input bit stirs every output bit.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014).
    """
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK64
    return value ^ (value >> 31)


def random_key(seed: int, choice: int) -> int:
    """The 64-bit start of one answer's random stream; `seed` may be any integer."""
    return mix((mix((seed + GOLDEN) & MASK64) + (choice + 1) * GOLDEN) & MASK64)


def uniform(key: int, position: int) -> float:
    """Number `position` of the stream: in [0, 1), a multiple of 2**-24 (exact in float32)."""
    return (mix((key + (position + 1) * GOLDEN) & MASK64) >> 40) * 2.0**-24


def penalise(
    logits: Float[Tensor, "N V"], seen: Bool[Tensor, "N V"], penalties: Float[Tensor, "N 1"]
) -> Float[Tensor, "N V"]:
    """Make ids seen before less likely (Keskar et al., "CTRL", 2019, section 4.1)."""
    lower = torch.where(logits > 0, logits / penalties, logits * penalties)
    return torch.where(seen, lower, logits)


def keep_top_k(
    scores: Float[Tensor, "N V"], counts: Int[Tensor, "N 1"], most: int
) -> Float[Tensor, "N V"]:
    """Keep the `counts` best of each row (at most `most`); of equals, those with lower ids."""
    worst = scores.topk(most, dim=-1).values.gather(1, counts - 1)
    better, equal = scores > worst, scores == worst
    room = counts - better.sum(-1, keepdim=True)
    return scores.masked_fill(~(better | (equal & (equal.cumsum(-1) <= room))), NEVER)


def keep_top_p(scores: Float[Tensor, "N V"], masses: Float[Tensor, "N 1"]) -> Float[Tensor, "N V"]:
    """Keep the fewest tokens whose probabilities reach the mass (Holtzman et al., 2019).

    Of equals those with lower ids are kept. The one cut that sorts the vocabulary.
    """
    probabilities, order = scores.softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = F.pad(probabilities.cumsum(-1)[:, :-1], (1, 0))
    dropped = torch.zeros_like(order, dtype=torch.bool).scatter(1, order, before >= masses)
    return scores.masked_fill(dropped, NEVER)


def distribution(
    scores: Float[Tensor, "N V"], settings: Sequence[SamplingSettings]
) -> Float[Tensor, "N V"]:
    """The probabilities from which rows with a temperature above 0 are drawn."""

    def column(values: Iterable[float]) -> Float[Tensor, "N 1"]:
        return torch.tensor(list(values), dtype=scores.dtype, device=scores.device)[:, None]

    vocab_size = scores.shape[-1]
    best = scores.amax(-1, keepdim=True)  # becomes 0, so that no temperature overflows
    scores = (scores - best) / column(max(each.temperature, COLDEST) for each in settings)
    limits = [min(each.top_k or vocab_size, vocab_size) for each in settings]
    rows = [row for row, limit in enumerate(limits) if limit < vocab_size]
    if rows:
        counts = torch.tensor([[limits[row]] for row in rows], device=scores.device)
        most = max(limits[row] for row in rows)
        scores = _replace(scores, rows, keep_top_k(scores[rows], counts, most))
    rows = [row for row, each in enumerate(settings) if each.top_p < 1]
    if rows:
        masses = column(settings[row].top_p for row in rows)
        scores = _replace(scores, rows, keep_top_p(scores[rows], masses))
    if any(each.min_p > 0 for each in settings):  # the ratio to the best is exp(score)
        least = column(math.log(each.min_p) if each.min_p else NEVER for each in settings)
        scores = scores.masked_fill(scores < least, NEVER)
    return scores.softmax(-1)


def _replace(
    scores: Float[Tensor, "N V"], rows: list[int], changed: Float[Tensor, "M V"]
) -> Float[Tensor, "N V"]:
    """The scores with some rows changed."""
    if len(rows) == len(scores):
        return changed
    return scores.index_copy(0, torch.tensor(rows, device=scores.device), changed)


def draw(probabilities: Float[Tensor, "N V"], uniforms: Float[Tensor, " N"]) -> Int[Tensor, " N"]:
    """The first id whose cumulative probability exceeds the uniform number of its row."""
    cumulative = probabilities.cumsum(-1)
    wanted = uniforms[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    return found.clamp(max=probabilities.shape[-1] - 1)


class Sampler:
    """The settings of every slot of a running batch, and what each has seen and may not say."""

    def __init__(self, slots: int, vocab_size: int, device: torch.device) -> None:
        self._settings = [SamplingSettings()] * slots
        self._keys = [0] * slots
        self._has_bans = [False] * slots
        self._banned = torch.zeros(slots, vocab_size, dtype=torch.bool, device=device)
        self._seen = torch.zeros_like(self._banned)

    def join(self, slot: int, request: Request, ids: Sequence[int]) -> None:
        """A request takes a slot; `ids` is all that it has so far (its prompt)."""
        self._settings[slot] = request.sampling
        self._keys[slot] = random_key(request.sampling.seed, request.choice)
        self._has_bans[slot] = bool(request.banned_ids)
        self._banned[slot] = False
        self._banned[slot, sorted(request.banned_ids)] = True
        self._seen[slot] = False
        self.observe(slot, ids)

    def observe(self, slot: int, ids: Sequence[int]) -> None:
        """Ids that the slot's request now holds, for the repetition penalty."""
        if self._settings[slot].repetition_penalty != 1:
            self._seen[slot, list(ids)] = True

    def sample(
        self, logits: Float[Tensor, "N V"], slots: Sequence[int], positions: Sequence[int]
    ) -> list[tuple[int, float]]:
        """For each row, the new id and its log-probability.

        `positions` is where in its sequence each new token goes. Raises CheckpointError where the
        model gives NaN.
        """
        logits = logits.float()
        settings = [self._settings[slot] for slot in slots]
        scores = self._allowed(logits, list(slots), settings)
        chosen = scores.argmax(-1)
        rows = [row for row, each in enumerate(settings) if each.temperature > 0]
        if rows:
            numbers = [uniform(self._keys[slots[row]], positions[row]) for row in rows]
            uniforms = torch.tensor(numbers, dtype=torch.float32, device=logits.device)
            probabilities = distribution(scores[rows], [settings[row] for row in rows])
            chosen[rows] = draw(probabilities, uniforms)
        found = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        answers = list(zip(chosen.tolist(), found.tolist(), strict=True))
        if any(math.isnan(logprob) for _, logprob in answers):
            raise CheckpointError(
                "the model's logits are not numbers (NaN), so its weights are damaged; "
                "use an earlier checkpoint"
            )
        for slot, (token, _) in zip(slots, answers, strict=True):
            self.observe(slot, (token,))
        return answers

    def _allowed(
        self, logits: Float[Tensor, "N V"], slots: list[int], settings: list[SamplingSettings]
    ) -> Float[Tensor, "N V"]:
        """The logits after penalty and bans."""
        if any(each.repetition_penalty != 1 for each in settings):
            numbers = [[each.repetition_penalty] for each in settings]
            penalties = torch.tensor(numbers, dtype=torch.float32, device=logits.device)
            logits = penalise(logits, self._seen[slots], penalties)
        if any(self._has_bans[slot] for slot in slots):
            logits = logits.masked_fill(self._banned[slots], NEVER)
        return logits
