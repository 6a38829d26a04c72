"""A run's directory opened: where it lies, what it starts from, its lock, threads and seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from parrotlet.core.errors import ParrotletError
from parrotlet.core.rundir import METRICS, lock
from parrotlet.core.runtime import Runtime, keep_memory, make_runtime
from parrotlet.stages.config import BudgetConfig, PlaceConfig, RunConfig, run_name
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.plan import Plan, make_plan, row_length
from parrotlet.stages.record import gone, remember, settled
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.checkpoint import Checkpoint
from parrotlet.train.parallel import on_main, process_group, wait_for_all


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a stage stands on that goes on with a model."""

    directory: Path
    start: Checkpoint
    tokenizer: Tokenizer
    runtime: Runtime

    def plan(self, budget: BudgetConfig, context: int, rows: int, row: int | None = None) -> Plan:
        """make_plan for an epoch of so many rows of `context` tokens, or of `row`."""
        return make_plan(
            self.start.config,
            budget,
            context=context,
            row=row,
            tokens_per_epoch=rows * (row or context),
            world_size=self.runtime.world_size,
            rows_per_step=settled(self.directory).get("rows_per_step"),
        )


def run_directory(run: PlaceConfig, default_name: str) -> Path:
    """The directory of a run; UsageError for a name that cannot be one."""
    return run.runs / run_name(default_name if run.name is None else run.name)


def start_of(path: Path, directory: Path) -> Checkpoint:
    """The checkpoint that the run in `directory` starts from; its own newest where that is gone."""
    own = checkpoints.newest(directory) if gone([path]) else None
    return own or checkpoints.find(path)


@contextmanager
def opened(directory: Path, run: RunConfig) -> Iterator[Runtime]:
    """The run directory locked, the process group joined, threads and seeds set.

    A run that has begun keeps the dtype and the threads it began with: bits depend on them. A
    directory made for a run that is refused before its first step does not stay.
    """
    before = settled(directory)
    keep_memory()
    runtime = make_runtime(run.device, before.get("dtype", run.dtype))
    threads = before.get("threads", run.threads)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(run.seed)
    new = runtime.is_main and not directory.exists()
    with process_group(runtime), ExitStack() as locked:
        on_main(lambda: locked.enter_context(lock(directory)), runtime)
        try:
            yield runtime
        except ParrotletError:
            if new and not (directory / METRICS).exists():  # refused before the first step
                shutil.rmtree(directory, ignore_errors=True)
            raise
        wait_for_all(runtime)


@contextmanager
def tuning(
    verb: str, config: SftConfig | DpoConfig | RlConfig, check: Callable[[Checkpoint], object]
) -> Iterator[Ground]:
    """The run of a stage that goes on with a model, opened, its settings kept in recipe.json.

    check: raises UsageError for what cannot work with that model; nothing is written before.
    """
    directory = run_directory(config.run, f"{config.start.name}-{verb}")
    start = start_of(config.start, directory)
    check(start)
    with opened(directory, config.run) as runtime:
        tokenizer = checkpoints.load_tokenizer(start)
        on_main(lambda: remember(directory, verb, config), runtime)
        yield Ground(directory=directory, start=start, tokenizer=tokenizer, runtime=runtime)


def check_budget(config: SftConfig | DpoConfig, start: Checkpoint) -> None:
    """UsageError for a budget or a context that cannot work with the model."""
    context = row_length(config.context, start.config)
    make_plan(start.config, config.budget, context=context, tokens_per_epoch=1)
