"""Rows that learn together: the parts they are sums of, by AdamW, without being kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.roles import is_table
from parrotlet.optim.schedule import Rates
from parrotlet.optim.shared import SharedAdamW, begin_alike
from parrotlet.text.forms import Forms

FORMS = Forms(words=(0, 0, 1, 1, 2, 0, 3, 4), forms=(0, 1, 0, 2, 0, 2, 0, 0))
BETAS, EPS = (0.8, 0.95), 1e-10


def test_equal_to_adamw_of_the_parts() -> None:
    torch.manual_seed(0)
    words, forms = torch.tensor(FORMS.words), torch.tensor(FORMS.forms)
    parts = [nn.Parameter(torch.randn(rows, 4)) for rows in (FORMS.num_words, 3, len(words))]

    def rows() -> torch.Tensor:
        return parts[0][words] + parts[1][forms] + parts[2]

    table = nn.Parameter(rows().detach().clone())
    ours = SharedAdamW([{"params": [table], "lr": 0.1}], FORMS, betas=BETAS, eps=EPS)
    theirs = torch.optim.AdamW(parts, lr=0.1, betas=BETAS, eps=EPS, weight_decay=0.0)
    for step in range(8):
        gradient = torch.randn(len(words), 4)
        rows().backward(gradient)
        table.grad = gradient
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(table, rows(), rtol=0, atol=1e-5)


def tiny(arch: str) -> Model:
    config = ModelConfig(
        arch=arch, vocab_size=len(FORMS.words), context=8, depth=2, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32, tied=arch != "swift",
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_one_form_learns_the_others_know(arch: str) -> None:
    """And only tables of tokens are shared: positions and pairs have no forms."""
    model = tiny(arch)
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    config = OptimizerConfig(share_forms=True)
    optimizers = build_optimizers(
        model.named_parameters(), config, fast_bfloat16=False, forms=FORMS
    )
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
        if parameter.ndim == 2:
            parameter.grad[0] = 1  # of row 0 alone
    optimizers.set_rates(Rates(lr=1.0, momentum=0.9))
    optimizers.step()
    shared = [name for name in before if is_table(name)]
    assert "embed.weight" in shared
    assert not any("position" in name or "pair" in name for name in shared)
    for name, parameter in model.named_parameters():
        moved = (parameter - before[name]).abs().amax(-1) > 0 if parameter.ndim == 2 else None
        if name in shared:
            assert moved is not None
            # row 0 is word 0 (rows 1 and 5 too) in form 0 (rows 2, 4, 6 and 7 too)
            assert moved.tolist() == [True, True, True, False, True, True, True, True], name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_its_state_travels(arch: str) -> None:
    models = tiny(arch), tiny(arch)
    both = [
        build_optimizers(
            model.named_parameters(), OptimizerConfig(), fast_bfloat16=False, forms=FORMS
        )
        for model in models
    ]
    generator = torch.Generator().manual_seed(1)
    gradients = [torch.randn(each.shape, generator=generator) for each in models[0].parameters()]

    def learn(which: int) -> None:
        for parameter, gradient in zip(models[which].parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        both[which].set_rates(Rates(lr=0.5, momentum=0.9))
        both[which].step()
        both[which].zero_grad()

    learn(0)
    learn(0)
    models[1].load_state_dict(models[0].state_dict())
    kept = both[0].state_tensors()
    assert both[1].fits(kept)
    both[1].load_state_tensors(kept)
    for which in (0, 1):
        learn(which)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    plain = build_optimizers(models[0].named_parameters(), OptimizerConfig(), fast_bfloat16=False)
    assert not plain.fits(kept)


def test_fresh_rows_of_a_word_begin_alike() -> None:
    model = tiny("qwen3")
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    begin_alike(model.named_parameters(), FORMS, torch.Generator().manual_seed(0))
    table = before.pop("embed.weight"), model.get_parameter("embed.weight").detach()
    assert not torch.equal(*table)
    rows = table[1]
    torch.testing.assert_close(rows[5] - rows[0], rows[3] - rows[2])  # what capitals add
    assert not torch.equal(rows[0], rows[2])
    assert (rows[1] - rows[0]).std() > 0.3 * rows.std()
    assert all(torch.equal(model.get_parameter(name), each) for name, each in before.items())
