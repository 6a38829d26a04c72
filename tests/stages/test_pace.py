"""The steps of --minutes, counted again where the rates begin to fall."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from test_resume import Stopping, bits, losses

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, read_json, write_json
from parrotlet.core.runtime import Runtime
from parrotlet.evals.timing import steps_left
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Course, rates_at
from parrotlet.recipes import RECIPES
from parrotlet.stages import pace as pace_module
from parrotlet.stages import run as run_module
from parrotlet.stages.config import BudgetConfig, RunConfig
from parrotlet.stages.pace import Pace
from parrotlet.stages.pretrain import pretrain

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
COURSE = Course(rise=2, turn=40, total=100)


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
    folder: Path, said: list[str], minutes: float | None, whole: int = 1, course: Course = COURSE
) -> Pace:
    write_json(folder / RECIPE, {"verb": "pretrain", "steps": course.total})
    for record in records(*[1.0] * course.turn):
        JsonLines(folder / METRICS).append(record)
    return Pace(
        optim=OptimizerConfig(),
        course=course,
        minutes=minutes,
        whole=whole,
        directory=folder,
        runtime=CPU,
        say=said.append,
    )


def test_steps_are_counted_once_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    pace = paced(tmp_path, said, minutes=1.5)
    assert pace.total(39) == 100 and not said
    assert pace.total(40) == 90
    assert said == ["1.5 minutes are 90 steps, not 100, at this pace"]
    kept = read_json(tmp_path / RECIPE)
    assert kept["steps"] == 90 and kept["verb"] == "pretrain"
    assert kept["course"] == asdict(replace(COURSE, total=90))
    assert pace.rates(40).lr == 1.0 and pace.rates(65).lr == pytest.approx(0.5, abs=0.02)
    assert pace.total(40) == 90 and len(said) == 1


def test_rounds_stay_whole(tmp_path: Path) -> None:
    pace = paced(tmp_path, [], minutes=1.5, whole=12)
    assert pace.total(40) == 100
    assert pace.total(48) == 108  # 50 steps more, rounded up to full rounds
    assert pace.course.turn == 48


@pytest.mark.parametrize(
    ("minutes", "course"), [(None, COURSE), (1.5, Course(rise=2, turn=9, total=20))]
)
def test_fixed_steps_and_short_runs_stay_as_they_are(
    tmp_path: Path, minutes: float | None, course: Course
) -> None:
    pace = paced(tmp_path, [], minutes=minutes, course=course)
    assert pace.total(course.turn) == course.total
    assert "course" not in read_json(tmp_path / RECIPE)


def test_a_resumed_run_has_the_same_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the steps were counted, it goes on from a step before that: to the same bits."""
    smoke = RECIPES["smoke"].pretrain
    budget = BudgetConfig(minutes=1, batch_tokens=256)

    def go(name: str, display: Stopping, fitting: int) -> Path | None:
        monkeypatch.setattr(run_module, "enough_steps", lambda *given: 40)
        monkeypatch.setattr(pace_module, "steps_left", lambda *given: fitting)
        run = RunConfig(runs=tmp_path, name=name, device="cpu")
        return pretrain(replace(smoke, run=run, budget=budget), display)

    whole, killed, later = (tmp_path / name for name in ("whole", "killed", "later"))
    assert go("whole", Stopping(), fitting=20) == whole
    course = Course(**read_json(whole / RECIPE)["course"])
    assert course.total == course.turn + 20 == losses(whole)[-1][0] != 40
    rates = [each["lr"] for each in JsonLines(whole / METRICS)]
    assert rates == [rates_at(step, smoke.optim, course).lr for step in range(course.total)]

    assert go("killed", Stopping(course.turn - 2), fitting=99) is None
    counted = {"steps": course.total, "course": asdict(course)}
    write_json(killed / RECIPE, {**read_json(killed / RECIPE), **counted})
    assert go("killed", Stopping(), fitting=99) == killed
    assert bits(killed) == bits(whole) and losses(killed) == losses(whole)

    assert go("later", Stopping(course.turn), fitting=20) is None
    assert go("later", Stopping(), fitting=99) == later
    assert bits(later) == bits(whole) and losses(later) == losses(whole)
