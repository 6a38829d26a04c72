"""Tally: means of what an objective or a stream sees on the way, over a step and over all ranks.

Sums stay on their device until the step is over; whoever asks for the means empties the tally.
Every rank must add under the same names, if need be nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from parrotlet.core.runtime import Runtime
from parrotlet.train.parallel import sum_over_ranks


class Tally:
    """Sums and counts by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}

    def add(self, name: str, values: Tensor, count: float | None = None) -> None:
        """Add `values`; their sum will be divided by `count`, left out: by their number."""
        total = values.detach().float().sum()
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0.0) + (
            values.numel() if count is None else count
        )

    def clear(self) -> None:
        """Forget everything."""
        self._sums, self._counts = {}, {}

    def means(self, runtime: Runtime) -> dict[str, float]:
        """The mean under each name over all ranks; 0 where nothing was counted. Empties it."""
        if not self._sums:
            return {}
        names = sorted(self._sums)
        sums = torch.stack([self._sums[name].double() for name in names]).to(runtime.device)
        counts = torch.tensor([self._counts[name] for name in names], dtype=torch.float64)
        table = sum_over_ranks(torch.stack([sums, counts.to(runtime.device)]), runtime)
        self.clear()
        return {
            name: total / max(1.0, count)
            for name, total, count in zip(names, *table.tolist(), strict=True)
        }
