"""Every parameter of every architecture has one role, one optimizer, and a state that travels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn

from parrotlet.core.errors import CheckpointError
from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model
from parrotlet.optim.build import AdamW, Optimizers, build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.roles import by_role
from parrotlet.optim.schedule import Rates


def tiny(arch: str) -> Model:
    config = ModelConfig(
        arch=arch, vocab_size=32, context=8, depth=2, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32, tied=arch != "swift",
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def optimizers_of(model: Model, kind: str = "muon") -> Optimizers:
    config = OptimizerConfig(optimizer=kind)  # type: ignore[arg-type]
    return build_optimizers(model.named_parameters(), config, fast_bfloat16=False)


def learn(model: Model, optimizers: Optimizers, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizers.set_rates(Rates(lr=0.5, momentum=0.9))
    optimizers.step()
    optimizers.zero_grad()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_roles(arch: str) -> None:
    model = tiny(arch)
    roles = by_role(model.named_parameters())
    named = [name for members in roles.values() for name, _ in members]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert "embed.weight" in [name for name, _ in roles["embedding"]]
    assert {name for name, _ in roles["head"]} == (set() if model.config.tied else {"head.weight"})
    assert all(each.ndim == 2 for _, each in roles["matrix"])
    assert all(each.ndim <= 1 for _, each in roles["scalar"])
    # four projections of attention and at least two of the MLP, in each block
    assert len(roles["matrix"]) >= 6 * model.config.depth


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_parameter_moves(arch: str, kind: str) -> None:
    model = tiny(arch)
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    learn(model, optimizers_of(model, kind), seed=1)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_state_travels(arch: str) -> None:
    first, second = tiny(arch), tiny(arch)
    ours, theirs = optimizers_of(first), optimizers_of(second)
    for seed in (1, 2):
        learn(first, ours, seed)
    second.load_state_dict(first.state_dict())
    theirs.load_state_tensors(ours.state_tensors())
    for model, optimizers in ((first, ours), (second, theirs)):
        learn(model, optimizers, seed=3)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_of_another_model_is_refused() -> None:
    optimizers = optimizers_of(tiny("gpt2"))
    with pytest.raises(CheckpointError, match="elsewhere/momentum"):
        optimizers.load_state_tensors({"elsewhere/momentum": torch.zeros(2)})


def test_adamw_is_torchs() -> None:
    """The same numbers, rates that change on the way and several groups included."""
    start = [torch.randn(5, 3), torch.randn(7)]
    ours, theirs = ([nn.Parameter(each.clone()) for each in start] for _ in range(2))
    options: dict[str, Any] = {"betas": (0.8, 0.95), "eps": 1e-10, "fused": True}
    groups = [
        [{"params": [a], "lr": 0.1, "weight_decay": 0.1}, {"params": [b]}]
        for a, b in (ours, theirs)
    ]
    pair = AdamW(groups[0], **options), torch.optim.AdamW(groups[1], **options)
    for step in range(5):
        gradients = [torch.randn_like(each) for each in start]
        for optimizer, parameters in zip(pair, (ours, theirs), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = 0.05 / (step + 1)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.skipif(torch.version.cuda is not None, reason="GPUs' attention imports it anyway")
def test_training_leaves_the_compiler_alone(tmp_path: Path) -> None:
    """It takes longer to import than PyTorch, and what is trained eagerly has no use for it."""
    code = """
        import sys
        from parrotlet.cli import main
        smoke = "pretrain --recipe smoke --steps 2 --device cpu --runs"
        assert main([*smoke.split(), sys.argv[1]]) == 0
        assert "torch" in sys.modules and "torch._dynamo" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", dedent(code), str(tmp_path)], check=True, timeout=300)
