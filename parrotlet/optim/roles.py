"""Roles: what a parameter is decides how it is optimized.

Names decide: modules called `embed` or `*_embed` hold embeddings, the module called `head` is the
output head. Every other two-dimensional parameter is a matrix, the rest are scalars.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import nn

Role = Literal["matrix", "embedding", "head", "scalar"]


def role_of(name: str, parameter: nn.Parameter) -> Role:
    """The role of the parameter called `name` in its model."""
    module = name.split(".")[-2] if "." in name else ""
    if module == "embed" or module.endswith("_embed"):
        return "embedding"
    if module == "head":
        return "head"
    return "matrix" if parameter.ndim == 2 else "scalar"


def is_table(name: str) -> bool:
    """Whether the parameter called `name` has one row for every token."""
    return name.endswith(".weight") and name.split(".")[-2] in ("embed", "value_embed", "head")


Named = tuple[str, nn.Parameter]


def by_role(named: Iterable[Named]) -> dict[Role, list[Named]]:
    """Every parameter under its role, in the model's order; frozen ones are left out."""
    found: dict[Role, list[Named]] = {
        "matrix": [],
        "embedding": [],
        "head": [],
        "scalar": [],
    }
    for name, parameter in named:
        if parameter.requires_grad:
            found[role_of(name, parameter)].append((name, parameter))
    return found
