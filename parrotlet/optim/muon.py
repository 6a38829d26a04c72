"""Muon: momentum whose update is made orthogonal, for the matrices of a network.

A gradient's few large singular values drown the many small ones. Muon replaces the momentum
U S V^T by (nearly) U V^T, so that every direction moves alike. The exact product would need a
singular value decomposition; a few steps of a matrix polynomial get near enough, in bfloat16.
Source: Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).

Matrices of one shape are stacked, so that each polynomial step is one batched product. Of several
ranks each makes its share of a stack orthogonal and gets the others' shares; all keep the momenta.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

Coefficients = Sequence[tuple[float, float, float]]

# Five times the quintic of the original Muon: steep at zero, not exactly 1 at the end.
NEWTON_SCHULZ: Coefficients = ((3.4445, -4.7750, 2.0315),) * 5

LONG = 2  # times as long as wide: from there on a Gram matrix saves more than it costs

# One quintic a step, each the best for what the steps before it leave over.
# Source: Amsel et al., "The Polar Express" (arXiv 2505.16932), safety 2e-2, cushion 2.
POLAR_EXPRESS: Coefficients = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(
    stack: Float[Tensor, "N R S"], coefficients: Coefficients, dtype: torch.dtype
) -> Float[Tensor, "N R S"]:
    """Each matrix with its singular values pushed towards 1, computed in `dtype`.

    The polynomials of a long matrix are computed on its Gram matrix, which is smaller, where
    numbers are in float32: that errs by about a thousandth, bfloat16 itself by a hundredth.
    """
    x = stack.to(dtype)
    tall = x.size(-2) > x.size(-1)
    if tall:  # the Gram matrix of the short side is the smaller one
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    if dtype == torch.float32 and x.size(-1) >= LONG * x.size(-2):
        x = _product(x @ x.mT, coefficients) @ x
    else:
        for a, b, c in coefficients:
            gram = x @ x.mT
            polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


def _product(gram: Float[Tensor, "N R R"], coefficients: Coefficients) -> Float[Tensor, "N R R"]:
    """The product of all steps' polynomials of a matrix X, whose Gram matrix is G = X X^T.

    A step takes X to P X with P = a + b G + c G^2, so the next Gram matrix is P G P: X itself is
    not needed on the way. In bfloat16 the small eigenvalues of G would be lost.
    Source: Zhang, Amsel, Chen and Dao, "Gram Newton-Schulz" (2026).
    """
    polynomial = product = _polynomial(gram, *coefficients[0])
    for each in coefficients[1:]:
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram, *each)
        product = polynomial @ product
    return product


def _polynomial(
    gram: Float[Tensor, "N R R"], a: float, b: float, c: float
) -> Float[Tensor, "N R R"]:
    made = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    made.diagonal(dim1=-2, dim2=-1).add_(a)
    return made


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; weight decay is decoupled.

    The learning rate of a matrix of R rows and S columns is multiplied by sqrt(max(1, R / S)), so
    that its output changes by the same amount whatever its shape. Equal to torch.optim.Muon where
    the coefficients are NEWTON_SCHULZ and the dtype is bfloat16.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        coefficients: Coefficients = POLAR_EXPRESS,
        dtype: torch.dtype = torch.bfloat16,
        ranks: int = 1,
    ) -> None:
        """`ranks`: how many processes of the default group hold the same parameters."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.coefficients = coefficients
        self.dtype = dtype
        self.ranks = ranks

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                self._update(parameters, shape, group)

    def _update(
        self, parameters: list[nn.Parameter], shape: torch.Size, group: dict[str, Any]
    ) -> None:
        """Update all parameters of one shape together."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        weights: list[Tensor] = list(parameters)
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        looked_ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = self._orthogonal(torch.stack(looked_ahead))
        lr = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(updates.to(weights[0].dtype)), alpha=-lr)

    def _orthogonal(self, stack: Float[Tensor, "N R S"]) -> Float[Tensor, "N R S"]:
        """The stack made orthogonal, by all ranks together."""
        if self.ranks == 1:
            return orthogonalise(stack, self.coefficients, self.dtype)
        share = -(-len(stack) // self.ranks)
        mine = stack[dist.get_rank() * share :][:share]
        made = stack.new_zeros(share, *stack.shape[1:], dtype=self.dtype)
        if len(mine):
            made[: len(mine)] = orthogonalise(mine, self.coefficients, self.dtype)
        parts = [torch.empty_like(made) for _ in range(self.ranks)]
        dist.all_gather(parts, made)
        return torch.cat(parts)[: len(stack)]

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum
