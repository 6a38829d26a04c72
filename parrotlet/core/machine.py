"""What a person says of the machine to run a model on, and what memory it has. Torch-free."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """What to run on."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for the best there is."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of weights and activations. auto: what is fast here."""
    quantize: Literal["float16", "int8"] | None = None
    """Pack matrices in fewer bytes: faster on a CPU, a little less exact."""


def free_memory() -> int | None:
    """Bytes that programs may still take, a container's limit minded; None where none can tell."""
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (group / f"memory.{name}" for name in ("max", "current"))
        found.append(int(limit.read_text()) - int(used.read_text()))
    with suppress(OSError, ValueError, AttributeError):
        if not found:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)
