"""Muon against torch.optim.Muon, and orthogonalisation against the singular values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from parrotlet.optim import muon
from parrotlet.optim.muon import (
    NEWTON_SCHULZ,
    POLAR_EXPRESS,
    Coefficients,
    Muon,
    orthogonalise,
)

SHAPES = [(16, 16), (16, 16), (32, 8), (8, 24)]


def parameters(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def give_gradients(members: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for each in members:
        each.grad = torch.randn(each.shape, generator=generator)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equal_to_torch(weight_decay: float) -> None:
    ours, theirs = parameters(0), parameters(0)
    mine = Muon(ours, lr=0.02, momentum=0.9, weight_decay=weight_decay, coefficients=NEWTON_SCHULZ)
    oracle = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=weight_decay)
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        mine.step()
        oracle.step()
    for a, b in zip(ours, theirs, strict=True):
        # bfloat16 rounds batched and single products differently: a share of one update
        assert torch.allclose(a, b, atol=0.02 * 0.05)
        assert not torch.equal(a, parameters(0)[0])


@pytest.mark.parametrize(
    ("coefficients", "low", "high"),
    [
        (POLAR_EXPRESS, 0.85, 1.15),
        (NEWTON_SCHULZ, 0.6, 1.25),
    ],
)
def test_singular_values_go_to_one(coefficients: object, low: float, high: float) -> None:
    stack = torch.randn(3, 24, 12, generator=torch.Generator().manual_seed(1))
    result = orthogonalise(stack, coefficients, torch.float32)  # type: ignore[arg-type]
    values = torch.linalg.svdvals(result)
    assert values.min() > low
    assert values.max() < high
    # and the singular vectors stay: the result is (nearly) the polar factor U V^T
    u, _, vt = torch.linalg.svd(stack, full_matrices=False)
    cosine = torch.nn.functional.cosine_similarity(result.flatten(1), (u @ vt).flatten(1))
    assert (cosine > 0.97).all()


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (24, 48)])
@pytest.mark.parametrize("coefficients", [POLAR_EXPRESS, NEWTON_SCHULZ])
@pytest.mark.parametrize("rank", [24, 5, 0])
@pytest.mark.parametrize("least", [1.0, 1e-3, 1e-6])
def test_long_matrices_by_their_gram_matrix(
    shape: tuple[int, int], coefficients: Coefficients, rank: int, least: float
) -> None:
    """The same as step by step in float64, also where singular values are tiny or zero."""
    generator = torch.Generator().manual_seed(3)
    made = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    u, _, vt = torch.linalg.svd(made, full_matrices=False)
    values = torch.logspace(0, math.log10(least), 24, dtype=torch.float64)
    values[rank:] = 0
    stack = u * values @ vt * 0.01
    exact = orthogonalise(stack, coefficients, torch.float64)
    found = orthogonalise(stack.float(), coefficients, torch.float32)
    assert torch.isfinite(found).all()
    assert (found - exact).abs().max() < 3e-3  # of numbers up to 1; bfloat16 errs by ten times that
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muon, "LONG", 1000)
        direct = orthogonalise(stack.float(), coefficients, torch.float32)
    assert (found - direct).abs().max() < 3e-3
    assert rank == 0 or not torch.equal(found, direct), "the Gram matrix was not used"


def test_a_stack_is_each_matrix_alone() -> None:
    stack = torch.randn(4, 10, 6, generator=torch.Generator().manual_seed(2))
    together = orthogonalise(stack, POLAR_EXPRESS, torch.float32)
    alone = torch.cat([orthogonalise(each[None], POLAR_EXPRESS, torch.float32) for each in stack])
    assert torch.allclose(together, alone, atol=1e-5)


def test_parameters_without_gradient_stay() -> None:
    members = parameters(0)
    optimizer = Muon(members, lr=0.1)
    give_gradients(members, 0)
    members[0].grad = None
    before = members[0].detach().clone()
    optimizer.step()
    assert torch.equal(members[0], before)
    assert not torch.equal(members[1], parameters(0)[1])
