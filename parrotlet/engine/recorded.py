"""Decoding passes of a few fixed shapes, each recorded once and played again: CUDA graphs.

On a GPU a decoding step of a small model is mostly the launching of kernels; a graph launches all
of them at once. Its shapes are fixed, so rows are filled up to a power of two with rows of a spare
slot that nobody reads, and attention reads places up to a multiple of READ. Elsewhere (a CPU has
nothing to record) the same passes are computed anew each time, which is how tests try them.
A shape is recorded when it was used some times: recording costs several passes. The recording
itself has not met a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from parrotlet.engine.lean import Lean
from parrotlet.model.cache import KVCache, SlotContext

READ = 256  # places
USES = 16  # of a shape before it is recorded
WARM_UP = 2  # passes before a recording, so that libraries have made what they keep


@dataclass
class Recording:
    """A pass of fixed shapes, which reads what is copied into `given`."""

    given: Int[Tensor, "3 B"]  # ids, slots, starts
    play: Callable[[], Float[Tensor, "B 1 D"]]
    uses: int = 0


class Recorded:
    """Passes of one new token for each of some slots; `spare` is a slot that nobody reads."""

    def __init__(self, lean: Lean, cache: KVCache, spare: int) -> None:
        self._lean, self._cache, self._spare = lean, cache, spare
        self._recordings: dict[tuple[int, int], Recording] = {}
        self._on_gpu = lean.device.type == "cuda"
        if self._on_gpu:
            with torch.cuda.device(lean.device):
                self._pool, self._aside = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def feed(
        self, ids: Sequence[int], slots: Sequence[int], starts: Sequence[int]
    ) -> Float[Tensor, "B 1 D"]:
        """Hidden states after feeding each slot an id from its start."""
        rows = 1 << (len(ids) - 1).bit_length()
        read = min(self._cache.length, -(-(max(starts) + 1) // READ) * READ)
        if (rows, read) not in self._recordings:
            self._recordings[rows, read] = self._plain(rows, read)
        recording = self._recordings[rows, read]
        recording.uses += 1
        if recording.uses == USES and self._on_gpu:
            recording.play = self._record(recording.play)
        rest = rows - len(ids)
        given = [[*ids, *[0] * rest], [*slots, *[self._spare] * rest], [*starts, *[0] * rest]]
        recording.given.copy_(torch.tensor(given))
        return recording.play()[: len(ids)].clone()  # the next pass writes where this one did

    def _plain(self, rows: int, read: int) -> Recording:
        """The pass, computed anew at each use."""
        given = torch.zeros(3, rows, dtype=torch.long, device=self._lean.device)
        given[1] = self._spare

        def compute() -> Float[Tensor, "B 1 D"]:
            ids, slots, starts = given
            context = SlotContext(self._cache, slots, starts, ids[:, None], read)
            return self._lean.hidden(ids[:, None], context)

        return Recording(given, compute)

    def _record(
        self, compute: Callable[[], Float[Tensor, "B 1 D"]]
    ) -> Callable[[], Float[Tensor, "B 1 D"]]:
        """The pass as a graph; what it made stays where it is until it is played again."""
        device = self._lean.device
        with torch.cuda.device(device):
            self._aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._aside):
                for _ in range(WARM_UP):
                    compute()
            torch.cuda.current_stream().wait_stream(self._aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._aside):
                made = compute()

        def play() -> Float[Tensor, "B 1 D"]:
            with torch.cuda.device(device):
                graph.replay()
            return made

        return play
