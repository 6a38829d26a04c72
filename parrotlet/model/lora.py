"""LoRA: a large matrix W stays as it is, and a small product B A is learned beside it.

Used is W + (alpha / rank) B A, with A of `rank` rows and B of as many columns (Hu et al. 2021,
arXiv 2106.09685). A begins random and B at zero, so that nothing has changed before the first
step. Every matrix of the blocks gets one; everything else is frozen, but for the rows of tokens
that the model has not met yet.

A checkpoint's model holds the merged matrices under their plain names, so that whatever uses it
knows nothing of LoRA; what resuming needs is kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from parrotlet.model.layers import Linear
from parrotlet.model.model import Model


class LowRank(nn.Module):
    """W -> W + scale B A."""

    def __init__(
        self, rows: int, columns: int, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.scale = alpha / rank
        first = torch.randn(rank, columns, generator=generator) / columns**0.5
        self.down = nn.Parameter(first)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Float[Tensor, "R S"]) -> Float[Tensor, "R S"]:
        return weight + self.scale * (self.up @ self.down)


def add_lora(
    model: Model, *, rank: int, alpha: float, seed: int, new_ids: int | None = None
) -> None:
    """Freeze the model and put a learnable product beside every matrix of its blocks.

    `new_ids`: from this id on, the rows of embedding and head are learned too.
    """
    device = next(model.parameters()).device
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, Linear) and name.startswith("blocks.")
    ]
    for module in found:
        rows, columns = module.weight.shape
        product = LowRank(rows, columns, rank, alpha, generator).to(device)
        parametrize.register_parametrization(module, "weight", product)
    if new_ids is None:
        return
    for name, module in model.named_modules():  # a tied head is none
        if name in ("embed", "head") or name.endswith(".value_embed"):
            weight = cast(Any, module).weight
            weight.requires_grad_(True).register_hook(_rows_from(new_ids))


def _rows_from(first: int) -> Callable[[Tensor], Tensor]:
    """A gradient with zeros in the rows before `first`, to which AdamW then does nothing."""

    def keep(gradient: Tensor) -> Tensor:
        return torch.cat((torch.zeros_like(gradient[:first]), gradient[first:]))

    return keep


def merged_weights(model: Model) -> dict[str, Tensor]:
    """Every weight by its plain name, products added in; of a model without LoRA its own."""
    plain = {
        name: value.detach()
        for name, value in model.named_parameters()
        if ".parametrizations." not in name
    }
    with torch.no_grad():
        merged = {
            f"{name}.weight": module.weight.detach().clone()
            for name, module in model.named_modules()
            if isinstance(module, Linear) and parametrize.is_parametrized(module, "weight")
        }
    return plain | merged


def lora_weights(model: Model) -> dict[str, Tensor]:
    """What resuming needs besides the plain weights: products, and matrices before them."""
    return {
        name: value.detach()
        for name, value in model.named_parameters()
        if ".parametrizations." in name
    }
