"""The knobs of `parrotlet serve`. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from parrotlet.core.errors import UsageError
from parrotlet.core.machine import MachineConfig
from parrotlet.safety.config import SafetyConfig

NONE_GIVEN = tyro.conf.arg(help_behavior_hint="(default: none)")


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """What clients may ask for. More is refused before any work is done."""

    slots: int = 32
    """Answers of a model that are written at once."""
    queue: int = 64
    """Answers that may wait for a slot; a request for more gets 429."""
    per_key: int = 64
    """Requests of one API key at once; one more gets 429."""
    max_body: int = 1_048_576
    """Bytes of a request."""
    max_messages: int = 500
    """Messages of a conversation, or prompts of a request."""
    max_chars: int = 32_768
    """Characters of all messages or prompts together."""
    queue_timeout: float = 30.0
    """Seconds a request may wait for a slot, or take to arrive."""
    deadline: float = 600.0
    """Seconds an answer may take."""
    send_timeout: float = 30.0
    """Seconds a client may leave an answer unread before the connection is closed."""
    drain: float = 30.0
    """Seconds that running answers get to finish after SIGTERM or Ctrl-C."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < float("inf") or (value == 0 and name not in ("queue", "drain")):
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} {value}: choose a number above 0")


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Serve models to everything that speaks OpenAI's protocol, and to the page.

    API keys are read from --api-key-file, or from PARROTLET_API_KEY; with none, anyone on this
    machine may ask.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(help_behavior_hint="(one or more)")
    ]
    """Runs or checkpoints, each PATH or NAME=PATH; of a demo all its stages."""
    host: str = "127.0.0.1"
    """The address to listen on; other than this machine's own it needs API keys."""
    port: int = 8000
    """The port; 0 takes a free one and prints it."""
    api_key_file: Path | None = None
    """A file of API keys, one a line."""
    insecure: bool = False
    """Listen on any address without API keys."""
    cors: Annotated[tuple[str, ...], NONE_GIVEN] = ()
    """Origins whose pages may ask from a browser, such as http://localhost:8501."""
    strict: bool = False
    """Refuse requests with unknown fields instead of ignoring these."""
    inspect: bool = False
    """Offer /inspect, which shows the inside of models, to this machine only."""
    while_input: bool = False
    """Stop when standard input ends: whoever started this then takes it along, however it ends."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"--port {self.port}: choose one from 0 to 65535")
