"""What is asked of the engine and what it answers: ids and numbers, no text. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from parrotlet.core.errors import UsageError

RequestId = int
FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the next token is chosen. Order: penalty, bans, temperature, top-k, top-p, min-p."""

    temperature: float = 1.0  # 0 takes the best token, exactly
    top_k: int | None = None  # keep the k best
    top_p: float = 1.0  # keep the fewest tokens whose probabilities reach p
    min_p: float = 0.0  # keep tokens at least min_p times as likely as the best
    repetition_penalty: float = 1.0  # divides positive (multiplies negative) logits of ids seen
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "temperature": (0.0, 100.0),
            "top_p": (1e-9, 1.0),
            "min_p": (0.0, 1.0),
            "repetition_penalty": (0.01, 100.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise UsageError(f"{name} is {value}; it must be from {low:g} to {high:g}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}; it must be at least 1, or left out")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One sequence to continue."""

    prompt: tuple[int, ...]
    max_tokens: int  # sampled tokens; forced ones do not count
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    stop_ids: frozenset[int] = frozenset()  # sampling one of these ends the request
    pause_ids: frozenset[int] = frozenset()  # after one of these the request waits for force()
    banned_ids: frozenset[int] = frozenset()  # never sampled
    choice: int = 0  # which of several answers to one prompt this is; part of the random key

    def __post_init__(self) -> None:
        if not self.prompt:
            raise UsageError("the prompt has no tokens; start it with the beginning-of-text token")
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}; it must be at least 1")


@dataclass(frozen=True)
class Event:
    """One token of one request, or its end.

    `token` is None only where a request ends without a new token (cancelled). The stop id itself
    is reported as a token of the event that has finish "stop".
    """

    request: RequestId
    token: int | None
    logprob: float | None = None  # natural log, of the model's own distribution: before penalty,
    # bans, temperature and cuts; None for a forced token
    forced: bool = False
    paused: bool = False
    finish: FinishReason | None = None
