"""Minutes become steps by timing a few, which must not eat up the minutes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_resume import Stopping, bits, losses
from torch import Tensor

from parrotlet.core.rundir import RECIPE, read_json
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import Batch
from parrotlet.evals import timing
from parrotlet.recipes import BY_RULES, RECIPES
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
        (1.0, 1 + timing.MEASURED_STEPS, False),
    ],
)
def test_timing_takes_its_share_and_few_steps_are_advised_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, timed: int, advised: bool
) -> None:
    pulled, clock = 0, SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now

    def slow(*arguments: object, **more: object) -> Iterator[Any]:
        nonlocal pulled
        while True:
            clock.now += LAP
            pulled += 1
            yield SimpleNamespace(loss=torch.zeros(()))

    def stop(*arguments: object, **more: object) -> bool:
        raise Stopped

    monkeypatch.setattr(timing, "time", clock)
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


class Worker(torch.nn.Module):
    """A learner whose pass moves a clock on as it is told for so many rows, or finds no memory."""

    def __init__(self, seconds: dict[int, float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seconds = seconds
        self.seen: list[int] = []
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def forward(self, batch: Batch) -> Tensor:
        rows = len(batch.tokens)
        self.seen.append(rows)
        if rows not in self.seconds:
            raise torch.OutOfMemoryError("out of memory")
        self.now += self.seconds[rows]
        return self.weight * 2


def rows_of(rows: int) -> Batch:
    ids = torch.zeros((rows, 8), dtype=torch.long)
    return Batch(tokens=ids, targets=ids, count=rows * 8)


CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)


@pytest.mark.parametrize(
    ("seconds", "best", "most"),
    [
        ({1: 0.2, 2: 0.2, 4: 0.2, 8: 0.2}, 8, 8),  # the pass itself costs: the largest
        ({1: 0.1, 2: 0.2, 4: 0.4, 8: 0.8}, 1, 8),  # rows cost: equal, so the least memory
        ({1: 0.2, 2: 0.2, 4: 1.6, 8: 0.1}, 2, 4),  # far slower: larger ones are not tried
        ({1: 0.2, 2: 0.2}, 2, 4),  # out of memory at 4
    ],
)
def test_the_fastest_pass_is_found(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], best: int, most: int
) -> None:
    learner: Any = Worker(seconds)
    monkeypatch.setattr(timing, "time", learner)
    rows, cost = timing.fastest_pass(learner, rows_of, [1, 2, 4, 8], CPU)
    assert rows == best
    assert cost == pytest.approx(seconds[best] / (8 * best))
    assert max(learner.seen) == most
    assert learner.weight.grad is None


def test_no_memory_for_the_smallest_pass_is_an_error() -> None:
    learner: Any = Worker({})
    with pytest.raises(torch.OutOfMemoryError):
        timing.fastest_pass(learner, rows_of, [1, 2], CPU)


def test_sizes_of_passes_cut_a_batch_into_equal_parts() -> None:
    assert timing.pass_sizes(16, 256) == [4, 8, 16]
    assert timing.pass_sizes(9, 256) == [3, 5, 9]
    assert timing.pass_sizes(1, 8192) == [1]


def test_a_resumed_run_keeps_passes_batch_and_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, also on a machine that is fast at other sizes, in a version with other rules."""
    smoke = RECIPES["smoke"].pretrain
    budget = BudgetConfig(tokens=12_288, batch_tokens=None, micro_tokens="auto")

    def go(name: str, display: Stopping) -> Path | None:
        run = RunConfig(runs=tmp_path, name=name, device="cpu")
        return pretrain(replace(smoke, run=run, budget=budget, optim=BY_RULES), display)

    display = Stopping(3)
    assert go("measured", display) is None
    assert any("tokens at a time learn fastest here" in line for line in display.said)
    assert any("by the rules matrix_lr" in line for line in display.said)
    kept = read_json(tmp_path / "measured" / RECIPE)
    assert kept["micro_tokens"] % 128 == 0
    assert len(kept["rates"]) == 5

    def always(rows: int) -> None:
        monkeypatch.setattr(timing, "fastest_pass", lambda *given: (rows, 1.0))

    always(1)
    assert go("whole", Stopping())
    assert go("stopped", Stopping(3)) is None
    always(2)
    others = dict.fromkeys(kept["rates"], 0.5)
    monkeypatch.setattr(run_module, "missing_rates", lambda *given: others)
    assert go("stopped", Stopping()) == tmp_path / "stopped"
    assert bits(tmp_path / "stopped") == bits(tmp_path / "whole")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert go("other", Stopping())
    assert bits(tmp_path / "other") != bits(tmp_path / "whole")
