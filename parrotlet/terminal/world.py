"""`parrotlet world show`: what the embedded world writes and says, for a person to read."""

from __future__ import annotations

from rich.console import Console

from parrotlet.core.errors import UsageError
from parrotlet.terminal.config_runs import WorldConfig
from parrotlet.world.entities import World
from parrotlet.world.records import ABILITIES, KINDS
from parrotlet.world.show import samples


def world(config: WorldConfig) -> int:
    """Print samples of one kind, or of every kind; UsageError for a kind there is not."""
    if config.count < 1:
        raise UsageError(f"--count {config.count}: ask for at least one sample")
    console = Console()
    made = World(config.seed)
    kinds = KINDS if config.side == "train" else tuple(ABILITIES)
    for kind in (config.kind,) if config.kind is not None else kinds:
        for index, text in enumerate(samples(made, kind, config.count, config.side)):
            if index == 0:
                console.rule(f"[bold]{kind}", align="left")
            console.print(text, markup=False, highlight=False)
            console.print()
    return 0
