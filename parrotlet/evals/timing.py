"""What this machine can do, timed on a model that is thrown away: passes, then whole steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from parrotlet.core.errors import UsageError
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import Batch
from parrotlet.train.loop import Learner, Report, is_out_of_memory
from parrotlet.train.parallel import any_rank, sum_over_ranks

LEAST_STEPS, USEFUL_STEPS = 10, 100  # of a run measured in minutes: refused below, advised
MEASURED_STEPS = 16  # at most, timed before a run of --minutes; one more goes before them
TIMING_SECONDS, TIMING_SHARE = 2.0, 0.1  # timing ends after these, whichever comes first
PASSES, PASS_SECONDS = 4, 0.5  # of each size, at least two
LEAST_PASS = 1024  # tokens; smaller ones are never faster
FAR = 1.5  # times as slow as the best: larger ones are no better
WORTH = 0.97  # a larger pass, which takes more memory, must take less than this share of the time


def pass_sizes(rows: int, context: int) -> list[int]:
    """Rows in a pass that cut `rows` into 1, 2, 4, ... nearly equal parts, rising."""
    sizes = [rows]
    while sizes[-1] > 1 and sizes[-1] * context > LEAST_PASS:
        sizes.append(-(-sizes[-1] // 2))
    return sizes[::-1]


def fastest_pass(
    learner: Learner, batch_of: Callable[[int], Batch], sizes: Sequence[int], runtime: Runtime
) -> tuple[int, float]:
    """Which of the rising `sizes` learns a token in the least time, and its seconds.

    Of nearly equal ones the least, since it takes less memory. The same on all ranks, from their
    mean. Ends where memory does, or where a size is far slower.
    """
    costs = torch.full((len(sizes),), math.inf, dtype=torch.float64)
    for index, size in enumerate(sizes):
        batch = batch_of(size).to(runtime.device)
        try:
            costs[index] = _pass_seconds(learner, batch) / batch.tokens.numel()
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if index == 0 or not is_out_of_memory(error):
                raise
            break
        if costs[index] > FAR * costs.min():
            break
    learner.zero_grad(set_to_none=True)
    total = sum_over_ranks(costs.float().to(runtime.device), runtime).tolist()
    best = 0
    for index, cost in enumerate(total):
        if cost < WORTH * total[best]:
            best = index
    return sizes[best], total[best] / runtime.world_size


def _pass_seconds(learner: Learner, batch: Batch) -> float:
    """Seconds of a pass forward and back, the best of a few."""
    laps: list[float] = []
    while len(laps) < 2 or (len(laps) < PASSES and sum(laps) < PASS_SECONDS):
        begin = time.perf_counter()
        learner(batch).backward()
        gradients = [each.grad for each in learner.parameters() if each.grad is not None]
        float(torch.nn.utils.get_total_norm(gradients))  # waits for the device
        laps.append(time.perf_counter() - begin)
    return min(laps)


def step_seconds(reports: Iterator[Report], minutes: float, runtime: Runtime) -> float:
    """Mean seconds of a step, over the ranks too, of a run of so many minutes."""
    limit = min(TIMING_SECONDS, TIMING_SHARE * 60 * minutes)
    laps: list[float] = []
    # the first step of all is slow, and left out unless it alone takes what may be spent
    while len(laps) <= MEASURED_STEPS and not any_rank(sum(laps) > limit, runtime):
        begin = time.perf_counter()
        float(next(reports).loss)
        laps.append(time.perf_counter() - begin)
    counted = laps[1:] or laps
    seconds = torch.tensor(sum(counted) / len(counted), device=runtime.device)
    return float(sum_over_ranks(seconds, runtime)) / runtime.world_size


def steps_left(records: Sequence[Mapping[str, Any]], minutes: float, planned: int) -> int:
    """How many steps fit into what is left of the minutes, by the later half of those done.

    At least half of those planned and at most twice as many: the course stays what it was. As
    planned where too few records are left to say.
    """
    if len(records) < LEAST_STEPS:
        return planned
    last, half = records[-1], records[len(records) // 2 - 1]
    lap = (last["seconds"] - half["seconds"]) / max(1, last["step"] - half["step"])
    fitting = (60 * minutes - last["seconds"]) / max(lap, 1e-9)
    return int(min(2.0 * planned, max(0.5 * planned, fitting)))


class TooShort(UsageError):
    """Minutes in which nothing could be learned."""


def enough_steps(minutes: float, seconds: float) -> int:
    """Steps of so many `seconds` in so many minutes.

    Raises TooShort where they are too few to learn anything, saying what it would take.
    """
    steps = int(minutes * 60 / seconds)
    if steps < LEAST_STEPS:
        needed = USEFUL_STEPS * seconds / 60
        raise TooShort(
            f"{minutes:.2g} minutes are {steps} steps of this model on this machine, too few to "
            f"learn anything: {USEFUL_STEPS} steps take {needed:.2g} minutes; give more --minutes, "
            "or take a smaller model or batch"
        )
    return steps
