"""The verbs that train, at a terminal: display around a stage, and what to do next."""

from __future__ import annotations

import os
import shlex
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from parrotlet.core.errors import DataError, UsageError
from parrotlet.core.machine import free_memory
from parrotlet.core.rundir import lock
from parrotlet.core.runtime import make_runtime
from parrotlet.evals.band import Band, band_of
from parrotlet.model.cost import STATE_BYTES, num_parameters
from parrotlet.stages import dpo as dpo_stage
from parrotlet.stages import pretrain as pretrain_stage
from parrotlet.stages import rl as rl_stage
from parrotlet.stages import sft as sft_stage
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_json import to_json
from parrotlet.stages.config_pretrain import PretrainConfig, ShapeConfig, TokenizeConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.opening import run_directory
from parrotlet.stages.plan import model_config
from parrotlet.stages.record import remember
from parrotlet.stages.run import Display
from parrotlet.stages.tokenizer import tokenizer_for
from parrotlet.terminal.copied import quoted, say
from parrotlet.terminal.progress import StageDisplay
from parrotlet.text.tokenizer import Tokenizer


def tokenizer(config: TokenizeConfig) -> int:
    """Train a tokenizer and say how well it splits the text."""
    console = Console()
    directory = run_directory(config.run, "tokenizer")
    with lock(directory), StageDisplay("tokenizer", console) as display:
        remember(directory, "tokenizer", config)
        source = pretrain_stage.source_for(config.data, config.run.seed)
        made = tokenizer_for(config.text, source, directory / "tokenizer", display)
    text = next(document.text for document in source.documents())[:100_000]
    ids = made.encode(text)
    size = len(text.encode("utf-8"))
    say(
        console,
        f"{directory / 'tokenizer'}: {made.vocab_size:,} tokens, "
        f"{size / max(1, len(ids)):.2f} bytes a token on the first document",
    )
    return 0


def pretrain(config: PretrainConfig) -> int:
    """Train a base model and say what to do with it.

    Raises UsageError for a depth that memory is not enough for, naming one that it is enough for.
    """
    if config.start is None and make_runtime(config.run.device).device.type == "cpu":
        check_memory(config.shape, config.text.vocab_size, free_memory())
    return _train(
        "pretrain",
        lambda display: pretrain_stage.pretrain(config, display),
        lambda directory: f"sample {quoted(directory)}{_prompt(config.prompts, directory)}",
        band_of(to_json(config), "pretrain"),
        run_directory(config.run, config.recipe),
    )


def check_memory(shape: ShapeConfig, vocab_size: int, free: int | None) -> None:
    """UsageError where weights, their gradients and the optimizer need more than `free` bytes."""

    def needed(depth: int) -> int:
        return STATE_BYTES * num_parameters(model_config(replace(shape, depth=depth), vocab_size))

    if free is None or needed(shape.depth) <= free:
        return
    deepest = bisect_right(range(1, shape.depth), free, key=needed)
    raise UsageError(
        f"--depth {shape.depth} needs {needed(shape.depth) / 1e9:,.1f} GB for weights, gradients "
        f"and optimizer, and {free / 1e9:,.1f} GB are free: "
        + (
            f"--depth {deepest} would do"
            if deepest
            else "take a smaller --width, --vocab-size or --bigrams"
        )
    )


def sft(config: SftConfig) -> int:
    """Fine-tune and say what to do with the model."""
    return _tune("sft", sft_stage.sft, config)


def dpo(config: DpoConfig) -> int:
    """Learn preferences and say what to do with the model."""
    return _tune("dpo", dpo_stage.dpo, config)


def rl(config: RlConfig) -> int:
    """Practise a task and say what to do with the model."""
    return _tune("rl", rl_stage.rl, config)


def _tune(verb: str, stage: Callable[[Any, Display], Path | None], config: Any) -> int:
    return _train(
        verb,
        lambda display: stage(config, display),
        lambda directory: f"chat {quoted(directory)}",
        band_of(to_json(config), verb),
        run_directory(config.run, f"{config.start.name}-{verb}"),
    )


def _train(
    title: str,
    stage: Callable[[Display], Path | None],
    next_command: Callable[[Path], str],
    band: Band | None,
    directory: Path,
) -> int:
    console = Console(stderr=False)
    quiet = int(os.environ.get("RANK", "0")) != 0
    with StageDisplay(title, console, quiet=quiet, band=band) as display:
        done = stage(display)
    if quiet:
        return 0
    if done is None:
        say(console, f"{title} stopped and saved; go on with: parrotlet resume {quoted(directory)}")
    else:
        say(console, f"done: {done}. Next: parrotlet {next_command(done)}")
    return 0


def _prompt(prompts: Sequence[str], directory: Path) -> str:
    """The first of the prompts that the run's tokenizer can write, as an argument; "" for none."""
    made = Tokenizer.load(directory / "tokenizer")
    for prompt in prompts:
        with suppress(DataError):  # a character that was not in the text of a "char" tokenizer
            made.encode_document(prompt)
            return f" {shlex.quote(prompt)}"
    return ""
