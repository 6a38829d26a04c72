"""Every number that a person can give has bounds, and what lies outside is refused by its flag."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parrotlet.cli import main
from parrotlet.core.errors import UsageError
from parrotlet.stages.bounds import BOUNDS
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_json import from_json, to_json
from parrotlet.stages.config_pretrain import PretrainConfig, TokenizeConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.terminal.config_runs import PlanConfig
from parrotlet.text import bpe
from parrotlet.text.template import NATIVE

CONFIGS = (
    PretrainConfig(),
    SftConfig(start=Path("x")),
    DpoConfig(start=Path("x")),
    RlConfig(start=Path("x")),
    TokenizeConfig(),
    PlanConfig(),
)


def numbers(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """(the way to it, its type as written) of each number of a configuration."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value, (*path, field.name))
        elif str(field.type).startswith(("int", "float")):
            yield (*path, field.name), str(field.type)


def changed(config: Any, path: tuple[str, ...], value: float) -> Any:
    stored = to_json(config)
    inside = stored
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return from_json(type(config), stored)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda each: type(each).__name__)
def test_numbers_out_of_bounds_are_refused_by_name(config: Any) -> None:
    found = list(numbers(config))
    assert len(found) >= 4
    for path, kind in found:
        low, high = BOUNDS[path[-1]]
        outside = [low - 1, -math.inf, math.inf, math.nan] if "float" in kind else [low - 1]
        outside.append(high * 2 + 1)
        flag = "--" + path[-1].replace("_", "-")
        for value in outside:
            with pytest.raises(UsageError, match=f"^{flag} "):
                changed(config, path, value)
        for value in (low, high):
            changed(config, path, value)


def test_every_bound_is_of_some_number() -> None:
    assert {path[-1] for each in CONFIGS for path, _ in numbers(each)} == set(BOUNDS)


def test_the_smallest_vocabulary_is_bytes_and_control_tokens() -> None:
    assert BOUNDS["vocab_size"][0] == bpe.NUM_BYTES + len(NATIVE.specials)


@pytest.mark.parametrize(
    "flags",
    [
        "--save-every 0", "--threads -1", "--minutes inf", "--seed 99999999999999999999",
        "--beta1 1.5", "--eps=-1", "--batch-tokens=-8", "--kv-heads 0", "--matrix-lr nan",
        "--vocab-size 10", "--validation-fraction 1",
    ],
)  # fmt: skip
def test_on_the_command_line(
    flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags.replace("=", " ").split()
    command = ["pretrain", "--recipe", "smoke", "--runs", str(tmp_path / "runs"), *flags.split()]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"parrotlet: {words[0]} {words[1][:3]}"), said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()
