"""`parrotlet doctor` without a run: everything it says was tried."""

from __future__ import annotations

import pytest
import torch

from parrotlet.cli import main
from parrotlet.model.cost import flops_per_token, num_matrix_parameters
from parrotlet.stages.config_pretrain import ShapeConfig
from parrotlet.stages.plan import model_config
from parrotlet.stages.rules import TOKENS_PER_PARAMETER
from parrotlet.terminal import machine

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SIZE", 64)
    monkeypatch.setattr(machine, "ROWS", 1)
    monkeypatch.setattr(machine, "TIME", 32)


def test_on_the_command_line(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "cores" in said and torch.backends.cpu.get_cpu_capability() in said
    assert "product, float32" in said and "tokens a second" in said


def test_a_kernel_that_is_not_there_is_said_not_raised(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise NotImplementedError("no int8 here")

    monkeypatch.setattr(torch, "_int_mm", missing)
    kernels = machine.probe(CPU)
    assert kernels.pop("product, int8") == "no int8 here"
    assert len(kernels) == 4
    assert all(isinstance(rate, float) and rate > 0 for rate in kernels.values())


def test_the_largest_model_of_an_hour_and_no_larger() -> None:
    def seconds(depth: int, flops: float) -> float:
        model = model_config(ShapeConfig(depth=depth, context=machine.TIME), machine.VOCABULARY)
        tokens = TOKENS_PER_PARAMETER * num_matrix_parameters(model)
        return tokens * flops_per_token(model, machine.TIME) / flops

    for flops in (1e11, 5e12):
        depth, tokens = machine.largest(flops)
        assert seconds(depth, flops) <= 3600 < seconds(depth + 1, flops)
        assert tokens > 0
    assert machine.largest(1.0) == (0, 0)


def test_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_fast_bfloat16", lambda _: False)
    monkeypatch.setattr(machine, "free_memory", lambda: 2**20)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (99.0, 0.0, 0.0), raising=False)
    said = " ".join(machine.advice(CPU))
    assert "no bfloat16 instructions" in said
    assert "other programs" in said
    assert "--micro-tokens" in said
    monkeypatch.setattr(machine, "has_fast_bfloat16", lambda _: True)
    monkeypatch.setattr(machine, "free_memory", lambda: 2**40)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.1, 0.0, 0.0), raising=False)
    assert machine.advice(CPU) == ["nothing to change"]
