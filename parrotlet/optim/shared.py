"""AdamW for tables whose rows have something in common: the forms of one word.

A row is the sum of three: one that all forms of its word share, one that all words in its form
share (what capitals mean), and its own. Only the sums are kept, as an ordinary table: without decay
the next AdamW update of each part depends on nothing but its gradients, and the gradient of a
shared part is the sum of those of the rows it is in. So model and checkpoint know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from parrotlet.optim.roles import is_table
from parrotlet.text.forms import FORMS, Forms


class SharedAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019) without decay of the parts that rows are sums of."""

    def __init__(
        self,
        tables: Iterable[dict[str, Any]],
        forms: Forms,
        *,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        """tables: groups of parameters [V D] with their "lr"; one row for every id of `forms`."""
        super().__init__(tables, {"lr": 0.0, "betas": betas, "eps": eps})
        device = self.param_groups[0]["params"][0].device
        self.parts = forms.num_words, len(FORMS), len(forms.words)
        rows = torch.full((len(FORMS), forms.num_words), len(forms.words))  # none: a row of zeros
        rows[list(forms.forms), list(forms.words)] = torch.arange(len(forms.words))
        self.rows = rows.to(device)
        self.words = torch.tensor(forms.words, device=device)
        self.forms = torch.eye(len(FORMS), device=device)[list(forms.forms)]

    def shape(self, table: Tensor) -> torch.Size:
        """The shape of each moment of a table: words, forms and rows below each other."""
        return torch.Size((sum(self.parts), table.shape[1]))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every table that has a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, table.grad, group)

    def _update(self, table: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        gradients = self._in_parts(gradient)
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=table.device)
            state["exp_avg"] = torch.zeros_like(gradients)
            state["exp_avg_sq"] = torch.zeros_like(gradients)
        state["step"] += 1
        mean, square, (beta1, beta2) = state["exp_avg"], state["exp_avg_sq"], group["betas"]
        update = torch.zeros_like(gradients)  # by what AdamW's kernel changes zeros
        torch._fused_adamw_(
            [update], [gradients], [mean], [square], [], [state["step"]],
            lr=float(group["lr"]), beta1=beta1, beta2=beta2, eps=group["eps"],
            weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
        words, forms, own = update.split(self.parts)
        table.add_(own).add_(words.index_select(0, self.words)).addmm_(self.forms, forms)

    def _in_parts(self, gradient: Float[Tensor, "V D"]) -> Float[Tensor, "P D"]:
        """The gradients of words, of forms and of rows alone, one below the other.

        Sums in a fixed order on every device, so that ranks stay the same.
        """
        with_zeros = torch.cat((gradient, gradient.new_zeros(1, gradient.shape[1])))
        words = with_zeros.index_select(0, self.rows[0])
        for rows in self.rows[1:]:
            words.add_(with_zeros.index_select(0, rows))
        return torch.cat((words, self.forms.T @ gradient, gradient))


@torch.no_grad()
def begin_alike(
    named: Iterable[tuple[str, nn.Parameter]], forms: Forms, generator: torch.Generator
) -> None:
    """Let fresh rows of one word begin as one, and those in one form with the same added to it.

    What is added is as large as the rows are, so that no form is lost in the words.
    """
    first = {word: row for row, word in reversed(list(enumerate(forms.words)))}
    rows = [first[word] for word in forms.words]
    for name, table in named:
        if is_table(name):
            added = torch.randn(len(FORMS), table.shape[1], generator=generator) * table.std()
            table.copy_(table[rows] + added[list(forms.forms)])
