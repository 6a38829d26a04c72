"""`parrotlet eval`: a model measured; the numbers on the screen, and as JSON in the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from parrotlet.core.errors import DataError, UsageError
from parrotlet.core.rundir import RECIPE, read_json, write_json
from parrotlet.core.runtime import make_runtime
from parrotlet.data.sources import Source, open_sources
from parrotlet.data.streams import evaluation_batches
from parrotlet.data.tokens import TokenArray
from parrotlet.evals.bpb import bits_per_byte
from parrotlet.evals.world import evaluate_tasks, world_tasks
from parrotlet.terminal.config_runs import EvalConfig
from parrotlet.terminal.copied import say
from parrotlet.terminal.load import load_to_measure
from parrotlet.terminal.report import show_abilities
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, find, load_model, load_tokenizer
from parrotlet.world.records import ABILITIES

ROW_TOKENS = 8192  # of text in one forward pass


def evaluate(config: EvalConfig) -> int:
    """Run one evaluation and keep its result as eval-NAME.json beside the checkpoint.

    Raises UsageError for one there is not.
    """
    what, _, ability = config.what.partition("/")
    if what not in EVALUATIONS or (ability and (what != "world" or ability not in ABILITIES)):
        raise UsageError(
            f"{config.what!r} is nothing to measure: choose world, bpb, or one ability: "
            + ", ".join(f"world/{name}" for name in ABILITIES)
        )
    console = Console()
    checkpoint = find(config.run)
    result = EVALUATIONS[what](checkpoint, config, console)
    path = checkpoint.path.parent / f"eval-{config.what.replace('/', '-')}.json"
    write_json(path, {"checkpoint": checkpoint.path.name, **result})
    say(console, f"kept in {path}")
    return 0


def _world(checkpoint: Checkpoint, config: EvalConfig, console: Console) -> dict[str, Any]:
    """The world's abilities or one of them, on the test side of the world the model learned."""
    if config.cases < 1:
        raise UsageError(f"--cases {config.cases} tests nothing; ask for at least 1")
    seed = seed_of(checkpoint) if config.seed is None else config.seed
    loaded = load_to_measure(checkpoint, config.machine)
    tasks = world_tasks(seed, config.cases)
    only = config.what.removeprefix("world/")
    chosen = {only: tasks[only]} if only in tasks else tasks
    results = evaluate_tasks(loaded.engine, loaded.tokenizer, chosen)
    show_abilities(results, console)
    return {"seed": seed, "cases": config.cases, "abilities": results}


def _bpb(checkpoint: Checkpoint, config: EvalConfig, console: Console) -> dict[str, Any]:
    """Bits per byte on files, all of them, in rows of the model's context, at most ROW_TOKENS."""
    if not config.data:
        raise UsageError("name the text to measure on: --data FILES")
    source = open_sources(config.data, column=config.column)
    runtime = make_runtime(config.machine.device, config.machine.dtype)
    tokens = encoded(source, load_tokenizer(checkpoint))
    if len(tokens) < 2:
        raise DataError(f"{len(tokens)} tokens of text are too few to measure on; name more text")
    context = min(checkpoint.config.context, ROW_TOKENS)
    batches = evaluation_batches(tokens, context, ROW_TOKENS // context)
    model = load_model(checkpoint, runtime)
    result = bits_per_byte(model, batches, tokens.num_bytes, runtime.device)
    console.print(
        f"{result['bits_per_byte']:.4f} bits per byte, {result['validation_loss']:.4f} nats a "
        f"token, on {tokens.num_bytes:,} bytes in {tokens.num_documents:,} documents",
        highlight=False,
    )
    return {
        "files": [str(path) for path in config.data],
        "bytes": tokens.num_bytes,
        "tokens": len(tokens),
        "documents": tokens.num_documents,
        **result,
    }


def encoded(source: Source, tokenizer: Tokenizer) -> TokenArray:
    """All documents of a source, one after another, in memory."""
    pieces, size = [], 0
    for document in source.documents():
        pieces.append(np.asarray(tokenizer.encode_document(document.text), dtype=np.int64))
        size += len(document.text.encode())
    return TokenArray([np.concatenate(pieces)], num_bytes=size, num_documents=len(pieces))


EVALUATIONS: dict[str, Callable[[Checkpoint, EvalConfig, Console], dict[str, Any]]] = {
    "world": _world,
    "bpb": _bpb,
}


def seed_of(checkpoint: Checkpoint) -> int:
    """The seed of the run a checkpoint lies in; 0 where nothing is known of it."""
    recipe = checkpoint.path.parent / RECIPE
    config = read_json(recipe).get("config", {}) if recipe.exists() else {}
    return int(config.get("run", {}).get("seed", 0))
