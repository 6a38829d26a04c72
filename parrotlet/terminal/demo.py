"""`parrotlet demo`: every stage of a recipe in turn, a report, and a chat.

What is done is skipped; what was interrupted goes on. Every number in the report comes from files
that the run wrote.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, read_json, write_file, write_json
from parrotlet.core.runtime import detect_device
from parrotlet.data.sources import open_sources
from parrotlet.evals.band import band_of
from parrotlet.evals.chat import GREEDY
from parrotlet.evals.gains import gain_tasks
from parrotlet.evals.timing import TooShort
from parrotlet.evals.world import evaluate_tasks, evaluate_world
from parrotlet.recipes import Recipe, recipe
from parrotlet.stages.config_json import to_json
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.dpo import dpo
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.rl import rl
from parrotlet.stages.sft import sft
from parrotlet.terminal.chat import ChatSession, chat
from parrotlet.terminal.config import ChatConfig, DemoConfig, MachineConfig
from parrotlet.terminal.config_web import WebConfig
from parrotlet.terminal.copied import quoted, say
from parrotlet.terminal.demo_stages import (
    BASE,
    PRACTISED,
    PREFERRED,
    TIMES,
    TUNED,
    StageConfig,
    directory_of,
    follow_a_move,
    kept_in_time,
    stages_of,
    with_opening,
)
from parrotlet.terminal.load import load, load_to_measure
from parrotlet.terminal.own_text import DATA, look, remember_split
from parrotlet.terminal.progress import Counting, StageDisplay
from parrotlet.terminal.report import markdown_report, show_report
from parrotlet.terminal.report_page import report_page
from parrotlet.terminal.web import can_serve, web

ABILITIES, GAINS = "abilities.json", "gains.json"
REPORT, PAGE = "report.md", "report.html"
EXCHANGES = (
    "Hello! Who are you?",
    "What is 23 + 58?",
    "My name is Nimo. What is my name?",
    "How many letters are in lantern?",
)
# of each stage: its verb, what runs it, what takes the time, and what it does
STAGES: Mapping[str, tuple[str, Callable[[Any, Any], Path | None], str, str]] = {
    BASE: ("pretrain", pretrain, "pretraining", "read: pretraining on "),
    TUNED: ("sft", sft, "fine-tuning", "talk: fine-tuning on conversations"),
    PREFERRED: ("dpo", dpo, "preferences", "prefer: the better one of two replies"),
    PRACTISED: ("rl", rl, "practice", "practise: replies graded, the better ones learned"),
}


def demo(config: DemoConfig) -> int:
    """Run the recipe; 0 when it is done or was stopped and saved."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            "a demo is one process: start it without torchrun, or train by pretrain and sft, which "
            "take several"
        )
    console = Console()
    directory = directory_of(config)
    chosen = recipe(config.recipe)
    stages = stages_of(config)
    detect_device(config.device)  # before anything is written
    source = open_sources(config.data, column=config.column) if config.data else None
    _remember(directory, config)
    follow_a_move(directory)
    if source is not None:
        known = look(source)
        write_json(directory / DATA, known)
        stages = with_opening(directory, stages, known["opening"])
    finished = _train(directory, config, stages, console)
    if not finished:
        say(console, f"stopped and saved; go on with: parrotlet resume {quoted(directory)}")
        return 0
    _evaluate(directory, config, chosen, len(stages) + 1, console)
    write_file(directory / REPORT, markdown_report(directory).encode())
    write_file(directory / PAGE, report_page(directory).encode())
    show_report(directory, console)
    return _talk(directory, config, console)


def _remember(directory: Path, config: DemoConfig) -> None:
    """Keep what the demo was started with; RunError where it was something else.

    Until its first step anything may change, as after an attempt that failed.
    """
    path, base = directory / RECIPE, directory / BASE / RECIPE
    given = to_json(config)
    begun = base.exists() and "steps" in read_json(base)
    found: dict[str, Any] = read_json(path) if path.exists() else {"verb": "demo"}
    if found.get("verb") != "demo":
        raise RunError(
            f"{directory} was made by `parrotlet {found.get('verb')}`; choose another --name"
        )
    for name in ("recipe", "seed", "data", "column", "vocab_size", "minutes") if begun else ():
        before, wanted = found["config"].get(name), given[name]
        if (before or None) != (wanted or None):
            raise RunError(
                f"{directory} was made with {name} {before!r}, not {wanted!r}; choose another "
                "--name, or remove the folder"
            )
    if not begun:
        write_json(path, {**found, "config": given})


