"""The steps of --minutes, counted again where the rates begin to fall, and on the way down."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_resume import Stopping, bits, losses

from parrotlet.core.errors import RunError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, read_json, write_json
from parrotlet.core.runtime import Runtime
from parrotlet.evals import timing
from parrotlet.evals.timing import steps_left
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Course, Fall, course_from, rates_at
from parrotlet.recipes import RECIPES
from parrotlet.stages import pace as pace_module
from parrotlet.stages.config import BudgetConfig, RunConfig
from parrotlet.stages.pace import Pace, pace_of
from parrotlet.stages.pretrain import pretrain

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
COURSE = Course(2, (Fall(40, 100),))


def records(*laps: float) -> list[dict[str, float]]:
    return [{"step": step + 1, "seconds": sum(laps[: step + 1])} for step in range(len(laps))]


@pytest.mark.parametrize(
    ("laps", "planned", "left"),
    [
        ([1.0] * 40, 60, 80),  # 120 - 40 seconds
        ([1.0] * 20 + [2.0] * 20, 60, 30),  # 60 seconds are left, at the later pace
        ([5.0] * 40, 60, 30),  # nothing is left: half of those planned
        ([0.1] * 40, 60, 120),  # more than twice as many would be another run
    ],
)
def test_the_later_half_says_how_many_are_left(laps: list[float], planned: int, left: int) -> None:
    assert steps_left(records(*laps), 2.0, planned) == left


def paced(
    folder: Path, said: list[str], minutes: float | None, whole: int = 1, cooldown: float = 0.6
) -> Pace:
    """The pace of a run of 100 steps that has done as many as there are before its rates fall."""
    write_json(folder / RECIPE, {"verb": "pretrain", "steps": 100})
    plan: Any = SimpleNamespace(steps=100, budget=BudgetConfig(minutes=minutes))
    optim = OptimizerConfig(warmup_steps=2, cooldown=cooldown)
    pace = pace_of(plan, optim, whole, folder, CPU, said.append)
    for record in records(*[1.0] * pace.course.turn):
        JsonLines(folder / METRICS).append(record)
    return pace


def test_steps_are_counted_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    pace = paced(tmp_path, said, minutes=1.5)
    assert pace.course == COURSE
    assert pace.at(39).total == 100 and not said
    assert pace.at(40).total == 90
    assert said == ["at this pace 90 steps in 1.5 minutes, not 100"]
    kept = read_json(tmp_path / RECIPE)
    assert kept["steps"] == 90 and kept["verb"] == "pretrain"
    assert kept["course"] == json.loads(json.dumps(asdict(Course(2, (Fall(40, 90),)))))
    assert pace.rates(40).lr == 1.0 and pace.rates(65).lr == pytest.approx(0.5, abs=0.02)
    assert pace.at(40).total == 90 and len(said) == 1


def test_they_are_counted_again_on_the_way_down(tmp_path: Path) -> None:
    """A machine that grows slow after the first count: the rates fall faster, from where they are,
    and what was done stays what it was.
    """
    said: list[str] = []
    pace = paced(tmp_path, said, minutes=1.5)
    assert pace.at(40).total == 90 and pace.count_at == 65
    for record in records(*[1.0] * 40, *[1.2] * 25)[40:]:
        JsonLines(tmp_path / METRICS).append(record)
    before = [pace.rates(step).lr for step in range(66)]
    assert pace.at(65).total == 82  # 20 seconds are left, of 1.15 a step
    assert [pace.rates(step).lr for step in range(66)] == before
    assert before[65] > pace.rates(66).lr > pace.rates(81).lr > 0
    assert len(said) == 2 and pace.count_at == 73
    kept = course_from(read_json(tmp_path / RECIPE)["course"])
    assert kept == pace.course == Course(2, (Fall(40, 90), Fall(65, 82, before[65])))


def test_rounds_stay_whole(tmp_path: Path) -> None:
    """It is counted between rounds, what was done before stays, and the total is full rounds."""
    pace = paced(tmp_path, [], minutes=1.5, whole=12)
    assert pace.count_at == 48
    for record in records(*[1.0] * 48)[40:]:
        JsonLines(tmp_path / METRICS).append(record)
    before = [pace.rates(step).lr for step in range(49)]
    assert pace.at(40).total == 100
    assert pace.at(48).total == 96  # 42 seconds are left: 90 steps, rounded up to full rounds
    assert [pace.rates(step).lr for step in range(49)] == before
    assert before[2:41] == [1.0] * 39 and before[48] < 1.0
    assert pace.count_at == 72


@pytest.mark.parametrize(("minutes", "cooldown"), [(None, 0.6), (1.5, 0.01)])
def test_what_is_not_counted_again(tmp_path: Path, minutes: float | None, cooldown: float) -> None:
    """Fixed steps; rates that fall at the very end."""
    pace = paced(tmp_path, [], minutes=minutes, cooldown=cooldown)
    assert pace.count_at is None and pace.at(pace.course.turn).total == 100
    assert "course" not in read_json(tmp_path / RECIPE)


def test_the_last_tenth_is_not_counted(tmp_path: Path) -> None:
    pace = paced(tmp_path, [], minutes=1.5)
    pace.plan_count(90)
    assert pace.count_at == 90
    pace.plan_count(91)
    assert pace.count_at is None


def test_rates_that_fall_from_the_beginning_are_counted_half_way(tmp_path: Path) -> None:
    assert paced(tmp_path, [], minutes=1.5, cooldown=1.0).count_at == 50


def test_a_disk_that_is_full_leaves_the_count_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    pace = paced(tmp_path, said, minutes=1.5)

    def full(*given: object) -> None:
        raise RunError("no space is left")

    monkeypatch.setattr(pace_module, "settle", full)
    assert pace.at(40) == COURSE
    assert said == ["it stays at 100 steps: no space is left"]
    assert "course" not in read_json(tmp_path / RECIPE)
    assert pace.count_at == 70


def test_without_records_it_stays_as_planned() -> None:
    assert steps_left([], 2.0, 60) == steps_left(records(1.0), 2.0, 60) == 60


def test_a_resumed_run_has_the_same_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the steps were counted, it goes on from a step before that: to the same bits."""
    smoke = RECIPES["smoke"].pretrain
    budget = BudgetConfig(minutes=1, batch_tokens=256)
    slow, fast = {26: 20, 10: 12}, {26: 52, 10: 14}  # steps that fit where so many were planned

    def go(name: str, display: Stopping, fitting: dict[int, int]) -> Path | None:
        def left(records: object, minutes: float, planned: int) -> int:
            return fitting.get(planned, planned)

        monkeypatch.setattr(timing, "enough_steps", lambda *given: 40)
        monkeypatch.setattr(pace_module, "steps_left", left)
        run = RunConfig(runs=tmp_path, name=name, device="cpu")
        return pretrain(replace(smoke, run=run, budget=budget), display)

    whole = tmp_path / "whole"
    assert go("whole", Stopping(), slow) == whole
    kept = {name: read_json(whole / RECIPE)[name] for name in ("steps", "course")}
    course = course_from(kept["course"])
    assert [(fall.turn, fall.total) for fall in course.falls] == [(14, 34), (24, 36), (30, 36)]
    assert losses(whole)[-1][0] == kept["steps"] == 36
    rates = [each["lr"] for each in JsonLines(whole / METRICS)]
    assert rates == [rates_at(step, smoke.optim, course).lr for step in range(36)]

    for stop in (12, 14, 28):
        killed = tmp_path / f"killed{stop}"
        assert go(killed.name, Stopping(stop), slow) is None
        write_json(killed / RECIPE, {**read_json(killed / RECIPE), **kept})
        assert go(killed.name, Stopping(), fast) == killed
        assert bits(killed) == bits(whole) and losses(killed) == losses(whole)

    assert go("later", Stopping(20), slow) is None
    assert go("later", Stopping(), fast) == tmp_path / "later"  # it is counted where it would be
    found = course_from(read_json(tmp_path / "later" / RECIPE)["course"])
    assert [(fall.turn, fall.total) for fall in found.falls] == [
        (14, 34),
        (24, 38),
        (31, 38),
        (34, 38),
    ]
