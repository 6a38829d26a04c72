"""Made-up curves, each with one thing wrong, and healthy ones."""

from __future__ import annotations

import importlib.util
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parrotlet.core.errors import RunError
from parrotlet.evals import doctor
from parrotlet.evals.band import FOLDER, Band, band_for, band_of, compare, settings_of
from parrotlet.evals.curve import Curve, read_curves, smoothed
from parrotlet.evals.spikes import border_drops, loss_spikes, repeating_places
from parrotlet.optim.schedule import Course, Fall
from parrotlet.recipes import recipe
from parrotlet.stages.config_json import to_json
from parrotlet.world.documents import DOCUMENTS
from parrotlet.world.records import fingerprint

BENCH = Path(__file__).parent.parent.parent / "bench/band.py"
Change = Callable[[dict[str, Any]], None]
STEPS = 600


def bench_band() -> Any:
    """bench/band.py, which makes bands."""
    spec = importlib.util.spec_from_file_location("bench_band", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve(
    *changes: Change,
    steps: int = STEPS,
    total: int = STEPS,
    seed: int = 0,
    floor: float = 1.2,
    pace: float = 80.0,
    epoch_steps: float | None = None,
) -> Curve:
    """A loss that falls from 6 as runs do, with noise of 2%, and what `changes` do to it."""
    chance = random.Random(seed)
    records = []
    for step in range(1, steps + 1):
        clean = floor + (6.0 - floor) / (1 + step / pace)
        record: dict[str, Any] = {
            "step": step,
            "loss": clean * (1 + chance.gauss(0, 0.02)),
            "gradient_norm": 0.5 * (1 + chance.gauss(0, 0.1)),
            "lr": 1.0,
            "units": 4096,
            "lap": 0.1 * (1 + chance.gauss(0, 0.03)),
        }
        if step % (total // 10) == 0:
            record["validation_loss"] = clean * 1.02
        for change in changes:
            change(record)
        records.append(record)
    return Curve(name="made up", records=records, total=total, epoch_steps=epoch_steps)


def blow_up(record: dict[str, Any]) -> None:
    if record["step"] > 400:
        record["loss"] += (record["step"] - 400) * 0.02


def turn_to_nan(record: dict[str, Any]) -> None:
    if record["step"] in (200, 201):
        record |= {"loss": math.nan, "gradient_norm": math.nan, "skipped": True}


def jump(record: dict[str, Any]) -> None:
    if record["step"] in (107, 230, 333, 351, 480, 555):
        record["loss"] *= 1.8


def steepen(record: dict[str, Any]) -> None:
    record["gradient_norm"] *= math.exp(record["step"] / 150)


def crawl(record: dict[str, Any]) -> None:
    record["loss"] = 6.0 - record["step"] * 0.0005
    if "validation_loss" in record:
        record["validation_loss"] = 6.0


def learn_by_heart(record: dict[str, Any]) -> None:
    if "validation_loss" in record and record["step"] > 300:
        record["validation_loss"] += (record["step"] - 300) * 0.005


def saw(record: dict[str, Any]) -> None:
    record["loss"] *= 0.9 ** ((record["step"] - 1) // 150)


def odd_text(record: dict[str, Any]) -> None:
    if (record["step"] - 1) % 150 in (90, 91):
        record["loss"] *= 1.7


def stall(record: dict[str, Any]) -> None:
    if record["step"] % 25 == 0:
        record["lap"] = 1.5


def slow_down(record: dict[str, Any]) -> None:
    if record["step"] > 300:
        record["lap"] *= 2


SICK: dict[str, Curve] = {
    "diverging": curve(blow_up),
    "skipped": curve(turn_to_nan),
    "rate_too_high": curve(jump),
    "rate_too_low": curve(crawl),
    "overfitting": curve(learn_by_heart),
    "repeating": curve(saw, epoch_steps=150),
    "bad_shard": curve(odd_text, epoch_steps=150),
    "slow_steps": curve(stall),
    "slowing": curve(slow_down),
}
HEALTHY = {
    "plain": curve(),
    "other noise": curve(seed=1),
    "quick": curve(pace=10.0),
    "slow but steady": curve(pace=300.0),
    "short": curve(steps=60, total=60, pace=8.0),
    "half done": curve(steps=300),
    "three epochs": curve(epoch_steps=200),
}


@pytest.mark.parametrize("name", doctor.RULES)
def test_each_rule_sees_its_illness_and_no_other_rule_does(name: str) -> None:
    seen = {rule for rule, check in doctor.RULES.items() if check(SICK[name], None) is not None}
    assert seen == {name}
    found = doctor.RULES[name](SICK[name], None)
    assert found is not None and found.evidence and found.advice


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_curves_are_well(name: str) -> None:
    assert doctor.examine(HEALTHY[name]) == []


def test_the_evidence_names_the_steps() -> None:
    found = doctor.overfitting(SICK["overfitting"], None)
    assert found is not None and "step 300" in found.evidence and "--steps 300" in found.advice
    found = doctor.bad_shard(SICK["bad_shard"], None)
    assert found is not None and "4 epochs" in found.evidence
    found = doctor.skipped(SICK["skipped"], None)
    assert found is not None and "2 of 600" in found.evidence and "step 200" in found.evidence


def test_a_growing_gradient_norm_is_seen() -> None:
    found = doctor.rate_too_high(curve(steepen), None)
    assert found is not None and "gradient norm" in found.evidence


def test_many_epochs_are_named() -> None:
    found = doctor.repeating(curve(epoch_steps=60), None)
    assert found is not None and "10.0 times" in found.evidence


def test_too_few_steps_say_nothing() -> None:
    assert doctor.examine(curve(turn_to_nan, blow_up, steps=15, total=15)) == []


def test_spikes_and_their_places() -> None:
    assert loss_spikes(SICK["rate_too_high"]) == [106, 229, 332, 350, 479, 554]
    places = repeating_places(SICK["bad_shard"])
    assert [place for place, _ in places] == [90 * 50 // 150]
    assert repeating_places(curve(jump, epoch_steps=150)) == []


def test_epochs_of_a_step_have_no_inside() -> None:
    for epoch_steps in (1.0, 1.5, 3.0):
        drops = border_drops(curve(steps=40, total=40, epoch_steps=epoch_steps))
        assert drops and all(math.isfinite(each) for each in drops)


def test_smoothing_by_hand() -> None:
    assert smoothed([1.0, 3.0, math.nan, 5.0], 2) == [1.0, 2.0, 3.0, 5.0]
    assert math.isnan(smoothed([math.nan], 2)[0])


def band(**changes: Any) -> Band:
    made = bench_band().make_band("demo", [curve(seed=seed, **changes) for seed in range(3)])
    assert made.runs == 3 and made.steps == (STEPS, STEPS) and len(made.points) == 50
    return made


def test_another_seed_is_on_track_at_every_step() -> None:
    whole = curve(seed=9)
    words = []
    for step in range(30, STEPS + 1, 30):
        part = Curve(name="part", records=whole.records[:step], total=STEPS)
        verdict = compare(part, band())
        assert verdict is not None
        words.append(verdict.word)
    assert words.count("on track") >= len(words) - 1


def test_better_and_worse() -> None:
    for floor, word in ((1.0, "better"), (1.4, "worse")):
        verdict = compare(curve(seed=9, floor=floor), band())
        assert verdict is not None and verdict.word == word
        assert word in str(verdict) and f"{verdict.loss:.3f}" in str(verdict)


def test_a_loss_that_is_no_number_is_worse() -> None:
    def none(record: dict[str, Any]) -> None:
        record["loss"] = math.nan

    verdict = compare(curve(none), band())
    assert verdict is not None and verdict.word == "worse"


def test_much_longer_runs_are_not_compared() -> None:
    assert compare(curve(steps=1000, total=1000), band()) is None
    assert compare(curve(), None) is None


def test_a_rate_too_low_by_the_band() -> None:
    found = doctor.rate_too_low(curve(pace=2000.0), band())
    assert found is not None and "runs of the recipe fall by" in found.evidence
    assert doctor.rate_too_low(curve(seed=5), band()) is None


def test_a_band_belongs_to_settings(tmp_path: Path) -> None:
    text = tmp_path / "input.txt"
    text.write_text("abc")
    config = {
        "recipe": "mine", "run": {"seed": 0}, "prompts": ["a"],
        "data": {"data": [str(text)]}, "optim": {"matrix_lr": 0.02},
        "budget": {"minutes": 5, "batch_tokens": 2048},
    }  # fmt: skip
    stored = {
        "recipe": "mine", "stage": "pretrain", "runs": 3, "steps": [600, 600],
        "settings": settings_of(config), "points": [[0.5, 1.0, 3.0], [1.0, 1.0, 2.0]],
    }  # fmt: skip
    (tmp_path / "mine-pretrain.json").write_text(json.dumps(stored))
    assert band_for("mine", "sft", tmp_path) is None
    found = band_of({**config, "run": {"seed": 7}}, "pretrain", tmp_path)
    assert found is not None
    assert found.at(0.25) == (1.0, 3.0) and found.at(0.75) == (1.0, 2.5) and found.at(2) == (1, 2)
    longer = {"minutes": 6, "batch_tokens": 2048}
    assert band_of({**config, "budget": longer}, "pretrain", tmp_path) == found
    larger = {"minutes": 5, "batch_tokens": 4096}
    assert band_of({**config, "budget": larger}, "pretrain", tmp_path) is None
    assert band_of({**config, "optim": {"matrix_lr": 0.04}}, "pretrain", tmp_path) is None
    text.write_text("abcd")  # another text
    assert band_of(config, "pretrain", tmp_path) is None


def test_a_band_goes_along_with_its_run() -> None:
    """Where rates fall otherwise, a point moves to where the run is as far on its way down."""
    points = ((0.2, 3.0, 4.0), (0.4, 2.0, 3.0), (0.7, 1.0, 2.0), (1.0, 0.5, 1.0))
    made = replace(band(), settings={"optim": {"cooldown": 0.6}}, points=points)

    def shares(*falls: Fall) -> list[float]:
        return [share for share, *_ in made.along(Course(0, falls)).points]

    assert shares(Fall(50, 100)) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert shares(Fall(40, 100)) == pytest.approx([0.2, 0.4, 0.7, 1.0])
    # half way down, at step 70, all but 10 steps of 30 are taken away
    assert shares(Fall(40, 100), Fall(70, 80, 0.5)) == pytest.approx([0.25, 0.5, 0.875, 1.0])
    # a fifth of the way down it turns out to be longer: at 0.7 of a plan it is half way down
    assert shares(Fall(40, 100), Fall(52, 132, 0.8)) == pytest.approx(
        [20 / 132, 40 / 132, (52 + 80 * 0.375) / 132, 1.0]
    )
    assert made.along(None) == made


def test_a_band_belongs_to_a_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = to_json(recipe("smoke").pretrain)
    assert band_of(config, "pretrain") is not None
    kind, (weight, maker) = next(iter(DOCUMENTS.items()))
    monkeypatch.setitem(DOCUMENTS, kind, (100 * weight, maker))
    fingerprint.cache_clear()
    try:
        assert band_of(config, "pretrain") is None
        text = tmp_path / "input.txt"
        text.write_text("abc")
        assert "world" not in settings_of({"data": {"data": [str(text)]}})
    finally:
        fingerprint.cache_clear()


def test_reading_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        read_curves(tmp_path / "missing")
    with pytest.raises(RunError, match="no curves"):
        read_curves(tmp_path)
    for stage in ("sft", "base"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"st')
        (tmp_path / stage / "recipe.json").write_text('{"verb": "sft", "steps": 9}')
    found = read_curves(tmp_path)
    assert [each.name for each in found] == ["base", "sft"]
    assert found[0].total == 9 and found[0].losses == [2.0]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_bands_are_those_of_their_recipes(path: Path) -> None:
    """A recipe that was tuned needs a new band (bench/band.py); until then, remove the old one."""
    recipe_name, stage = path.stem.rsplit("-", 1)
    found = band_for(recipe_name, stage)
    assert found is not None and found.runs >= 3
    assert [share for share, _, _ in found.points] == sorted({each[0] for each in found.points})
    assert all(low < high for _, low, high in found.points)
    wanted = settings_of(to_json(getattr(recipe(recipe_name), stage)))
    stored = dict(found.settings)
    if stage == "sft":  # started from the recipe's own base model
        wanted["start"] = settings_of(to_json(recipe(recipe_name).pretrain))
    if stored["data"]["data"]:  # made from a file, which the recipe alone does not name
        wanted.pop("world")
    stored["data"] = {**stored["data"], "data": wanted["data"]["data"]}
    assert stored == wanted
