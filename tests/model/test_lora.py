"""LoRA: nothing at first, then a product beside each matrix; merged weights say the same."""

from __future__ import annotations

import pytest
import torch

from parrotlet.model.build import build_model
from parrotlet.model.config import Architecture, ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.lora import add_lora, lora_weights, merged_weights
from parrotlet.model.model import Model

IDS = torch.arange(12).reshape(2, 6)


def model_of(arch: Architecture) -> Model:
    config = ModelConfig(
        arch=arch, vocab_size=20, context=16, depth=2, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32, tied=arch != "swift",
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def logits(model: Model) -> torch.Tensor:
    return model(IDS, CausalContext.of(IDS))


@pytest.mark.parametrize("arch", ["gpt2", "qwen3", "swift"])
def test_merged_is_the_same(arch: Architecture) -> None:
    model = model_of(arch)
    with torch.no_grad():
        for each in model.parameters():  # swift begins with zeros, which a product could not reach
            each.add_(0.02 * torch.randn(each.shape, generator=torch.Generator().manual_seed(1)))
    plain = {name: each.detach().clone() for name, each in model.named_parameters()}
    before = logits(model).detach()
    add_lora(model, rank=3, alpha=6.0, seed=0)
    assert torch.allclose(logits(model), before, atol=1e-6)
    learned = {name for name, each in model.named_parameters() if each.requires_grad}
    assert learned and all(name.endswith((".up", ".down")) for name in learned)
    assert learned < lora_weights(model).keys()
    with torch.no_grad():
        for name, each in model.named_parameters():
            if name.endswith(".up"):
                each.normal_(generator=torch.Generator().manual_seed(2))
    merged = merged_weights(model)
    assert merged.keys() == plain.keys()
    again = model_of(arch)
    with torch.no_grad():
        for name, each in again.named_parameters():
            each.copy_(merged[name])
    assert not torch.allclose(logits(model), before, atol=1e-3)
    assert torch.allclose(logits(again), logits(model), atol=1e-5)
    name, module = next(
        (name, module)
        for name, module in model.named_modules()
        if hasattr(module, "parametrizations")
    )
    product = module.parametrizations.weight[0]  # type: ignore[union-attr,index]
    by_hand = plain[f"{name}.weight"] + 2.0 * product.up @ product.down
    assert torch.allclose(merged[f"{name}.weight"], by_hand, atol=1e-6)
