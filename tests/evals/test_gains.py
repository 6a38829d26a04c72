"""Gains by hand: pairs of cases, groups of questions, and what the questions are."""

from __future__ import annotations

import math

import pytest

from parrotlet.evals.gains import ABILITIES, gain_tasks, gains, paired_gain
from parrotlet.tasks.world import WORLD_TASKS
from parrotlet.tasks.world_pairs import Manner
from parrotlet.world.records import NOT_GENERAL


def test_paired_gain_by_hand() -> None:
    # of 100, 30 were won and 10 lost: 0.2, and 1.96 sqrt((0.3 + 0.1 - 0.2^2) / 100)
    before, after = set(range(40)), set(range(30, 40)) | set(range(50, 60))
    difference, half = paired_gain(before, after, 100)
    assert difference == pytest.approx(0.2)
    assert half == pytest.approx(1.959964 * math.sqrt(0.36 / 100), rel=1e-5)
    assert paired_gain(before, before, 100) == (0, 0)


def test_groups_and_stages() -> None:
    def results(
        facts: list[int], sums: list[int], brief: list[int]
    ) -> dict[str, dict[str, object]]:
        every = {"fact": facts, "calculator": sums, "right and brief": brief}
        return {name: {"count": 10, "missed": missed} for name, missed in every.items()}

    after = {"sft": results([0, 1], [0], [1, 2, 3, 4]), "dpo": results([0], [2], [1])}
    table = gains(after)
    assert list(table) == [ABILITIES, "right and brief"]
    assert table[ABILITIES]["sft"].rate == pytest.approx(1 - 3 / 20)
    now = table[ABILITIES]["dpo"]
    assert (now.rate, now.difference) == (pytest.approx(1 - 2 / 20), pytest.approx(1 / 20))
    assert now.half == pytest.approx(1.959964 * math.sqrt((3 / 20 - 1 / 400) / 20), rel=1e-5)
    assert table["right and brief"]["dpo"].difference == pytest.approx(0.3)


def test_the_questions() -> None:
    tasks = gain_tasks(0, 40, general=False, special=True)
    assert set(tasks) == {*WORLD_TASKS, "right and brief", "letters of unseen words"}
    assert isinstance(tasks["right and brief"], Manner)
    assert {len(tasks[each]) for each in WORLD_TASKS} == {2}
    assert len(tasks["letters of unseen words"]) == 40
    general = gain_tasks(0, 40, general=True, special=False)
    assert set(general) == set(WORLD_TASKS) - set(NOT_GENERAL)
