"""Optimizers: every parameter with its optimizer by role, and one state dict by parameter name.

PyTorch's own import its compiler at their first call, to tell it to leave them alone; that takes
longer than PyTorch itself. Nothing here is compiled, so they are kept from it (a PyTorch built for
CUDA has it imported before, by the attention of segments).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from parrotlet.core.errors import CheckpointError
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.muon import Muon
from parrotlet.optim.roles import by_role, is_table
from parrotlet.optim.schedule import Rates
from parrotlet.optim.shared import SharedAdamW
from parrotlet.text.forms import Forms

for _name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    _plain: Any = inspect.unwrap(getattr(torch.optim.Optimizer, _name))
    setattr(_plain, "__dynamo_disable", _plain)  # what torch._compile looks for before it imports
PLAIN_STEP: Any = inspect.unwrap(torch.optim.AdamW.step)


class AdamW(torch.optim.AdamW):
    """torch.optim.AdamW, its step without what surrounds it for the compiler."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        return PLAIN_STEP(self, closure)


class Optimizers:
    """Several torch optimizers that act as one."""

    def __init__(self, parts: list[torch.optim.Optimizer], names: Mapping[Tensor, str]) -> None:
        self.parts = parts
        self.names = names
        self.base_lrs = [[group["lr"] for group in part.param_groups] for part in parts]

    def set_rates(self, rates: Rates) -> None:
        """Set this step's learning rates and momentum."""
        for part, base in zip(self.parts, self.base_lrs, strict=True):
            for group, lr in zip(part.param_groups, base, strict=True):
                group["lr"] = lr * rates.lr
                if "momentum" in group:
                    group["momentum"] = rates.momentum

    def step(self) -> None:
        """One update of every parameter."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, Tensor]:
        """All state as {parameter name/state name: tensor}; what a checkpoint stores."""
        return {
            f"{self.names[parameter]}/{key}": value
            for part in self.parts
            for parameter, state in part.state.items()
            for key, value in state.items()
        }

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether they are the state of these optimizers, for these parameters."""
        wanted = {
            (f"{self.names[parameter]}/{key}", shape)
            for part in self.parts
            for group in part.param_groups
            for parameter in group["params"]
            for key, shape in _kept(part, parameter)
        }
        counts = "/step"  # of AdamW's updates
        return wanted == {(k, each.shape) for k, each in tensors.items() if not k.endswith(counts)}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what state_tensors gave; CheckpointError where a name does not belong."""
        owners = {
            self.names[parameter]: (part, parameter)
            for part in self.parts
            for group in part.param_groups
            for parameter in group["params"]
        }
        for part in self.parts:
            part.state.clear()
        for full_name, value in tensors.items():
            name, _, key = full_name.rpartition("/")
            if name not in owners:
                raise CheckpointError(
                    f"the optimizer state holds {full_name!r}, which this model does not have"
                )
            part, parameter = owners[name]
            # fused AdamW wants its step count on the parameter's device too
            part.state[parameter][key] = value.to(parameter.device, copy=True)


def _kept(part: torch.optim.Optimizer, parameter: Tensor) -> Iterable[tuple[str, torch.Size]]:
    """What an optimizer remembers of a parameter, but for counts: names and shapes."""
    if isinstance(part, Muon):
        return [("momentum", parameter.shape)]
    shape = part.shape(parameter) if isinstance(part, SharedAdamW) else parameter.shape
    return [("exp_avg", shape), ("exp_avg_sq", shape)]


def build_optimizers(
    named: Iterable[tuple[str, nn.Parameter]],
    config: OptimizerConfig,
    *,
    fast_bfloat16: bool,
    ranks: int = 1,
    forms: Forms | None = None,
) -> Optimizers:
    """Muon (or AdamW) for matrices, AdamW for embeddings, head and scalars.

    Muon's polynomial runs in bfloat16 where that is fast, else in float32. forms: of the
    vocabulary's words; where they are given, the forms of a word learn together.
    """
    named = list(named)
    roles = by_role(named)
    parts: list[torch.optim.Optimizer] = []
    lrs = {role: getattr(config, f"{role}_lr") for role in roles}
    decay = config.weight_decay
    assert decay is not None and None not in lrs.values(), "rates are settled before"
    matrices = [parameter for _, parameter in roles["matrix"]]
    if config.optimizer == "muon" and matrices:
        parts.append(
            Muon(
                matrices,
                lr=lrs["matrix"],
                momentum=config.momentum,
                weight_decay=decay,
                dtype=torch.bfloat16 if fast_bfloat16 else torch.float32,
                ranks=ranks,
            )
        )
    betas = config.beta1, config.beta2
    shared = [] if forms is None else [name for name, _ in named if is_table(name)]
    groups, tables = (
        [
            {
                "params": [parameter for name, parameter in members if (name in shared) == apart],
                "lr": lrs[role],
                "weight_decay": decay if role == "matrix" else 0.0,
            }
            for role, members in roles.items()
            if not (role == "matrix" and config.optimizer == "muon")
            and any((name in shared) == apart for name, _ in members)
        ]
        for apart in (False, True)
    )
    if groups:
        parts.append(AdamW(groups, betas=betas, eps=config.eps, fused=True))
    if tables and forms is not None:
        parts.append(SharedAdamW(tables, forms, betas=betas, eps=config.eps))
    return Optimizers(parts, {parameter: name for name, parameter in named})
