"""What a person can choose about the page. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from parrotlet.core.errors import UsageError
from parrotlet.core.machine import MachineConfig
from parrotlet.safety.config import SafetyConfig

PORT = 8501


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Chat in a browser, watch runs learn, look inside models. On this machine, for it alone.

    A server of the models is started with it, and stopped with it. The server's API key, where
    --api-url needs one, is read from PARROTLET_API_KEY.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(help_behavior_hint="(one or more)")
    ]
    """Runs or checkpoints, each PATH or NAME=PATH; of a demo all its stages."""
    port: int | None = None
    """The port of the page, on 127.0.0.1; left out, 8501, or the next one that is free."""
    api_url: str | None = None
    """A server that runs already; left out, one is started."""
    home: Path | None = None
    """Folder of the conversations and thumbs; left out, web/ in the first run."""
    browser: bool = True
    """Open the page in a browser, where this machine has a screen."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        if self.port is not None and not 1 <= self.port <= 65_535:
            raise UsageError(f"--port {self.port}: choose one from 1 to 65535")
        if not self.runs:
            raise UsageError("name a run, for example: parrotlet web runs/demo")
        if self.api_url is not None and not self.api_url.startswith(("http://", "https://")):
            raise UsageError(f"--api-url {self.api_url} is no address; it begins with http://")
