"""The knobs of the safety filters. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SafetyConfig:
    """What judges messages, tool results and replies."""

    filter: bool = True
    """Judge by the safety filters; --no-filter turns all of them off."""
    policy: Path | None = None
    """A policy file instead of the default one, parrotlet/safety/policy.toml."""
