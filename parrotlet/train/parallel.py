"""Several processes as one: torchrun's environment, gradients averaged by DDP, sums over ranks.

A failure is told once, by the rank it happened on; the others leave with status 1 and no word.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from parrotlet.core.errors import RunError
from parrotlet.core.runtime import Runtime


@contextmanager
def process_group(runtime: Runtime) -> Iterator[None]:
    """Join torchrun's group; nothing to do in one process.

    It is joined once and left when the process ends, since a group left cannot be joined again.
    Raises SystemExit where another rank is gone, which said why.
    """
    if runtime.world_size == 1:
        yield
        return
    if not dist.is_initialized():
        dist.init_process_group("nccl" if runtime.device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise SystemExit(1) from error
        raise


def wrap(learner: nn.Module, runtime: Runtime) -> nn.Module:
    """The learner, with gradients averaged over ranks where there are several."""
    if runtime.world_size == 1:
        return learner
    devices = [runtime.device] if runtime.device.type == "cuda" else None
    return DistributedDataParallel(learner, device_ids=devices)


def sum_over_ranks(value: Tensor, runtime: Runtime) -> Tensor:
    """The sum of `value` over all ranks, in place."""
    if runtime.world_size > 1:
        dist.all_reduce(value)
    return value


def any_rank(flag: bool, runtime: Runtime) -> bool:
    """True on every rank as soon as it is true on one, so that all stop at the same step."""
    if runtime.world_size == 1:
        return flag
    value = torch.tensor(int(flag), device=runtime.device)
    return bool(sum_over_ranks(value, runtime).item())


def on_main(work: Callable[[], object], runtime: Runtime) -> None:
    """Let the main rank work while the others wait.

    Where it fails it raises its error, and the others leave: by a RunError where it is one (a full
    disk, that training may outlive), else by SystemExit.
    """
    failure: Exception | None = None
    if runtime.is_main:
        try:
            work()
        except Exception as error:  # raised below, when the others know
            failure = error
    cannot_write = any_rank(isinstance(failure, RunError), runtime)
    failed = any_rank(failure is not None, runtime)
    if failure is not None:
        raise failure
    if cannot_write:
        raise RunError("the main rank could not write; its message says why")
    if failed:
        raise SystemExit(1)


def wait_for_all(runtime: Runtime) -> None:
    """Return only when every rank is here."""
    if runtime.world_size > 1:
        dist.barrier()
