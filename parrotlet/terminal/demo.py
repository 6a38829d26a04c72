"""`parrotlet demo`: every stage of a recipe in turn, a report, and a chat.

What is done is skipped; what was interrupted goes on. Every number in the report comes from files
that the run wrote.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from parrotlet.core.errors import RunError
from parrotlet.core.rundir import RECIPE, check_name, read_json, write_file, write_json
from parrotlet.evals.world import evaluate_world
from parrotlet.recipes import Recipe, recipe
from parrotlet.stages.config import RunConfig, to_json
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.sft import sft
from parrotlet.terminal.chat import ChatSession, chat
from parrotlet.terminal.config import ChatConfig, DemoConfig, MachineConfig
from parrotlet.terminal.load import load
from parrotlet.terminal.progress import Counting, StageDisplay
from parrotlet.terminal.report import markdown_report, show_report

TIMES, ABILITIES, REPORT = "times.json", "abilities.json", "report.md"
EXCHANGES = (
    "Hello! Who are you?",
    "What is 23 + 58?",
    "My name is Nimo. What is my name?",
    "How many e are in letter?",
)
EVALUATION_SLOTS = 32  # conversations answered together


def demo(config: DemoConfig) -> int:
    """Run the recipe; 0 when it is done or was stopped and saved."""
    console = Console()
    directory = config.runs / check_name(config.name)
    chosen = recipe(config.recipe)
    _remember(directory, config)
    finished = _train(directory, config, chosen, console)
    if not finished:
        console.print(f"stopped and saved; go on with: parrotlet resume {directory}")
        return 0
    _evaluate(directory, config, chosen, console)
    write_file(directory / REPORT, markdown_report(directory).encode())
    show_report(directory, console)
    return _talk(directory, config, console)


def _remember(directory: Path, config: DemoConfig) -> None:
    """Keep what the demo was started with; RunError where it was something else."""
    path = directory / RECIPE
    if not path.exists():
        write_json(path, {"verb": "demo", "config": to_json(config)})
        return
    recipe_json = read_json(path)
    stored = recipe_json.get("config", {})
    for name in ("recipe", "seed"):
        wanted = getattr(config, name)
        if recipe_json.get("verb") != "demo" or stored.get(name) != wanted:
            raise RunError(
                f"{directory} was made with {name} {stored.get(name)!r}, not {wanted!r}; choose "
                "another --name, or remove the folder"
            )


def _train(directory: Path, config: DemoConfig, chosen: Recipe, console: Console) -> bool:
    """Pretraining, then fine-tuning; False where a signal asked to stop."""
    run = RunConfig(runs=directory, seed=config.seed, device=config.device)
    base = replace(chosen.pretrain, run=replace(run, name="base"))
    tuned = replace(chosen.sft, start=directory / "base", run=replace(run, name="sft"))
    console.rule("[bold]1. read: pretraining on the world's documents", align="left")
    with _timed(directory, "pretraining"), StageDisplay("pretrain", console) as display:
        if pretrain(base, display) is None:
            return False
    console.rule("[bold]2. talk: fine-tuning on conversations", align="left")
    with _timed(directory, "fine-tuning"), StageDisplay("sft", console) as display:
        return sft(tuned, display) is not None


def _evaluate(directory: Path, config: DemoConfig, chosen: Recipe, console: Console) -> None:
    """Abilities on cases that training never saw; kept in abilities.json."""
    if (directory / ABILITIES).exists():
        return
    console.rule("[bold]3. show: questions it has never seen", align="left")
    with _timed(directory, "evaluation"):
        machine = MachineConfig(device=config.device)
        loaded = load(directory / "sft", machine, slots=EVALUATION_SLOTS)
        with Counting("questions", console) as counting:
            results = evaluate_world(
                loaded.engine, loaded.tokenizer, config.seed, chosen.eval_cases, counting.show
            )
    write_json(directory / ABILITIES, results)


@contextmanager
def _timed(directory: Path, stage: str) -> Iterator[None]:
    """Add the seconds of the block to the stage's in times.json."""
    begin = time.perf_counter()
    yield
    path = directory / TIMES
    times = read_json(path) if path.exists() else {}
    times[stage] = round(times.get(stage, 0.0) + time.perf_counter() - begin, 1)
    write_json(path, times)


def _talk(directory: Path, config: DemoConfig, console: Console) -> int:
    """A chat where there is a terminal to chat at, else a few exchanges."""
    talk = ChatConfig(model=directory / "sft", machine=MachineConfig(device=config.device))
    interactive = config.chat and sys.stdin.isatty() and os.environ.get("SERVE") != "0"
    if interactive:
        console.rule("[bold]chat", align="left")
        return chat(talk)
    console.rule("[bold]a few exchanges", align="left")
    session = ChatSession(load(talk.model, talk.machine), talk, console)
    for text in EXCHANGES:
        console.print(f"[bold]you>[/bold] {text}", highlight=False)
        session.take(text)
    console.print(f"chat with it: parrotlet chat {talk.model}", highlight=False)
    return 0
