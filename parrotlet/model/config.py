"""ModelConfig: every number that shapes a model. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from parrotlet.core.errors import UsageError

Architecture = Literal["gpt2", "qwen3", "swift"]
SIZES = ["vocab_size", "context", "depth", "width", "heads", "kv_heads", "head_width", "mlp_width"]

# Up to this many tokens, training in bfloat16 on a CPU spells attention out: with the fused kernel
# a pass and its backward pass took 8 times as long at 64 tokens, twice at 256 and at 512.
SHORT = 512


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a model; every architecture reads the fields it knows."""

    arch: Architecture
    vocab_size: int  # V
    context: int  # the longest T
    depth: int  # L
    width: int  # D
    heads: int  # H
    kv_heads: int  # K, which divides H
    head_width: int  # C
    mlp_width: int
    rope_base: float = 10_000.0  # qwen3 and swift
    norm_eps: float = 1e-6
    tied: bool = True  # one matrix for embedding and head
    bigrams: int = 0  # rows of swift's table of pairs of tokens; 0: none

    def __post_init__(self) -> None:
        for name in SIZES:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.heads % self.kv_heads:
            raise UsageError(
                f"{self.heads} heads cannot share {self.kv_heads} key-value heads; "
                f"use a divisor of {self.heads}"
            )
        if self.arch == "gpt2" and self.heads * self.head_width != self.width:
            raise UsageError(
                f"width {self.width} is not {self.heads} heads of {self.head_width}; "
                f"use a width that {self.heads} divides"
            )
        if self.arch == "gpt2" and self.kv_heads != self.heads:
            raise UsageError(
                f"gpt2 has a key-value head for each of its {self.heads} heads, not "
                f"{self.kv_heads} in all; leave kv_heads out or use qwen3"
            )
        if self.arch == "swift" and self.tied:
            raise UsageError("swift's head is a matrix of its own; set tied to False")
        if self.bigrams and self.arch != "swift":
            raise UsageError(
                f"bigrams is {self.bigrams}, and only swift has a table of pairs; leave it out, or "
                "use swift"
            )
        if not 0 <= self.bigrams <= self.vocab_size**2:
            raise UsageError(
                f"bigrams is {self.bigrams}; it must be from 0 to the {self.vocab_size**2} pairs "
                "of the vocabulary"
            )
        if self.arch != "gpt2" and self.head_width % 2:
            raise UsageError(f"head width {self.head_width} is odd; rotary positions need pairs")

    def to_json(self) -> dict[str, Any]:
        """A plain dict that from_json reads back."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> ModelConfig:
        """The config of a dict made by to_json; TypeError for fields that do not belong."""
        return ModelConfig(**value)
