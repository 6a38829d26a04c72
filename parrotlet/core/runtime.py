"""Where the computation happens: device, dtypes, rank and threads, made once and passed on."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from dataclasses import dataclass

import torch

from parrotlet.core.errors import UsageError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Facts about this process; nothing here changes while it runs."""

    device: torch.device
    compute_dtype: torch.dtype
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """True on the one rank that writes and prints."""
        return self.rank == 0


def detect_device(wanted: str = "auto") -> torch.device:
    """The device asked for, or the best one there is; UsageError where it is not there."""
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "cuda"
        elif torch.backends.mps.is_available():
            wanted = "mps"
        else:
            wanted = "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {wanted}: PyTorch sees no CUDA GPU here; use --device cpu")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: PyTorch sees no Apple GPU here; use --device cpu")
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"--device {wanted!r} is not a device: use cpu, cuda or mps") from error


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products pay on this device (on CPU: native instructions)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def compute_dtype_for(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """The dtype of activations: as asked ("float32", "bfloat16"), or what pays here ("auto")."""
    if wanted == "float32":
        return torch.float32
    if wanted == "bfloat16":
        return torch.bfloat16
    if wanted != "auto":
        raise UsageError(f"--dtype {wanted!r} is not known: use auto, float32 or bfloat16")
    return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32


def keep_memory() -> None:
    """Let this process keep what it frees, where glibc manages memory.

    Training asks for the same sizes in every step; given back to the kernel, pages come again as
    zeros that take a third of a step to write (LOG.md). Elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def make_runtime(device: str = "auto", dtype: str = "auto") -> Runtime:
    """Read the environment (torchrun's variables too) once.

    Raises UsageError for a device or dtype that is not there.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    found = detect_device(device)
    if found == torch.device("cuda"):  # without a number: the one of this process
        found = torch.device("cuda", local_rank)
        torch.cuda.set_device(found)
    return Runtime(
        device=found,
        compute_dtype=compute_dtype_for(found, dtype),
        rank=int(os.environ.get("RANK", "0")),
        local_rank=local_rank,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
    )