def _train(
    directory: Path, demo: DemoConfig, stages: Mapping[str, StageConfig], console: Console
) -> bool:
    """Every stage in turn, and what it gained; False where a signal asked to stop."""
    for number, (name, config) in enumerate(stages.items(), start=1):
        verb, run, title, does = STAGES[name]
        if name == BASE:
            does += "your text" if demo.data else "the world's documents"
        console.rule(f"[bold]{number}. {does}", align="left")
        if isinstance(config, SftConfig):
            asked, config = config.budget.minutes, kept_in_time(demo, config)
            if (left := config.budget.minutes) != asked:
                say(console, f"to keep the demo's time: {left:.1f} minutes, not {asked:.1f}")
        band = band_of(to_json(config), verb)
        with _timed(directory, title, name), StageDisplay(verb, console, band=band) as display:
            try:
                done = run(config, display)
            except TooShort as error:
                if demo.minutes is None:
                    raise
                raise UsageError(
                    f"{error} ({title} has its part of --minutes {demo.minutes:g}, which a demo "
                    "shares out among its stages)"
                ) from error
            if done is None:
                return False
        if name == BASE and demo.data:
            remember_split(directory, directory / BASE)
        _measure(directory, name, demo)
    return True


def _measure(directory: Path, stage: str, config: DemoConfig) -> None:
    """The same questions after every stage; what was answered is kept in gains.json."""
    path = directory / GAINS
    found = read_json(path) if path.exists() else {}
    if stage in found:
        return
    with _timed(directory, "evaluation"):
        machine = MachineConfig(device=config.device)
        loaded = load_to_measure(directory / stage, machine)
        own, cases = bool(config.data), recipe(config.recipe).eval_cases
        tasks = gain_tasks(config.seed, cases, general=own, special=not own and stage != BASE)
        # what a model that has only read says never ends: it is cut after a few words
        settings = replace(GREEDY, max_tokens=16) if stage == BASE else GREEDY
        found[stage] = evaluate_tasks(loaded.engine, loaded.tokenizer, tasks, settings=settings)
    write_json(path, found)


def _evaluate(
    directory: Path, config: DemoConfig, chosen: Recipe, number: int, console: Console
) -> None:
    """Abilities on cases that training never saw; kept in abilities.json."""
    if (directory / ABILITIES).exists():
        return
    console.rule(f"[bold]{number}. show: questions it has never seen", align="left")
    say(console, f"{chosen.eval_cases} of each ability (not part of the training's minutes)")
    with _timed(directory, "evaluation"):
        loaded = load_to_measure(directory, MachineConfig(device=config.device))
        with Counting("questions", console) as counting:
            results = evaluate_world(
                loaded.engine,
                loaded.tokenizer,
                config.seed,
                chosen.eval_cases,
                counting.show,
                general=bool(config.data),
            )
    write_json(directory / ABILITIES, results)


@contextmanager
def _timed(directory: Path, stage: str, run: str = "") -> Iterator[None]:
    """Add the seconds of the block, however it ends, to the stage's in times.json.

    A killed process could not add its own: they are at least those in the metrics of the `run`.
    """
    begin = time.perf_counter()
    try:
        yield
    finally:
        path = directory / TIMES
        times = read_json(path) if path.exists() else {}
        spent = times.get(stage, 0.0) + time.perf_counter() - begin
        lines = JsonLines(directory / run / METRICS) if run else ()
        trained = max((line.get("seconds", 0.0) for line in lines), default=0.0)
        write_json(path, times | {stage: round(max(spent, trained), 1)})


def _talk(directory: Path, config: DemoConfig, console: Console) -> int:
    """The page or a chat where there is a terminal to chat at, else a few exchanges."""
    talk = ChatConfig(model=directory, machine=MachineConfig(device=config.device))
    interactive = config.chat and sys.stdin.isatty() and os.environ.get("SERVE") != "0"
    if interactive and can_serve():
        return _open_page(directory, config, console)
    if interactive:
        console.rule("[bold]chat", align="left")
        return chat(talk)
    console.rule("[bold]a few exchanges", align="left")
    session = ChatSession(load(talk.model, talk.machine), talk, console)
    for text in EXCHANGES:
        console.print(f"[bold]you>[/bold] {text}", highlight=False)
        session.take(text)
    say(console, f"chat with it: parrotlet chat {quoted(talk.model)}")
    return 0


def _open_page(directory: Path, config: DemoConfig, console: Console) -> int:
    """The chat page, until Ctrl-C."""
    console.rule("[bold]chat, in a browser", align="left")
    machine = MachineConfig(device=config.device)
    status = web(WebConfig(runs=(str(directory),), machine=machine))
    say(console, f"again: parrotlet web {quoted(directory)}")
    say(console, f"in the terminal: parrotlet chat {quoted(directory)}")
    return status
