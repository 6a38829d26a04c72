"""The one training loop, of every stage: pull a Step, learn from it, say what happened.

Each microbatch's loss is a sum; it is divided by the number of units in the whole step over all
ranks, known before the backward pass. So a step split into unequal, masked microbatches has the
same gradient as the whole step; the mean of their means would not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from parrotlet.core.errors import TrainingError
from parrotlet.core.log import get_logger
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import Batch, Step
from parrotlet.data.permutation import derive_key
from parrotlet.model.model import Model
from parrotlet.optim.build import Optimizers
from parrotlet.optim.schedule import Schedule
from parrotlet.train.losses import Objective
from parrotlet.train.parallel import sum_over_ranks

log = get_logger("loop")
MAX_SKIPPED = 10  # steps in a row without a finite gradient before training gives up


class Learner(nn.Module):
    """A model and its objective: what DDP wraps. forward(batch) is the summed loss."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> Tensor:
        """The objective's loss, summed over batch.count units."""
        return self.objective(self.model, batch)


@dataclass
class TrainState:
    """Everything that changes while training."""

    model: Model
    learner: nn.Module  # a Learner, or DDP around one
    optimizers: Optimizers
    runtime: Runtime
    step: int = 0  # optimizer steps done
    units: int = 0  # units learned from, over all ranks
    skipped: int = 0  # steps without a finite gradient, left out
    skipped_in_a_row: int = 0  # the last of them, up to now
    halvings: int = 0  # how often microbatches are cut in two, for want of memory
    seed: int = 0  # of dropout


@dataclass(frozen=True)
class Report:
    """One step, as it went. Tensors stay where they are; whoever prints them converts."""

    step: int  # steps done, this one included
    loss: Tensor  # mean over the step's units, over all ranks
    gradient_norm: Tensor
    lr: float  # the schedule's multiplier
    units: int  # of this step, over all ranks
    skipped: bool


def train(
    state: TrainState, steps: Iterator[Step], *, schedule: Schedule, clip: float | None
) -> Iterator[Report]:
    """Learn from each Step in turn; the next one is pulled only after weights have changed.

    Raises TrainingError after MAX_SKIPPED steps in a row without a finite gradient.
    """
    parameters = [each for each in state.model.parameters() if each.requires_grad]
    for step in steps:
        _seed_dropout(state)
        rates = schedule(state.step)
        units = _count(step, state.runtime)
        loss = _backward(state, step, units)
        norm = torch.nn.utils.get_total_norm(
            [each.grad for each in parameters if each.grad is not None]
        )
        finite = bool(torch.isfinite(norm))  # the same on all ranks: gradients are averaged
        if finite and units:  # of nothing learned, an optimizer would go on with its momentum
            if clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
            state.optimizers.set_rates(rates)
            state.optimizers.step()
        state.optimizers.zero_grad()
        state.step += 1
        state.units += units
        state.skipped += not finite
        state.skipped_in_a_row = 0 if finite else state.skipped_in_a_row + 1
        if state.skipped_in_a_row >= MAX_SKIPPED:
            raise TrainingError(
                f"no finite gradient in the last {MAX_SKIPPED} steps (to step {state.step}): the "
                "weights are those before them; lower the learning rates, or use --dtype float32"
            )
        yield Report(state.step, loss, norm, rates.lr, units, not finite)


def _seed_dropout(state: TrainState) -> None:
    """Each rank drops other values at each step, by numbers that depend on seed, rank and step.

    So no checkpoint needs to hold the generators of GPUs and other ranks. On a CPU the main rank
    goes on with its stream of numbers, which checkpoints keep.
    """
    runtime = state.runtime
    if not runtime.is_main or runtime.device.type != "cpu":
        torch.manual_seed(derive_key(state.seed, "dropout", runtime.rank, state.step))


def _count(step: Step, runtime: Runtime) -> int:
    """Units of the whole step over all ranks."""
    count = sum(batch.count for batch in step)
    if runtime.world_size == 1:
        return count
    return int(sum_over_ranks(torch.tensor(count, device=runtime.device), runtime).item())


def _backward(state: TrainState, step: Step, units: int) -> Tensor:
    """_gradients of the step; out of memory, its microbatches are cut in two, now and from now on.

    The step stays the same tokens. Raises TrainingError where they can be cut no further, and
    where other ranks, which may have had enough, would wait for this one.
    """
    while True:
        parts = list(step)
        for _ in range(state.halvings):
            parts = [half for batch in parts for half in batch.halves()]
        try:
            return _gradients(state, parts, units)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        state.optimizers.zero_grad()
        rows = max(len(batch.tokens) for batch in parts)
        cut = [half for batch in parts for half in batch.halves()]
        if len(cut) == len(parts) or state.runtime.world_size > 1:
            raise TrainingError(
                f"out of memory with {rows} rows of {parts[0].tokens.shape[1]} tokens at a time; "
                "the last checkpoint is whole: use a smaller --micro-tokens, --context or --depth"
            )
        state.halvings += 1
        log.warning("out of memory with %d rows at a time; going on with half of them", rows)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was refused; on a CPU PyTorch says so in words alone."""
    refused = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return refused or "can't allocate memory" in str(error)


def _gradients(state: TrainState, step: Step, units: int) -> Tensor:
    """Gradients of the mean loss of the whole step; returns that loss.

    DDP averages over ranks, so each rank's share is multiplied by their number. Only the last
    microbatch exchanges gradients.
    """
    runtime = state.runtime
    scale = runtime.world_size / max(1, units)
    total = torch.zeros((), device=runtime.device)
    for index, batch in enumerate(step):
        last = index == len(step) - 1
        wait = isinstance(state.learner, DistributedDataParallel) and not last
        with state.learner.no_sync() if wait else nullcontext():  # type: ignore[operator]
            loss = state.learner(batch.to(runtime.device))
            (loss * scale).backward()
        total += loss.detach()
    return sum_over_ranks(total, runtime) / max(1, units)
