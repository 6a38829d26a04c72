"""Minutes become steps by timing a few, which must not eat up the minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parrotlet.recipes import RECIPES
from parrotlet.stages import run as run_module
from parrotlet.stages.config import BudgetConfig, RunConfig
from parrotlet.stages.pretrain import pretrain
from parrotlet.train.drive import Progress

LAP = 0.05


class Stopped(Exception):
    """The run would begin here."""


class Quiet:
    """A display that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, progress: Progress) -> None:
        pass


@pytest.mark.parametrize(
    ("minutes", "timed", "advised"),
    [
        (12 * LAP / 60, 2, True),  # more than a tenth goes in two steps
        (1.0, 1 + run_module.MEASURED_STEPS, False),
    ],
)
def test_timing_takes_its_share_and_few_steps_are_advised_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, timed: int, advised: bool
) -> None:
    pulled = 0

    def slow(*arguments: object, **more: object) -> Iterator[Any]:
        nonlocal pulled
        while True:
            time.sleep(LAP)
            pulled += 1
            yield SimpleNamespace(loss=torch.zeros(()))

    def stop(*arguments: object, **more: object) -> bool:
        raise Stopped

    monkeypatch.setattr(run_module, "train", slow)
    monkeypatch.setattr(run_module, "drive", stop)
    display = Quiet()
    budget = BudgetConfig(minutes=minutes, batch_tokens=1024)
    run = RunConfig(runs=tmp_path, name="x", device="cpu")
    with pytest.raises(Stopped):
        pretrain(replace(RECIPES["smoke"].pretrain, run=run, budget=budget), display)
    assert pulled == timed
    assert any("steps fit into" in line and "--batch-tokens" in line for line in display.said) == (
        advised
    )
