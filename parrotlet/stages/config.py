"""The knobs that stages share: where a run lives, what it runs on, how long. Torch-free.

Each knob of a stage is written once, here or in the stage's own config file. `tyro` turns these
classes into command lines: a field is a flag, and the text under it its help. A run keeps its
configuration in recipe.json (config_json.py), so that resuming needs no flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.rundir import check_name
from parrotlet.stages.bounds import BOUNDS, check_bounds

MICRO_TOKENS = 16_384
# what --help says of a list that is empty where nothing is given
NOTHING_GIVEN = tyro.conf.arg(help_behavior_hint="(default: none)")


def check_seed(seed: int) -> None:
    """UsageError for a seed that random generators do not take."""
    low, high = BOUNDS["seed"]
    if not low <= seed <= high:
        raise UsageError(f"--seed {seed}: choose a whole number from {low} to {high}")


def run_name(name: str) -> str:
    """The name itself; UsageError where it cannot be one."""
    try:
        return check_name(name)
    except RunError as error:
        raise UsageError(str(error)) from error


def _paths(words: list[str]) -> tuple[Path, ...]:
    if not words:
        raise ValueError("name at least one file, folder or glob, or leave the flag out")
    return tuple(map(Path, words))


# a flag with nothing after it is a slip, not the wish to learn from something else
Paths = Annotated[
    tuple[Path, ...],
    NOTHING_GIVEN,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="PATH [PATH ...]",
        instance_from_str=_paths,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [str(each) for each in value],
    ),
]


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    """Where a run lives, and its seed."""

    name: str | None = None
    """Name of the run: a folder under --runs. Left out: the verb's or recipe's own name."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    seed: int = 0
    """Seed of everything random: weights, order of the data, samples."""

    def __post_init__(self) -> None:
        if self.name is not None:
            run_name(self.name)


@dataclass(frozen=True, kw_only=True)
class RunConfig(PlaceConfig):
    """Where a run lives and what it runs on."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for the best there is."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of activations and matrix products; weights are kept in float32. auto: what is fast here."""
    threads: int | None = None
    """CPU threads; left out, PyTorch's choice."""
    compile: bool = False
    """Compile the model first: under a minute on a CPU for 5% (LOG.md), so for runs of hours."""
    show_batch: bool = False
    """Before the first step, print one row of the first batch as text, with what is learned."""


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """How long to train and how much at once. One of --steps, --tokens and --minutes."""

    steps: int | None = None
    """Optimizer steps."""
    tokens: int | None = None
    """Tokens to train on; becomes steps."""
    minutes: float | None = None
    """Minutes of training; becomes steps by timing a few before the first, and again on the way."""
    batch_tokens: int | None = 8192
    """Tokens in one optimizer step, over all ranks; None: by the rules."""
    micro_tokens: int | Literal["auto"] | None = None
    """The most tokens in one forward pass of one rank; larger batches are cut into microbatches.
    auto: the fastest of several sizes, timed at the start; left out, that on a GPU and 16,384 on a
    CPU, where it changes little."""
    evaluate_every: int | None = None
    """Steps between evaluations; left out, ten times in a run."""
    save_every: int | None = None
    """Steps between checkpoints, besides those by time."""
    save_seconds: float = 60.0
    """Seconds between checkpoints."""
    sample_seconds: float = 30.0
    """Seconds between samples."""

    @property
    def fixed_micro_tokens(self) -> int:
        """micro_tokens, where they are not measured."""
        return self.micro_tokens if isinstance(self.micro_tokens, int) else MICRO_TOKENS


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adaptation, which needs a fraction of the memory; merged in what is saved."""

    lora_rank: int = 0
    """Learn a product of this rank beside every matrix of the blocks, and of the rest only what a
    base model has not met: the chat's tokens; 0: learn all weights."""
    lora_alpha: float = 16.0
    """The product counts alpha / rank times."""


class Checked:
    """A configuration whose numbers are within bounds, or UsageError where it is made."""

    def __post_init__(self) -> None:
        check_bounds(self)


def learned_from(data: tuple[Path, ...], seed: int) -> str:
    """What a stage learns from, for a person."""
    return ", ".join(map(str, data)) or f"the embedded world (seed {seed})"
