"""The command line: a verb, its configuration, its module, imported when it is called.

Parsing, --help, --dry-run and usage errors never import torch.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tyro

from parrotlet import __version__
from parrotlet.core.errors import ParrotletError, UsageError
from parrotlet.exchange.config import ExportConfig, ImportConfig
from parrotlet.recipes import RECIPES, recipe
from parrotlet.serve.config import ServeConfig
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_pretrain import PretrainConfig, TokenizeConfig, TokenizerConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.plan import shape_of
from parrotlet.terminal.config import ChatConfig, DemoConfig, ResumeConfig, SampleConfig
from parrotlet.terminal.config_runs import (
    DoctorConfig,
    EvalConfig,
    PlanConfig,
    PlotConfig,
    WorldConfig,
)
from parrotlet.terminal.config_web import WebConfig
from parrotlet.terminal.stored import stored_model


@dataclass(frozen=True)
class Verb:
    """`target` is module:function, called with the configuration."""

    summary: str
    config: type[Any]
    target: str
    default: Callable[[str], Any] | None = None  # the defaults of a recipe
    extra: str = ""  # the extra of parrotlet that has what it needs


def plan_of_recipe(name: str) -> PlanConfig:
    """What `parrotlet plan` assumes of a recipe: its shape, and its tokens where it counts them."""
    if name == "default":
        return PlanConfig()
    base = recipe(name).pretrain
    budget = base.budget
    return PlanConfig(
        recipe=name,
        shape=base.shape,
        vocab_size=base.text.vocab_size,
        tokens=budget.tokens or (budget.steps or 0) * (budget.batch_tokens or 0) or None,
        batch_tokens=budget.batch_tokens or PlanConfig.batch_tokens,
    )


VERBS = {
    "demo": Verb(
        "from nothing to a chat, in minutes, offline",
        DemoConfig,
        "parrotlet.terminal.demo:demo",
    ),
    "tokenizer": Verb(
        "train a tokenizer on text",
        TokenizeConfig,
        "parrotlet.terminal.train:tokenizer",
    ),
    "pretrain": Verb(
        "train a model on text, from scratch or on from another",
        PretrainConfig,
        "parrotlet.terminal.train:pretrain",
        default=lambda name: recipe(name).pretrain,
    ),
    "sft": Verb(
        "fine-tune a model on conversations",
        SftConfig,
        "parrotlet.terminal.train:sft",
        default=lambda name: replace(recipe(name).sft, start=tyro.MISSING),
    ),
    "dpo": Verb(
        "teach a chat model which of two replies is better",
        DpoConfig,
        "parrotlet.terminal.train:dpo",
        default=lambda name: replace(recipe(name).dpo, start=tyro.MISSING),
    ),
    "rl": Verb(
        "let a chat model practise what can be graded",
        RlConfig,
        "parrotlet.terminal.train:rl",
        default=lambda name: replace(recipe(name).rl, start=tyro.MISSING),
    ),
    "resume": Verb(
        "go on with a run that was stopped", ResumeConfig, "parrotlet.terminal.resume:resume"
    ),
    "sample": Verb(
        "continue a text with a trained model", SampleConfig, "parrotlet.terminal.sample:sample"
    ),
    "chat": Verb("talk to a fine-tuned model", ChatConfig, "parrotlet.terminal.chat:chat"),
    "serve": Verb(
        "answer programs and pages over HTTP",
        ServeConfig,
        "parrotlet.serve.server:serve",
        extra="serve",
    ),
    "web": Verb(
        "a page to chat, to watch runs and to look inside models",
        WebConfig,
        "parrotlet.terminal.web:web",
    ),
    "import": Verb(
        "start from GPT-2 or Qwen3 as others publish them",
        ImportConfig,
        "parrotlet.terminal.exchange:import_model",
    ),
    "export": Verb(
        "write a model for transformers, llama.cpp or Ollama, proved",
        ExportConfig,
        "parrotlet.terminal.exchange:export_model",
    ),
    "eval": Verb("measure what a model can do", EvalConfig, "parrotlet.terminal.evaluate:evaluate"),
    "plot": Verb("draw the curves of runs", PlotConfig, "parrotlet.terminal.plot:plot"),
    "doctor": Verb(
        "say whether a curve is all right; without a run, what this machine can do",
        DoctorConfig,
        "parrotlet.terminal.doctor:doctor",
    ),
    "plan": Verb(
        "forecast hours and money on one GPU or many",
        PlanConfig,
        "parrotlet.terminal.plan:plan",
        default=plan_of_recipe,
    ),
    "world": Verb("look at the embedded world", WorldConfig, "parrotlet.terminal.world:world"),
}
BUDGETS = ("--steps", "--tokens", "--minutes")
USAGE = "usage: parrotlet VERB [flags]; parrotlet VERB --help explains every flag\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status (0 done, 1 failed, 2 used wrongly)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # idle threads of GNU OpenMP spin this long before they sleep: enough to be quick on a quiet
    # machine, too little to starve a busy one (measured: LOG.md)
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a model may say any character, and a terminal may not know it: "?" rather than dying
            stream.reconfigure(errors="replace")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        return _dispatch(arguments)
    except ParrotletError as error:
        # what is used wrongly is so by all processes of torchrun: one of each machine says it
        if error.status != 2 or os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"parrotlet: {error}", file=sys.stderr)
        else:
            time.sleep(2)  # torchrun ends all as soon as one has ended: let that one speak first
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nparrotlet: stopped", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview(), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"parrotlet {__version__}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        raise UsageError(f"{name!r} is not a verb; {_nearest(name)}")
    verb = VERBS[name]
    dry_run = "--dry-run" in rest
    config = _parse(name, verb, [each for each in rest if each != "--dry-run"])
    if dry_run:
        return _call("parrotlet.terminal.dry_run:dry_run", config)
    return _call(verb.target, config, verb.extra)


def _call(target: str, config: Any, extra: str = "") -> int:
    module, _, function = target.partition(":")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("parrotlet"):
            raise
        raise UsageError(
            f"this needs the package {error.name}: pip install 'parrotlet[{extra}]'"
        ) from error
    status: int = getattr(imported, function)(config)
    return status


def _parse(name: str, verb: Verb, arguments: list[str]) -> Any:
    """The verb's configuration; tyro prints usage errors and exits with status 2."""
    recipe_name = _given("--recipe", arguments) or "default"
    default = verb.default(recipe_name) if verb.default else None
    # a budget that is given takes the place of the recipe's, whichever of the three it has; a
    # depth without one is to be trained for as long as it is worth
    named = (*BUDGETS, "--depth") if recipe_name == "default" else BUDGETS
    budgeted = any(each.split("=")[0] in named for each in arguments)
    if budgeted and default is not None and not isinstance(default, PlanConfig):
        none = replace(default.budget, steps=None, tokens=None, minutes=None)
        default = replace(default, budget=none)
    start = _given("--start", arguments)
    if isinstance(default, PretrainConfig) and start:
        # the shape and the tokenizer of what is started from take the place of the recipe's
        shape = shape_of(stored_model(Path(start)))
        default = replace(default, shape=shape, text=TokenizerConfig())
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            made = tyro.cli(
                verb.config,
                prog=f"parrotlet {name}",
                description=_description(verb),
                default=default,
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit:
        number = _no_number(told.getvalue())
        if number:
            raise UsageError(number) from None
        print(told.getvalue(), end="", file=sys.stderr)
        raise
    print(told.getvalue(), end="", file=sys.stderr)
    return made


def _no_number(told: str) -> str | None:
    """What tyro's box about a value that is no number comes to, in one sentence."""
    words = " ".join(re.sub("[^ -~]", " ", told).split())  # without its frame
    flag = re.search(r"Error parsing (--[\w-]+):", words)
    value = re.search(r"(?:with base 10|string to float): '([^']*)'", words)
    if not flag or not value:
        return None
    kind = "a whole number" if "with base 10" in words else "a number"
    return f"{flag[1]} {value[1]}: that is not {kind}"


def _given(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of a flag that sets the defaults of others, and is read before them."""
    found = None
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            found = arguments[index + 1]
        elif argument.startswith(f"{flag}="):
            found = argument.removeprefix(f"{flag}=")
    return found  # of several the last, as for every other flag


def _description(verb: Verb) -> str:
    """The verb's help above its flags: what it does, its recipes, --dry-run."""
    text = inspect.cleandoc(verb.config.__doc__ or verb.summary)
    if any(each.name == "recipe" for each in fields(verb.config)):
        text += "\n\nRecipes:\n" + "\n".join(
            f"  {name:<{max(map(len, RECIPES))}}  {each.summary}" for name, each in RECIPES.items()
        )
    return text + "\n\n--dry-run prints the plan and does nothing."


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return (
        f"parrotlet {__version__}: from raw text to your own chat model\n\n"
        + USAGE
        + ("\n" + "\n".join(lines) + "\n")
    )


def _nearest(name: str) -> str:
    """What to do about a verb that is none."""
    close = difflib.get_close_matches(name, VERBS, n=1)
    known = ", ".join(VERBS)
    return f"did you mean {close[0]}? ({known})" if close else f"there are {known}"
