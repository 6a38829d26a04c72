"""The ablations at toy size: with nothing taken out they are swift and Muon; all variants run."""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from parrotlet.core.runtime import Runtime
from parrotlet.data.streams import evaluation_batches
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.optim.muon import Muon
from parrotlet.train.losses import next_token

ROOT = Path(__file__).parent.parent
CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
TOY = {
    "CONTEXT": 16, "STEP_TOKENS": 64, "DEPTH": 4, "WIDTH": 24, "HEADS": 2,
    "STRETCH": 200, "HELD_OUT": 10,
}  # fmt: skip


@pytest.fixture
def ablate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))  # of its neighbour
    spec = importlib.util.spec_from_file_location("ablate", ROOT / "bench/ablate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ablate", module)  # where its dataclasses look for types
    spec.loader.exec_module(module)
    for name, value in TOY.items():
        monkeypatch.setattr(module, name, value)
    return module


@pytest.fixture
def ablated(ablate: ModuleType) -> ModuleType:
    return sys.modules["ablated"]


@pytest.fixture
def text(ablate: ModuleType, tmp_path: Path) -> Any:
    words = random.Random(0).choices(["the", "fox", "walks", "and", "sees", "a", "dog"], k=4000)
    (tmp_path / "some.txt").write_text(" ".join(words))
    return ablate.read_text([tmp_path], 300)


def test_with_nothing_taken_out_it_is_swift(ablated: ModuleType, text: Any) -> None:
    config = ModelConfig(
        arch="swift", vocab_size=300, context=16, depth=4, width=24, heads=2, kv_heads=2,
        head_width=12, mlp_width=96, tied=False, bigrams=1500,
    )  # fmt: skip
    batch = next(evaluation_batches(text.train, 16, 4))
    found = []
    for model in (ablated.Ablated(config, torch.float32, ablated.Pieces()), build_model(config)):
        model.init_weights(torch.Generator().manual_seed(3))
        for parameter in model.parameters():  # away from the start, where blocks add nothing
            with torch.no_grad():
                noise = torch.Generator().manual_seed(parameter.numel())
                parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
        next_token(model, batch).backward()
        found.append({name: each.grad for name, each in model.named_parameters()})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def updated(optimizer: Any, weight: nn.Parameter) -> torch.Tensor:
    for step in range(3):
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    return weight.detach()


def weights() -> nn.Parameter:
    return nn.Parameter(torch.randn(12, 8, generator=torch.Generator().manual_seed(9)))


def test_with_our_steps_it_is_muon(ablated: ModuleType) -> None:
    options = {"lr": 0.02, "weight_decay": 0.1, "dtype": torch.float32}
    first, second = weights(), weights()
    plain = updated(Muon([first], **options), first)
    assert torch.equal(
        plain, updated(ablated.OtherMuon([second], ablated.Steps(), **options), second)
    )


@pytest.mark.parametrize("change", ["equal_rows", "rescaled", "second_moment"])
def test_other_steps_do_what_they_say(ablated: ModuleType, change: str) -> None:
    steps = ablated.Steps(**{change: 0.9 if change == "second_moment" else True})
    optimizer = ablated.OtherMuon([weights()], steps, lr=1.0, dtype=torch.float32)
    stack = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(1))
    stack[:, 0] *= 100
    made = optimizer._orthogonal(stack)
    if change == "equal_rows":  # as if the row had never been larger
        stack[:, 0] /= 100
        assert torch.allclose(made, optimizer._orthogonal(stack), atol=1e-4)
    elif change == "rescaled":
        assert torch.allclose(made.norm(dim=(1, 2)), torch.full((2,), math.sqrt(8)), atol=1e-4)
    else:  # the first time the decay is the same for all: every row has the same mean square
        squares = made.square().mean(-1)
        assert torch.allclose(squares, squares[:, :1].expand(2, 12), rtol=1e-3)


def test_cautious_decay_leaves_what_grows(ablated: ModuleType) -> None:
    weight, decay = weights(), {"lr": 0.02, "weight_decay": 5.0, "dtype": torch.float32}
    before = weight.detach().clone()
    plain, bare = weights(), weights()
    after = updated_once(ablated.OtherMuon([weight], ablated.Steps(cautious=True), **decay), weight)
    full = updated_once(Muon([plain], **decay), plain)
    none = updated_once(Muon([bare], **decay | {"weight_decay": 0.0}), bare)
    grows = (none - before) * before > 0
    assert grows.any() and not grows.all()
    assert torch.allclose(after, torch.where(grows, none, full), atol=1e-6)


def updated_once(optimizer: Any, weight: nn.Parameter) -> torch.Tensor:
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    return weight.detach()


def test_every_variant_learns(ablate: ModuleType, text: Any) -> None:
    losses = {
        name: ablate.run(variant, text, 0, 30, CPU) for name, variant in ablate.VARIANTS.items()
    }
    assert all(loss < 5.5 for loss in losses.values()), losses  # it begins at log 300 = 5.7
    different = [name for name, loss in losses.items() if loss != losses["base"]]
    assert len(different) == len(losses) - 1


def test_the_cost_of_a_step(ablate: ModuleType, text: Any) -> None:
    assert ablate.cost(ablate.VARIANTS["smear"], text, 2, CPU) > 0


def test_the_table_of_known_results(ablate: ModuleType) -> None:
    records = [
        {"variant": "base", "seed": seed, "steps": 100, "loss": 4.0 + seed / 10}
        for seed in range(3)
    ]
    records += [
        {"variant": "smear", "seed": seed, "steps": 100, "loss": 3.9 + seed / 10 + (seed - 1) / 50}
        for seed in range(3)
    ]
    records += [{"variant": "backout", "seed": 0, "steps": 100, "loss": 4.2}]
    records += [{"variant": "base", "seed": 0, "steps": 200, "loss": 4.0 - 0.5 * math.log(2)}]
    records += [{"variant": "smear", "cost": 1.1}]
    lines = ablate.table(records, 100)
    # differences -0.12, -0.10, -0.08: deviation 0.02; e^(-0.1 / 0.5) x 1.1 = 0.901
    assert lines[2].startswith("| base | 4.1000 ± 0.1000 | +0.0000 |")
    assert lines[3] == "| smear | 4.0000 ± 0.1200 | -0.1000 | -5.0 | 1.100 | 0.901 |"
    assert lines[4] == "| backout | 4.2000 (one seed) | +0.2000 | +10.0 |  |  |"
