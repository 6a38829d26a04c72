"""What is asked of the engine and what it answers: ids and numbers, no text. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from parrotlet.core.errors import UsageError

RequestId = int
FinishReason = Literal["stop", "length", "cancelled"]


MOST_ALTERNATIVES = 20
BIAS_BOUND = 100.0


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the next token is chosen.

    Order: penalties, logit bias and bans, temperature, top-k, top-p, min-p. Log-probabilities are
    of the model's own distribution, before all of that.
    """

    temperature: float = 1.0  # 0 takes the best token, exactly
    top_k: int | None = None  # keep the k best
    top_p: float = 1.0  # keep the fewest tokens whose probabilities reach p
    min_p: float = 0.0  # keep tokens at least min_p times as likely as the best
    repetition_penalty: float = 1.0  # divides positive (multiplies negative) logits of ids seen
    presence_penalty: float = 0.0  # taken from the logit of every id sampled before
    frequency_penalty: float = 0.0  # taken once for every time it was sampled
    logit_bias: tuple[tuple[int, float], ...] = ()  # (id, what is added to its logit)
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "temperature": (0.0, 100.0),
            "top_p": (1e-9, 1.0),
            "min_p": (0.0, 1.0),
            "repetition_penalty": (0.01, 100.0),
            "presence_penalty": (-2.0, 2.0),
            "frequency_penalty": (-2.0, 2.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise UsageError(f"{name} is {value}; it must be from {low:g} to {high:g}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}; it must be at least 1, or left out")
        for id, bias in self.logit_bias:
            if not -BIAS_BOUND <= bias <= BIAS_BOUND:
                raise UsageError(f"logit_bias of token {id} is {bias}; it must be from -100 to 100")
        ids = [id for id, _ in self.logit_bias]
        if len(set(ids)) < len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            raise UsageError(f"logit_bias names token {twice} twice; name it once")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One sequence to continue. Several answers to a prompt are requests that differ in choice."""

    prompt: tuple[int, ...]
    max_tokens: int  # sampled tokens; forced ones do not count. 0 is for prompt_logprobs alone
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    stop_ids: frozenset[int] = frozenset()  # sampling one of these ends the request
    min_tokens: int = 0  # no stop id can be sampled before there are so many sampled tokens
    pause_ids: frozenset[int] = frozenset()  # after one of these the request waits for force()
    banned_ids: frozenset[int] = frozenset()  # never sampled; logit_bias cannot lift a ban
    choice: int = 0  # which of several answers to one prompt this is; part of the random key
    alternatives: int = 0  # how many of the best (id, logprob) every token is reported with
    prompt_logprobs: bool = False  # report the prompt's tokens too, with their alternatives

    def __post_init__(self) -> None:
        if not self.prompt:
            raise UsageError("the prompt has no tokens; start it with the beginning-of-text token")
        least = 0 if self.prompt_logprobs else 1
        if self.max_tokens < least:
            raise UsageError(f"max_tokens is {self.max_tokens}; it must be at least {least}")
        if not 0 <= self.min_tokens <= self.max_tokens:
            raise UsageError(
                f"min_tokens is {self.min_tokens}; it must be from 0 to max_tokens, "
                f"{self.max_tokens}"
            )
        if not 0 <= self.alternatives <= MOST_ALTERNATIVES:
            raise UsageError(
                f"alternatives is {self.alternatives}; it must be from 0 to {MOST_ALTERNATIVES}"
            )


@dataclass(frozen=True)
class Scored:
    """One token of a prompt, as the model would have said it. All None and () for the first."""

    token: int
    logprob: float | None
    alternatives: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Event:
    """One token of one request, or its end.

    `token` is None only where a request ends without a new token (cancelled, or max_tokens 0). The
    stop id itself is reported as a token of the event that has finish "stop".
    """

    request: RequestId
    token: int | None
    logprob: float | None = None  # natural log, of the model's own distribution: before penalties,
    # bias, bans, temperature and cuts; None for a forced token
    forced: bool = False
    paused: bool = False
    finish: FinishReason | None = None
    alternatives: tuple[tuple[int, float], ...] = ()  # (id, logprob), best first, as many as asked
    prompt: tuple[Scored, ...] = ()  # with prompt_logprobs: every token of the prompt, once, in
    # the first event that is neither forced nor a cancellation


@dataclass(frozen=True)
class Load:
    """What an engine holds and has done, for those who watch it."""

    running: int  # requests that hold a slot
    waiting: int  # requests in the queue
    blocks: int  # blocks of the cache in all
    blocks_used: int  # blocks of running requests
    preemptions: int  # requests put back into the queue, since the engine was made
    prompt_tokens: int  # tokens of prompts of admitted requests, since the engine was made
    reused_tokens: int  # those of them that were in the cache
