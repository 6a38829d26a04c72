"""The pieces that architectures share: linear maps, norms, rotary positions, first values.

Weights keep the dtype they are stored in (float32 masters in training) and are cast to the dtype
of the input in each forward pass; where both agree, the cast costs nothing. A new module holds
zeros: init_weights or a checkpoint gives it values. Attention itself is in context.py.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Rotation = tuple[Float[Tensor, "B T 1 C"], Float[Tensor, "B T 1 C"]]  # cosine, signed sine


class Linear(nn.Module):
    """x W^T (+ b), computed in the dtype of x."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


def joined(x: Float[Tensor, "*N I"], *maps: Linear) -> Float[Tensor, "*N O"]:
    """What maps without biases make of x, side by side: in training by one product, not several.

    Elsewhere weights are not put together anew for every token that is read.
    """
    if not torch.is_grad_enabled():
        return torch.cat([each(x) for each in maps], -1)
    return F.linear(x, torch.cat([each.weight.to(x.dtype) for each in maps]))


class Embedding(nn.Module):
    """One learned row per id or position, in the dtype it is stored in."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, width))

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return F.embedding(ids, self.weight)


def rms_norm(x: Float[Tensor, "*N D"], eps: float) -> Float[Tensor, "*N D"]:
    """x / sqrt(mean(x^2) + eps), the mean in float32 (Zhang and Sennrich 2019), without weights."""
    if x.device.type == "cpu" and torch.is_grad_enabled() and x.requires_grad:
        normed: Tensor = ShortRMSNorm.apply(x, eps)
        return normed
    return F.rms_norm(x, (x.shape[-1],), None, eps)


class ShortRMSNorm(torch.autograd.Function):
    """rms_norm for training on a CPU, where torch takes twice the time in many small steps.

    With y = x r and r = 1/sqrt(mean(x^2) + eps): dx = r (dy - y mean(dy y)).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        """y, keeping y and r."""
        exact = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        """dx; eps learns nothing."""
        y, scale = ctx.saved_tensors
        mean = torch.linalg.vecdot(dy, y).div_(y.shape[-1]).unsqueeze(-1)
        return torch.addcmul(dy, y, mean, value=-1).mul_(scale), None


class RMSNorm(nn.Module):
    """rms_norm, cast to the dtype of x, then a learned gain, in the order of Qwen3."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return rms_norm(x, self.eps) * self.weight.to(x.dtype)


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 over the width, then a learned gain and bias (Ba et al. 2016)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)


class Dropout(nn.Module):
    """In training, zeros for a share of the numbers and more for the rest (Srivastava et al. 2014).

    The share is rounded to 1/256, since a random byte decides each number: on a CPU the usual
    float for each would cost a tenth of a step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.share = 0.0

    def forward(self, x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        least = round(256 * self.share)
        if not least or not self.training:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        draws = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (draws >= least).to(x.dtype).mul_(256 / (256 - least))


def only(x: Float[Tensor, "B T D"], places: Int[Tensor, " P"] | None) -> Float[Tensor, "*N D"]:
    """Of all places, one row after the other, these; without `places` x as it is."""
    return x if places is None else x.flatten(0, 1).index_select(0, places)


def rotation(
    positions: Int[Tensor, "B T"], head_width: int, base: float, dtype: torch.dtype
) -> Rotation:
    """The angles of rotary positions (Su et al. 2021), made once per pass for all layers.

    Numbers i and i + C/2 of a head are one pair, as in Llama and Qwen; it turns by
    position * base^(-2i/C). Angles are float32 whatever `dtype` is: bfloat16 would confuse
    positions above 256. The first half of the sine is negated, as `rotate` needs it.
    """
    pairs = torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device)
    angles = positions[..., None, None] * base ** (-pairs / head_width)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat((cosine, cosine), -1).to(dtype), torch.cat((-sine, sine), -1).to(dtype)


def rotate(x: Float[Tensor, "B T N C"], by: Rotation) -> Float[Tensor, "B T N C"]:
    """Every pair of every head turned by its angle: (a, b) -> (a cos - b sin, b cos + a sin)."""
    cosine, sine = by
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)


@torch.no_grad()
def fill_normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """N(0, std) drawn on the CPU in float32, so that every device gets the same numbers."""
    parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))


@torch.no_grad()
def fill_uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    """Uniform from -bound to bound, drawn as in fill_normal."""
    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
