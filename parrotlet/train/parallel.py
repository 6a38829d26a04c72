"""Several processes as one: torchrun's environment, gradients averaged by DDP, sums over ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from parrotlet.core.runtime import Runtime


@contextmanager
def process_group(runtime: Runtime) -> Iterator[None]:
    """Join torchrun's group for the length of the block; nothing to do in one process."""
    if runtime.world_size == 1:
        yield
        return
    dist.init_process_group("nccl" if runtime.device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wrap(learner: nn.Module, runtime: Runtime) -> nn.Module:
    """The learner, with gradients averaged over ranks where there are several."""
    if runtime.world_size == 1:
        return learner
    devices = [runtime.device] if runtime.device.type == "cuda" else None
    return DistributedDataParallel(learner, device_ids=devices, broadcast_buffers=False)


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


def wait_for_all(runtime: Runtime) -> None:
    """Return only when every rank is here."""
    if runtime.world_size > 1:
        dist.barrier()
