"""Maps: a model's matrices as the engine multiplies with them, in fewer bytes where that is asked.

Decoding waits for memory, not for sums. Without packing, weights are read as the model has them.

float16: two bytes a weight, multiplied with float32 activations by FBGEMM (Khudia et al. 2021),
which PyTorch has on x86. Its 11 bits are closer to the trained weights than bfloat16's 8.

int8: one byte a weight, with a scale for each output; a row of activations is rounded to 8 bits
too, with a scale of its own (Dettmers et al. 2022, "LLM.int8()", without its outliers), and FBGEMM
multiplies. Sums of integers are exact, so a row's result is the same in every batch. Matrices of
fewer than SMALL weights are float16: what reading them faster saves, preparing rows would cost.

Not here: other devices than the CPU, and quantised keys and values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from parrotlet.core.errors import UsageError

Weights = Literal["float16", "int8"]
Map = Callable[[Tensor], Tensor]  # x [..., inputs] -> [..., outputs]
SMALL = 2**18
LARGE = 2**19  # weights of a matrix
TINY = 1e-30  # a row of zeros has no scale
LEVELS = 127  # of 8 bits, on either side of 0


class PlainMap:
    """Several matrices on one input, their outputs side by side; no copy of weights is made."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> None:
        self._parts = list(zip(weights, biases, strict=True))

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        if len(self._parts) == 1:
            return _multiply(x, *self._parts[0])
        return torch.cat([_multiply(x, *part) for part in self._parts], -1)


def _multiply(
    x: Float[Tensor, "*N I"], weight: Float[Tensor, "O I"], bias: Tensor | None
) -> Float[Tensor, "*N O"]:
    """x W^T (+ b). BLAS multiplies one float32 row in one thread, which cannot use all that memory
    gives; so every thread gets its part of the matrix.
    """
    threads, width = torch.get_num_threads(), x.shape[-1]
    alone = x.numel() == width and threads > 1 and weight.numel() >= LARGE
    if not alone or weight.dtype != torch.float32 or weight.device.type != "cpu":
        return F.linear(x, weight, bias)
    size = len(weight) // threads * threads
    parts = weight[:size].view(threads, -1, width).transpose(1, 2)
    found = torch.bmm(x.view(1, 1, -1).expand(threads, 1, -1), parts).view(-1)
    if size < len(weight):
        found = torch.cat((found, weight[size:] @ x.view(-1)))
    return (found if bias is None else found.add_(bias)).view(*x.shape[:-1], -1)


class Float16Map:
    """x W^T (+ b) for float32 x."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed: Any = torch.ops.quantized.linear_prepack_fp16(weight, bias)
        self._multiply = torch.ops.quantized.linear_dynamic_fp16.default

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return cast(Tensor, self._multiply(x, self._packed))


class Int8Map:
    """x W^T (+ b) for float32 x, by integers."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scales = (weight.abs().amax(1).clamp_(min=TINY) / LEVELS).double()
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():  # tensors of integers with scales are to leave PyTorch
            warnings.simplefilter("ignore", UserWarning)
            whole = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed: Any = torch.ops.quantized.linear_prepack(whole, None)
        self._multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default
        self._bias = bias

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        # FBGEMM has one scale for all of x, so rows are brought to a common size first
        sizes = torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True).clamp_(min=TINY)
        found = cast(Tensor, self._multiply(x / sizes, 1 / LEVELS, LEVELS + 1, self._packed))
        return found.mul_(sizes) if self._bias is None else torch.addcmul(self._bias, found, sizes)


def can_pack(weights: Weights) -> bool:
    """Whether this processor and this PyTorch have fast kernels for it."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    if weights == "float16":
        return True
    # without these instructions FBGEMM's sums are not exact
    return hasattr(torch, "quantize_per_channel") and bool(
        torch.cpu.get_capabilities().get("avx512_vnni")
    )


def check_packing(weights: Weights, device: torch.device) -> None:
    """UsageError where the device or the processor has no kernels for it."""
    if device.type != "cpu" or not can_pack(weights):
        raise UsageError(
            f"quantize {weights} needs a CPU with the instructions for it, which this {device.type}"
            " has not; leave it out"
        )


@torch.no_grad()
def make_map(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    dtype: torch.dtype,
    quantize: Weights | None,
) -> Map:
    """One map of several matrices with as many inputs; `dtype` is that of the activations."""
    if quantize is None:
        cast_biases = [None if bias is None else bias.detach().to(dtype) for bias in biases]
        return PlainMap([weight.detach().to(dtype) for weight in weights], cast_biases)
    weight = torch.cat([each.detach().float() for each in weights])
    given = [bias.detach().float() for bias in biases if bias is not None]
    bias = torch.cat(given) if given else None
    if quantize == "float16" or weight.numel() < SMALL:
        return Float16Map(weight, bias)
    return Int8Map(weight, bias)
