"""Invariant 3, stage by stage: stopped at any step and resumed is never stopped, bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from parrotlet.core.errors import RunError
from parrotlet.core.log import JsonLines
from parrotlet.recipes import RECIPES
from parrotlet.stages.config import RunConfig
from parrotlet.stages.config_pretrain import PretrainConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.sft import sft
from parrotlet.train.checkpoint import find, load_tensors
from parrotlet.train.drive import Progress

SMOKE = RECIPES["smoke"]
STEPS = SMOKE.pretrain.budget.steps or 0


class Stopping:
    """A display that asks the process to stop after given steps, as Ctrl-C or a scheduler would."""

    def __init__(self, *steps: int, by: signal.Signals = signal.SIGTERM) -> None:
        self.steps = steps
        self.by = by
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, progress: Progress) -> None:
        if progress.step in self.steps:
            os.kill(os.getpid(), self.by)


def pretrain_config(runs: Path, name: str) -> PretrainConfig:
    run = RunConfig(runs=runs, name=name, device="cpu")
    return replace(SMOKE.pretrain, run=run)


def sft_config(runs: Path, name: str) -> SftConfig:
    run = RunConfig(runs=runs, name=name, device="cpu")
    return replace(SMOKE.sft, start=runs / "base", run=run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished base model in it."""
    folder = tmp_path_factory.mktemp("runs")
    assert pretrain(pretrain_config(folder, "base"), Stopping()) == folder / "base"
    return folder


def bits(run: Path) -> dict[str, bytes]:
    path = find(run).path
    tensors = load_tensors(path / "model.safetensors") | load_tensors(path / "training.safetensors")
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


def losses(run: Path) -> list[tuple[int, float]]:
    return [(each["step"], each["loss"]) for each in JsonLines(run / "metrics.jsonl")]


def check(go: Callable[[str, Stopping], Path | None], runs: Path, whole: str) -> None:
    """Stop twice, by both signals, go on; compare with the run that never stopped."""
    name = f"{whole}-stopped"
    for step, by in ((1, signal.SIGINT), (3, signal.SIGTERM)):
        assert go(name, Stopping(step, by=by)) is None
        assert find(runs / name).step == step + 1  # a signal after a step is seen after the next
    assert go(name, Stopping()) == runs / name
    assert find(runs / name).step == STEPS
    assert bits(runs / name) == bits(runs / whole)
    assert losses(runs / name) == losses(runs / whole)


def test_pretraining(runs: Path) -> None:
    check(lambda name, display: pretrain(pretrain_config(runs, name), display), runs, "base")


def test_fine_tuning(runs: Path) -> None:
    def go(name: str, display: Stopping) -> Path | None:
        return sft(sft_config(runs, name), display)

    assert go("sft", Stopping()) == runs / "sft"
    check(go, runs, "sft")


def test_a_finished_run_is_left_alone(runs: Path) -> None:
    before = bits(runs / "base")
    display = Stopping()
    assert pretrain(pretrain_config(runs, "base"), display) == runs / "base"
    assert any("is done" in line for line in display.said)
    assert bits(runs / "base") == before


def test_another_seed_gives_another_model(runs: Path) -> None:
    config = pretrain_config(runs, "seed1")
    config = replace(config, run=replace(config.run, seed=1))
    assert pretrain(config, Stopping())
    assert bits(runs / "seed1") != bits(runs / "base")


def test_other_settings_are_refused_by_name(runs: Path) -> None:
    config = pretrain_config(runs, "base")
    other = replace(config, shape=replace(config.shape, depth=2))
    with pytest.raises(RunError, match="other values of depth"):
        pretrain(other, Stopping())
