"""The dial: what the rules give over their range; what a person gives stands above them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from parrotlet.cli import main
from parrotlet.core.errors import UsageError
from parrotlet.optim.config import OptimizerConfig
from parrotlet.recipes import BY_RULES
from parrotlet.stages import rules
from parrotlet.stages.config import BudgetConfig
from parrotlet.stages.config_pretrain import ShapeConfig
from parrotlet.stages.plan import Plan, make_plan, missing_rates, model_config, remarks, with_batch

FITTED = Path(__file__).parents[2] / "bench/results/dial.jsonl"
CHANCE = 0.03  # nats by which two runs with other seeds differ
EPOCH = 10**12  # tokens of a text without end


def plan_of(depth: int, budget: BudgetConfig, epoch: int = EPOCH, world_size: int = 1) -> Plan:
    model = model_config(ShapeConfig(depth=depth), 4096)
    return make_plan(
        model, budget, context=model.context, tokens_per_epoch=epoch, world_size=world_size
    )


def by_rules(**given: object) -> BudgetConfig:
    return replace(BudgetConfig(batch_tokens=None), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", range(1, 25))
def test_every_depth_has_a_plan(depth: int) -> None:
    plan = plan_of(depth, by_rules())
    assert plan.steps is not None and plan.steps >= 100
    size = plan.tokens_per_step
    assert size & (size - 1) == 0
    values = missing_rates(BY_RULES, plan, False)
    assert values["weight_decay"] == 0  # four epochs at most
    assert set(values) == {"matrix_lr", "embedding_lr", "head_lr", "scalar_lr", "weight_decay"}
    assert all(0 <= value < 1 and math.isfinite(value) for value in values.values())


def test_longer_runs_take_larger_batches_and_more_steps() -> None:
    plans = [plan_of(4, by_rules(tokens=2**n)) for n in range(18, 33)]
    sizes = [plan.tokens_per_step for plan in plans]
    steps = [plan.steps or 0 for plan in plans]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert steps[0] < steps[-1]


def test_wider_models_take_smaller_rates_for_embedding_and_head() -> None:
    found = [missing_rates(BY_RULES, plan_of(depth, by_rules()), False) for depth in (2, 4, 8)]
    for name in ("embedding_lr", "head_lr"):
        values = [each[name] for each in found]
        assert values == sorted(values, reverse=True) and values[0] > values[-1]


def test_the_length_is_what_the_model_is_worth_and_the_text_gives() -> None:
    endless, short = plan_of(2, by_rules()), plan_of(2, by_rules(), epoch=100_000)
    model = endless.model
    assert endless.tokens == pytest.approx(rules.horizon(model, EPOCH), rel=0.01)
    assert short.tokens == pytest.approx(rules.MOST_EPOCHS * 100_000, rel=0.02)
    assert short.tokens_per_step < endless.tokens_per_step


def test_text_that_is_read_often_brings_decay() -> None:
    few, many = (plan_of(2, by_rules(steps=800), epoch=epoch) for epoch in (10**9, 10**5))
    assert many.steps is not None and many.steps / many.epoch_steps > rules.MOST_EPOCHS
    found = missing_rates(BY_RULES, many, False)
    over_the_run = found["weight_decay"] * found["matrix_lr"] * many.steps
    assert over_the_run == pytest.approx(rules.DECAY, rel=0.01)
    assert missing_rates(BY_RULES, few, False)["weight_decay"] == 0


def test_what_is_given_stands() -> None:
    plan = plan_of(2, BudgetConfig(tokens=10**6, batch_tokens=3 * 256))
    assert plan.rows_per_step == 3
    assert with_batch(plan, 10**9) == plan
    optim = replace(BY_RULES, matrix_lr=0.5, weight_decay=0.3)
    assert set(missing_rates(optim, plan, False)) == {"embedding_lr", "head_lr", "scalar_lr"}
    assert missing_rates(OptimizerConfig(), plan, False) == {}


def test_weights_that_are_there_take_smaller_rates() -> None:
    plan = plan_of(2, by_rules())
    fresh, tuned = (missing_rates(BY_RULES, plan, tuning) for tuning in (False, True))
    for name in ("matrix_lr", "embedding_lr", "head_lr", "scalar_lr"):
        assert tuned[name] == pytest.approx(rules.TUNING * fresh[name], rel=0.01)


def test_ranks_share_the_batch_of_the_rules_and_one_that_is_too_small_is_refused() -> None:
    for ranks in (1, 2, 3, 6, 64):
        plan = plan_of(2, by_rules(tokens=2**20), world_size=ranks)
        assert plan.rows_per_step % ranks == 0
    with pytest.raises(UsageError, match=r"each of 6 ranks; --batch-tokens 1,536 would do"):
        plan_of(2, BudgetConfig(tokens=2**20, batch_tokens=1024), world_size=6)


def test_a_step_longer_than_the_text_is_told() -> None:
    plan = plan_of(2, BudgetConfig(tokens=2**20, batch_tokens=2**14), epoch=2**13)
    (line,) = remarks(plan, {})
    assert "reads the text 2.0 times over" in line and "--batch-tokens" in line
    assert not list(remarks(plan_of(2, by_rules(tokens=2**20)), {}))


def test_the_dial_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--depth alone has the length of the rules; a rate that is given stays; the run keeps both."""
    command = ["pretrain", "--depth", "1", "--vocab-size", "512", "--world-documents", "60",
               "--context", "64", "--matrix-lr", "0.01", "--device", "cpu"]  # fmt: skip
    command += ["--runs", str(tmp_path), "--name", "x"]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    model = model_config(ShapeConfig(depth=1), 512)
    wanted = float(f"{rules.rates(model, 1, 1)['embedding_lr']:.3g}")
    assert f"matrices 0.01, embeddings {wanted:g}," in said and "as asked for" not in said
    assert "dollars an hour" in said
    assert main(command) == 0
    assert f"by the rules embedding_lr {wanted:g}" in " ".join(capsys.readouterr().out.split())
    recipe = json.loads((tmp_path / "x" / "recipe.json").read_text())
    assert recipe["rates"]["embedding_lr"] == wanted and "matrix_lr" not in recipe["rates"]
    lines = (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()
    units = sum(json.loads(line)["units"] for line in lines)
    epoch = recipe["epoch_steps"] * recipe["rows_per_step"] * 64
    assert units == pytest.approx(rules.MOST_EPOCHS * epoch, rel=0.05)


def test_the_rules_lie_where_the_fit_found_the_best() -> None:
    """Of every search of bench/dial.py: the loss at the rule's value, between those measured."""
    searches: dict[tuple[tuple[object, ...], str, float], dict[float, float]] = {}
    for line in FITTED.read_text().splitlines():
        record = json.loads(line)
        trial = record["trial"]
        for knob in ("matrix_lr", "embedding_lr", "head_lr", "batch_tokens"):
            others = tuple(value for name, value in trial.items() if name != knob)
            model = model_config(
                ShapeConfig(arch=trial["arch"], depth=trial["depth"], width=trial["width"]),
                trial["vocab_size"],
            )
            rule = rules.rates(model, 1, 1) | {
                "batch_tokens": rules.batch_tokens(model, trial["tokens"])
            }
            found = searches.setdefault((others, knob, rule[knob]), {})
            found[math.log(trial[knob])] = record["result"]["validation_loss"]
    searches = {key: found for key, found in searches.items() if len(found) > 2}
    assert {key[1] for key in searches} == {"matrix_lr", "embedding_lr", "head_lr", "batch_tokens"}
    for (_, knob, value), found in searches.items():
        at = math.log(value)
        left = max((x for x in found if x <= at + 1e-9), default=None)
        right = min((x for x in found if x >= at - 1e-9), default=None)
        assert left is not None and right is not None, f"{knob} {value} was not searched"
        part = (at - left) / (right - left) if right > left else 0.0
        loss = (1 - part) * found[left] + part * found[right]
        assert loss <= min(found.values()) + CHANCE, f"{knob} {value}: {loss}"


def test_a_head_may_be_a_matrix_of_its_own() -> None:
    tied = [model_config(ShapeConfig(tied=each), 64).tied for each in (None, True, False)]
    assert tied == [True, True, False]
    assert not model_config(ShapeConfig(arch="swift"), 64).tied
    with pytest.raises(UsageError, match="swift's head is a matrix of its own"):
        model_config(ShapeConfig(arch="swift", tied=True), 64)
