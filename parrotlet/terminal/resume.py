"""`parrotlet resume`: go on with a run, whatever made it, with the settings it was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parrotlet.terminal.config import ResumeConfig
from parrotlet.terminal.demo import demo
from parrotlet.terminal.stored import stored_config
from parrotlet.terminal.train import dpo, pretrain, rl, sft


def resume(config: ResumeConfig) -> int:
    """Go on with a run, whatever made it."""
    verbs: dict[str, Callable[[Any], int]] = {
        "pretrain": pretrain,
        "sft": sft,
        "dpo": dpo,
        "rl": rl,
        "demo": demo,
    }
    verb, stored = stored_config(config.run)
    return verbs[verb](stored)
