"""A model, ready to answer: from a path to an engine and a tokenizer.

Memory is looked at before anything is loaded. Weights and caches have to fit; a context so long
that its caches would take most of what the weights leave is made shorter, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from parrotlet.core.errors import UsageError
from parrotlet.core.log import get_logger
from parrotlet.core.machine import MachineConfig, free_memory
from parrotlet.core.runtime import Runtime, make_runtime
from parrotlet.engine.engine import CHUNK, Engine
from parrotlet.engine.fidelity import packing_error
from parrotlet.engine.packed import Weights, can_pack
from parrotlet.model.cache import cache_dtype
from parrotlet.model.cost import kv_cache_bytes, num_parameters
from parrotlet.model.model import Model
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, find, load_model, load_tokenizer

FLOAT32_BYTES = 4
SHARE = 2  # caches take at most one part in so many of what the weights leave
FEW = 32  # answers at once: more are faster in bfloat16 than packed as float16
LEAST = 256  # tokens a context is not made shorter than
log = get_logger("engine")


@dataclass(frozen=True)
class Loaded:
    """What generation needs."""

    checkpoint: Checkpoint
    engine: Engine
    tokenizer: Tokenizer
    model: Model  # as it was saved; the engine may have made a copy in another dtype


def load(
    source: Path | Checkpoint,
    machine: MachineConfig,
    *,
    slots: int = 1,
    length: int | None = None,
    chunk: int = CHUNK,
) -> Loaded:
    """The newest checkpoint of a run (or the one named), verified and loaded.

    `length`: the most tokens that a prompt and its answer will have. `chunk`: how many of prompts
    are read in a step. UsageError where memory is too small, or --context longer than the model's.
    """
    checkpoint = find(source) if isinstance(source, Path) else source
    return load_several([checkpoint], machine, slots=slots, length=length, chunk=chunk)[0]


def load_several(
    checkpoints: Sequence[Checkpoint],
    machine: MachineConfig,
    *,
    slots: int,
    length: int | None = None,
    chunk: int = CHUNK,
) -> list[Loaded]:
    """Several at once, each with as many slots; UsageError, before any is loaded, as in `load`."""
    runtime = make_runtime(machine.device, machine.dtype)
    bound = _bound(checkpoints, machine, runtime, slots, length)
    return [_load(each, machine, runtime, bound, slots, chunk) for each in checkpoints]


def _load(
    checkpoint: Checkpoint,
    machine: MachineConfig,
    runtime: Runtime,
    bound: int,
    slots: int,
    chunk: int,
) -> Loaded:
    model = load_model(checkpoint, runtime)
    length = min(bound, model.config.context)
    packing = packing_of(machine, runtime, slots)
    engine = Engine(model, slots=slots, length=length, prefill_chunk=chunk, quantize=packing)
    tokenizer = load_tokenizer(checkpoint)
    if packing is not None and machine.quantize != "auto":
        log.warning(
            "matrices packed as %s: log-probabilities move by %.4f nats on average",
            packing,
            packing_error(engine, model, tokenizer.encode_document("")),
        )
    return Loaded(checkpoint, engine, tokenizer, model)


def packing_of(machine: MachineConfig, runtime: Runtime, slots: int) -> Weights | None:
    """How matrices are packed on this machine, for an engine of so many slots."""
    if machine.quantize == "auto":
        coarse = runtime.device.type == "cpu" and runtime.compute_dtype == torch.bfloat16
        asked = machine.dtype != "auto"
        return "float16" if coarse and not asked and slots <= FEW and can_pack("float16") else None
    return None if machine.quantize == "none" else machine.quantize


def _bound(
    checkpoints: Sequence[Checkpoint],
    machine: MachineConfig,
    runtime: Runtime,
    slots: int,
    length: int | None,
) -> int:
    """The most tokens of a slot: what is asked for, or what memory has room for, said where that
    is less. UsageError where not even the weights and LEAST tokens have room.
    """
    configs = [each.config for each in checkpoints]
    longest = max(config.context for config in configs)
    if machine.context is not None and machine.context > longest:
        raise UsageError(
            f"--context {machine.context} is longer than the model's {longest}; use at most that"
        )
    wanted = min(machine.context or longest, length or longest)
    free = _free(runtime.device)
    if free is None:
        return wanted
    itemsize = runtime.compute_dtype.itemsize
    cast = itemsize if itemsize < FLOAT32_BYTES else 0  # read in float32 first
    copied = {None: cast, "int8": 1, "float16": 2}[packing_of(machine, runtime, slots)]
    weights = (FLOAT32_BYTES + copied) * sum(map(num_parameters, configs))
    kept = cache_dtype(runtime.compute_dtype, runtime.device).itemsize
    token = sum(kv_cache_bytes(config, slots, kept) for config in configs)
    least = wanted if machine.context else min(wanted, LEAST)
    if weights + least * token > free:
        names = ", ".join(str(each.path) for each in checkpoints)
        raise UsageError(
            f"{names}: weights of {weights:,} bytes and {least * token:,} "
            f"to remember {least:,} tokens in each of {slots} answers at once are "
            f"more than the {free:,} bytes of memory that are free; take a smaller model, a "
            "shorter --context or fewer answers at once (serve: --slots)"
        )
    found = max(least, min(wanted, (free - weights) // SHARE // token))
    if found < wanted:
        log.warning(
            "context shortened to %s of %s tokens, for which half of the free memory has room; "
            "--context says otherwise",
            f"{found:,}",
            f"{wanted:,}",
        )
    return found


def _free(device: torch.device) -> int | None:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
