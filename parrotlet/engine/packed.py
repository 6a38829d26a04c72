"""Matrices in fewer bytes for the engine's private copy: decoding waits for memory, not for sums.

float16: two bytes a weight, multiplied with float32 activations by FBGEMM (Khudia et al. 2021),
which PyTorch has on x86. Its 11 bits are closer to the trained weights than bfloat16's 8.

int8: one byte a weight, with a scale for each output; a row of activations is rounded to 8 bits
too, with a scale of its own (Dettmers et al. 2022, "LLM.int8()", without its outliers). Sums of
integers are exact, so a row's result is the same in every batch. Matrices of fewer than SMALL
weights are float16 there: what reading them faster saves, preparing activations would cost.

Not here: other devices than the CPU, and quantised keys and values.
"""

from __future__ import annotations

import copy
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from parrotlet.core.errors import UsageError
from parrotlet.model.layers import Embedding, Linear
from parrotlet.model.model import Model

Weights = Literal["float16", "int8"]
SMALL = 2**18
TINY = 1e-30  # a row of zeros has no scale


class Float16Linear(nn.Module):
    """x W^T (+ b) for float32 x."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        bias = None if bias is None else bias.float()
        self._packed: Any = torch.ops.quantized.linear_prepack_fp16(weight.float(), bias)

    def forward(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return cast(Tensor, torch.ops.quantized.linear_dynamic_fp16(x, self._packed))


class Int8Linear(nn.Module):
    """x W^T (+ b) for float32 x, by integers."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scales = weight.float().abs().amax(1).clamp_(min=TINY) / 127
        self._weight = (weight.float() / scales[:, None]).round_().to(torch.int8)
        self._scales = scales
        self._bias = None if bias is None else bias.float()

    def forward(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        rows = x.reshape(-1, x.shape[-1])
        steps = torch.linalg.vector_norm(rows, torch.inf, -1, keepdim=True).clamp_(min=TINY)
        steps.mul_(1 / 127)
        whole = torch.div(rows, steps).round_().to(torch.int8)
        found = torch._int_mm(whole, self._weight.t()).float().mul_(steps)
        if self._bias is None:
            found.mul_(self._scales)
        else:
            found = torch.addcmul(self._bias, found, self._scales)
        return found.view(*x.shape[:-1], -1)


def can_pack(weights: Weights) -> bool:
    """Whether this processor and this PyTorch have fast kernels for it."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    return weights == "float16" or bool(torch.cpu.get_capabilities().get("avx512_vnni"))


def pack(model: Model, weights: Weights) -> Model:
    """A copy whose matrices are packed and whose activations are float32.

    UsageError where the device or the processor has no kernels for it.
    """
    device = next(model.parameters()).device
    if device.type != "cpu" or not can_pack(weights):
        raise UsageError(
            f"quantize {weights} needs a CPU with the instructions for it, and this runs on "
            f"{device.type}; leave it out"
        )
    memo: dict[int, Any] = {}
    for module in model.modules():
        if isinstance(module, Linear):
            memo[id(module)] = _packed(module.weight, module.bias, weights)
    packed = copy.deepcopy(model, memo).requires_grad_(False).eval()
    packed.compute_dtype = torch.float32
    if getattr(packed, "head", None) is None:  # tied: the head gets a matrix of its own
        embedding = cast(Embedding, model.embed)
        packed.head = _packed(embedding.weight, None, weights)
    packed.float()
    cast(Embedding, packed.embed).to(torch.float16)  # looked up, a row at a time
    return packed


@torch.no_grad()
def _packed(weight: Tensor, bias: Tensor | None, weights: Weights) -> nn.Module:
    small = weights == "float16" or weight.numel() < SMALL
    return (Float16Linear if small else Int8Linear)(weight, bias)
