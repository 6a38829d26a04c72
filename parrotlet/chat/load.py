"""A model, ready to answer: from a path to an engine and a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parrotlet.core.log import get_logger
from parrotlet.core.machine import MachineConfig
from parrotlet.core.runtime import make_runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.fidelity import packing_error
from parrotlet.model.model import Model
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, find, load_model, load_tokenizer


@dataclass(frozen=True)
class Loaded:
    """What generation needs."""

    checkpoint: Checkpoint
    engine: Engine
    tokenizer: Tokenizer
    model: Model  # as it was saved; the engine may have made a copy in another dtype


def load(source: Path | Checkpoint, machine: MachineConfig, *, slots: int = 1) -> Loaded:
    """The newest checkpoint of a run (or the one named), verified and loaded."""
    checkpoint = find(source) if isinstance(source, Path) else source
    runtime = make_runtime(machine.device, machine.dtype)
    model = load_model(checkpoint, runtime)
    engine = Engine(model, slots=slots, quantize=machine.quantize)
    tokenizer = load_tokenizer(checkpoint)
    if machine.quantize is not None:
        get_logger("engine").warning(
            "matrices packed as %s: log-probabilities move by %.4f nats on average",
            machine.quantize,
            packing_error(engine, model, tokenizer.encode_document("")),
        )
    return Loaded(checkpoint, engine, tokenizer, model)
