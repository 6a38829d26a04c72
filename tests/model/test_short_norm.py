"""The norm written for training on a CPU equals torch's own, value and gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from parrotlet.model.layers import ShortRMSNorm, rms_norm


@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 4, 8)])
def test_equal_to_torch(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rms_norm(x, 1e-6), (x,), atol=1e-4)
    given = torch.randn(shape, generator=generator).requires_grad_()
    weights = torch.randn(shape, generator=generator)
    results = []
    for function in (lambda x: rms_norm(x, 1e-6), lambda x: F.rms_norm(x, shape[-1:], None, 1e-6)):
        y = function(given)
        (gradient,) = torch.autograd.grad((y * weights).sum(), given)
        results.append((y, gradient))
    (y, gradient), (expected, expected_gradient) = results
    assert torch.allclose(y, expected, atol=1e-6)
    assert torch.allclose(gradient, expected_gradient, atol=1e-5)


def test_bfloat16_stays_near_float32() -> None:
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    exact = F.rms_norm(x.bfloat16().float(), (32,), None, 1e-6)
    given = x.bfloat16().requires_grad_()
    assert torch.allclose(ShortRMSNorm.apply(given, 1e-6).float(), exact, rtol=2**-6)
