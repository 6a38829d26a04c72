"""Forecasts for GPUs, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parrotlet.cli import main
from parrotlet.core.errors import UsageError
from parrotlet.model.cost import flops_per_token, num_matrix_parameters, num_parameters
from parrotlet.recipes import RECIPES
from parrotlet.stages.plan import Plan
from parrotlet.stages.rules import TOKENS_PER_PARAMETER
from parrotlet.terminal.config_runs import PlanConfig
from parrotlet.terminal.forecast import GPUS, UTILISATION, forecast
from parrotlet.terminal.plan import plan_of

PLAN = plan_of(PlanConfig(batch_tokens=2**20))
H100 = GPUS["h100"]


def test_one_gpu_by_hand() -> None:
    found = forecast(PLAN, H100, 1)
    assert PLAN.tokens is not None
    assert PLAN.tokens <= TOKENS_PER_PARAMETER * num_matrix_parameters(PLAN.model)
    seconds = PLAN.tokens * flops_per_token(PLAN.model, PLAN.context) / (989e12 * UTILISATION)
    assert found.hours * 3600 == pytest.approx(seconds)
    assert found.money == pytest.approx(found.hours * H100.price)
    assert (found.sent, found.communication) == (0, 0)
    assert found.utilisation == pytest.approx(UTILISATION)


def test_exchange_by_hand() -> None:
    """16 GPUs: 7/8 of the ring inside a node, then each carries an eighth to the other node."""
    model = PLAN.model
    matrices = num_matrix_parameters(model) - model.vocab_size * model.width
    size = 2 * 4 * num_parameters(model) + 2 * matrices
    found = forecast(PLAN, H100, 16)
    assert found.sent == pytest.approx(size * 7 / 8 + size / 8 / 2)
    assert found.communication == pytest.approx(size * 7 / 8 / 450e9 + size / 16 / 50e9)
    assert found.compute == pytest.approx(forecast(PLAN, H100, 1).compute / 16)


def test_more_gpus_are_never_slower_nor_cheaper() -> None:
    found = [forecast(PLAN, H100, count) for count in (1, 8, 64, 1024)]
    assert [each.hours for each in found] == sorted((each.hours for each in found), reverse=True)
    assert [each.money for each in found] == sorted(each.money for each in found)
    assert [each.micro_rows for each in found] == sorted(
        (each.micro_rows for each in found), reverse=True
    )


def test_passes_are_halved_until_they_fit() -> None:
    small = replace(H100, memory=4e9)
    found = forecast(PLAN, small, 1)
    assert found.memory <= 0.9 * small.memory
    assert found.micro_rows < PLAN.rows_per_step
    with pytest.raises(UsageError, match=r"need .* GB, and a GPU has 0"):
        forecast(PLAN, replace(H100, memory=1e6), 1)


@pytest.mark.parametrize(("gpus", "near"), [(3, 2), (5000, 4096)])
def test_ranks_that_cannot_share_a_step(gpus: int, near: int) -> None:
    assert PLAN.rows_per_step == 4096
    with pytest.raises(UsageError, match=f"{gpus} GPUs cannot share the 4096 rows.*; {near} can"):
        forecast(PLAN, H100, gpus)


def test_the_batch_that_is_advised_works() -> None:
    batch = 1024 * 256
    with pytest.raises(UsageError, match=f"--batch-tokens {batch}"):
        forecast(plan_of(PlanConfig(batch_tokens=batch // 2)), H100, 1024)
    assert forecast(plan_of(PlanConfig(batch_tokens=batch)), H100, 1024).micro_rows == 1


def plan_by(name: str) -> Plan:
    base = RECIPES[name].pretrain
    return plan_of(
        PlanConfig(
            shape=base.shape, vocab_size=base.text.vocab_size, tokens=base.budget.tokens,
            batch_tokens=base.budget.batch_tokens,
        )
    )  # fmt: skip


def test_recipes_keep_what_their_summaries_say() -> None:
    assert forecast(plan_by("gpu"), H100, 1).hours < 1.5
    assert 100e6 < num_parameters(plan_by("gpu").model) < 130e6
    assert forecast(plan_by("speedrun"), H100, 8).money < 100


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--recipe", "speedrun", "--gpus", "8", "1024", "--price", "2"]) == 0
    said = capsys.readouterr().out
    assert "22 blocks" in said
    assert "1024 GPUs cannot share the 256 rows" in said.replace("\n", " ")
    assert "2 dollars an" in said
    assert main(["plan", "--recipe", "cpu", "--gpus", "1"]) == 0  # sized by minutes
    assert "4 blocks" in capsys.readouterr().out
    assert main(["plan", "--recipe", "shakespeare-long", "--gpus", "1"]) == 0  # by steps
    assert "640 steps of 8,192" in " ".join(capsys.readouterr().out.split())
    assert main(["plan", "--depth", "4", "--tokens", "1000000000", "--gpus", "1"]) == 0
    assert "999,817,216 tokens in 1,907 steps" in " ".join(capsys.readouterr().out.split())
    assert main(["plan", "--depth", "2", "--price", "-1"]) == 2
    assert main(["plan", "--gpus", "0"]) == 2
