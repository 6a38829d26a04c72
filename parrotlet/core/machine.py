"""What a person says of the machine to run a model on, and what memory it has. Torch-free."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parrotlet.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """What to run on."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for the best there is."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of weights and activations. auto: what is fast here."""
    quantize: Literal["auto", "none", "float16", "int8"] = "auto"
    """Pack matrices in fewer bytes: faster on a CPU, a little less exact. auto: float16 on a CPU
    that would compute in bfloat16, which is coarser, where few answers run at once."""
    context: int | None = None
    """The most tokens of a prompt and its answer; left out, the model's own, or as many as half of
    the memory that it leaves free can hold."""

    def __post_init__(self) -> None:
        if self.context is not None and self.context < 2:
            raise UsageError(f"--context {self.context}: a prompt and an answer need at least 2")


def free_memory() -> int | None:
    """Bytes that programs may still take, a container's limit minded; None where none can tell.

    Files that are kept in memory to be read again are no use of it: they make room.
    """
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError, KeyError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit, used, parts = (group / f"memory.{name}" for name in ("max", "current", "stat"))
        sizes = dict(line.split() for line in parts.read_text().splitlines())
        files = int(sizes["active_file"]) + int(sizes["inactive_file"])
        found.append(int(limit.read_text()) - int(used.read_text()) + files)
    with suppress(OSError, ValueError, AttributeError):
        if not found:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)
