"""The verbs that train, at a terminal: display around a stage, and what to do next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from parrotlet.core.rundir import check_name, lock
from parrotlet.evals.band import Band, band_of
from parrotlet.stages import pretrain as pretrain_stage
from parrotlet.stages import sft as sft_stage
from parrotlet.stages.config import PretrainConfig, SftConfig, TokenizeConfig, to_json
from parrotlet.stages.run import Display
from parrotlet.stages.tokenizer import tokenizer_for
from parrotlet.terminal.progress import StageDisplay


def tokenizer(config: TokenizeConfig) -> int:
    """Train a tokenizer and say how well it splits the text."""
    console = Console()
    source = pretrain_stage.source_for(config.data, config.run.seed)
    directory = config.run.runs / check_name(
        "tokenizer" if config.run.name is None else config.run.name
    )
    with lock(directory), StageDisplay("tokenizer", console) as display:
        made = tokenizer_for(config.text, source, directory / "tokenizer", display)
    text = next(document.text for document in source.documents())[:100_000]
    ids = made.encode(text)
    size = len(text.encode("utf-8"))
    console.print(
        f"{directory / 'tokenizer'}: {made.vocab_size:,} tokens, "
        f"{size / max(1, len(ids)):.2f} bytes a token on the first document",
        highlight=False,
    )
    return 0


def pretrain(config: PretrainConfig) -> int:
    """Train a base model and say what to do with it."""
    return _train(
        "pretrain",
        lambda display: pretrain_stage.pretrain(config, display),
        "sample {run} 'Once'",
        band_of(to_json(config), "pretrain"),
    )


def sft(config: SftConfig) -> int:
    """Fine-tune and say what to do with the model."""
    return _train(
        "sft",
        lambda display: sft_stage.sft(config, display),
        "chat {run}",
        band_of(to_json(config), "sft"),
    )


def _train(
    title: str,
    stage: Callable[[Display], Path | None],
    next_command: str,
    band: Band | None,
) -> int:
    console = Console(stderr=False)
    quiet = int(os.environ.get("RANK", "0")) != 0
    with StageDisplay(title, console, quiet=quiet, band=band) as display:
        directory = stage(display)
    if quiet:
        return 0
    if directory is None:
        console.print(f"{title} stopped and saved; go on with: parrotlet resume RUN")
    else:
        console.print(f"done: {directory}. Next: parrotlet {next_command.format(run=directory)}")
    return 0
