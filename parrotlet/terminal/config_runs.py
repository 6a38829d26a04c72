"""What a person can choose when looking at the world, at runs and at models. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from parrotlet.core.errors import UsageError
from parrotlet.stages.bounds import check_bounds
from parrotlet.stages.config import Paths, check_seed
from parrotlet.stages.config_pretrain import ShapeConfig
from parrotlet.terminal.config import MachineConfig
from parrotlet.world.chance import Side


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Look at the embedded world: samples of every kind, or of what tests ask."""

    action: tyro.conf.Positional[Literal["show"]]
    """What to do: show."""
    kind: str | None = None
    """One kind of record, or of --side test one ability; left out, all, each under its name."""
    count: int = 2
    """How many of each kind."""
    side: Side = "train"
    """What training learns from, or what tests ask and what a right reply says."""
    seed: int = 0
    """Seed of the world."""

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Measure what a model can do; the result is printed and kept in the run."""

    run: tyro.conf.Positional[Path]
    """A run, a checkpoint or a demo."""
    what: tyro.conf.Positional[str]
    """world: the abilities of the embedded world, with 95% intervals; world/NAME: one of them, such
    as world/counting; bpb: bits per byte on the files of --data."""
    cases: int = 1000
    """world: cases of each ability."""
    seed: int | None = None
    """world: seed of the world; left out, the one the run learned."""
    data: Paths = ()
    """bpb: files, folders or globs of text."""
    column: str | None = None
    """bpb: name of the column or key that holds the text."""
    machine: MachineConfig = field(default_factory=MachineConfig)


@dataclass(frozen=True, kw_only=True)
class PlotConfig:
    """Draw the curves of runs over each other, with the band of their recipe."""

    runs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="(at least one)")]
    ]
    """Runs; of a demo, every stage."""
    out: Path | None = None
    """The HTML page to write; left out, plot.html in the first run."""
    terminal: bool = False
    """Draw the loss here instead of writing a page."""


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Say in plain language how a run's curve looks, or what this machine can do, by what, and what
    to do about it."""

    run: tyro.conf.Positional[Path | None] = None
    """A run, finished or not; of a demo, every stage. Left out: the machine."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What training on rented GPUs would take, on paper: hours, memory, communication, money."""

    recipe: str = "default"
    """The recipe whose shape and budget are the defaults of the other flags."""
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    vocab_size: int = 32768
    """Size of the vocabulary."""
    tokens: int | None = None
    """Tokens to train on; left out, 12 for each parameter that is multiplied."""
    batch_tokens: int = 524_288
    """Tokens in one optimizer step, over all GPUs."""
    gpu: Literal["h100", "h200", "a100", "rtx4090"] = "h100"
    """The kind of GPU."""
    gpus: tuple[int, ...] = (1, 8, 64, 1024)
    """How many of them, each for a row of the table."""
    price: float | None = None
    """Dollars for an hour of one GPU; left out, a usual price."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if min(self.gpus, default=0) < 1:
            raise UsageError("--gpus: give at least one number, each at least 1")
