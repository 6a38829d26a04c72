"""Streams: the endless, exactly repeatable sequence of Steps that a stage trains on.

Row i of a run is a pure function of (seed, epoch, i), so a loader's whole state is one integer:
the number of Steps consumed. Any number of ranks reads the same global batch.

    run row     0 1 2 | 3 4 5 | 6 ...        rows_per_step = 3: a Step is the next three
    epoch       0 0 0   0 1 1   1 ...        4 rows in an epoch: a Step may reach over its end
    corpus row  2 0 3   1 3 0   2 ...        a keyed permutation of each epoch's rows

Not here: streams whose rows depend on the weights (reinforcement learning), and choosing sizes.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from parrotlet.core.errors import DataError, UsageError
from parrotlet.data.batch import IGNORE, Batch, Step
from parrotlet.data.permutation import derive_key, permute_many
from parrotlet.data.tokens import TokenArray

Item = TypeVar("Item")


class Stream(Protocol):
    """`stream(position)` continues after `position` Steps have been consumed."""

    def __call__(self, position: int) -> Iterator[Step]:
        """An endless iterator of this rank's Steps, from `position` on."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Shared(ABC):
    """Rows that ranks share, Step by Step; together they read all of them."""

    rows_per_step: int  # of all ranks together
    micro_rows: int  # at most so many rows in one Batch
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        """UsageError where the global batch cannot be shared out evenly."""
        assert 0 <= self.rank < self.world_size and self.rows_per_step > 0
        if self.micro_rows < 1:
            raise UsageError(
                f"a microbatch of {self.micro_rows} rows cannot be read: use 1 or more"
            )
        if self.rows_per_step % self.world_size:
            nearest = max(1, round(self.rows_per_step / self.world_size)) * self.world_size
            raise UsageError(
                f"a step of {self.rows_per_step} rows cannot be shared by {self.world_size} ranks: "
                f"{nearest} rows is the nearest that can"
            )

    def __call__(self, position: int) -> Iterator[Step]:
        """This rank's Steps from `position` on, without end."""
        rows = self.rows_per_step // self.world_size
        while True:
            first = position * self.rows_per_step + self.rank * rows
            yield self._step(range(first, first + rows))
            position += 1

    @abstractmethod
    def _step(self, rows: range) -> Step:
        """The rows of the run with these numbers."""

    def _cut(self, count: int) -> list[slice]:
        """So many rows in microbatches."""
        return [slice(k, k + self.micro_rows) for k in range(0, count, self.micro_rows)]


@dataclass(frozen=True, kw_only=True)
class RowStream(_Shared):
    """Rows cut out of one long sequence of tokens: pretraining.

    The sequence is closed to a ring. Each epoch is cut into rows from its own random phase on, so
    that row borders fall elsewhere in every epoch, and the len(tokens) % context tokens that fill
    no row are others each time. A token is an input at most once in an epoch.
    """

    tokens: TokenArray
    context: int  # T: tokens in a row

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.tokens) < self.context + 1:
            raise DataError(
                f"the training text has {len(self.tokens)} tokens, fewer than one row of "
                f"{self.context} and the token after it: give more text or set a context of at "
                f"most {max(len(self.tokens) - 1, 0)}"
            )

    @property
    def rows_per_epoch(self) -> int:
        """Rows of an epoch; what is left over fills no row."""
        return len(self.tokens) // self.context

    def _step(self, rows: range) -> Step:
        block = self._read(rows)
        return [_plain_batch(block[part]) for part in self._cut(len(block))]

    def _read(self, rows: range) -> NDArray[np.int64]:
        """Rows of the run by number: (len(rows), context + 1) ids."""
        block = np.empty((len(rows), self.context + 1), dtype=np.int64)
        filled = 0
        for epoch, order in _epochs(rows, self.rows_per_epoch, self.seed):
            phase = derive_key(self.seed, "phase", epoch) % len(self.tokens)
            starts = (phase + order * self.context) % len(self.tokens)
            for start in starts.tolist():
                self.tokens.read_ring(block[filled], start)
                filled += 1
        return block


class Rows(Protocol):
    """What PackedStream reads: a fixed number of rows, any of which make a Batch."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The rows of these numbers as one Batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class PackedStream(_Shared):
    """Rows packed beforehand, in a new order each epoch: supervised fine-tuning, pairs."""

    rows: Rows

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.rows):
            raise DataError("there is no packed row to train on: give more conversations")

    def _step(self, rows: range) -> Step:
        parts = _epochs(rows, len(self.rows), self.seed)
        order = np.concatenate([order for _, order in parts])
        return [self.rows.batch(order[part]) for part in self._cut(len(order))]


def evaluation_batches(tokens: TokenArray, context: int, micro_rows: int) -> Iterator[Batch]:
    """The whole of `tokens` once, in order: every token but the first is a target exactly once.

    The last row is filled up with inputs of id 0 that nothing is learned from.
    """
    targets_left = len(tokens) - 1
    starts = range(0, targets_left, context)
    for first in range(0, len(starts), micro_rows):
        some = starts[first : first + micro_rows]
        block = np.full((len(some), context + 1), IGNORE, dtype=np.int64)
        for row, start in zip(block, some, strict=True):
            tokens.read_into(row[: len(tokens) - start], start)
        inputs, targets = block[:, :-1], block[:, 1:]
        yield Batch(
            tokens=torch.from_numpy(np.where(targets == IGNORE, 0, inputs)),
            targets=torch.from_numpy(np.ascontiguousarray(targets)),
            count=int((targets != IGNORE).sum()),
        )


def prefetch(iterator: Iterator[Item], depth: int = 2) -> Generator[Item, None, None]:
    """The same items, made up to `depth` ahead by one thread; for static streams only.

    What the iterator raises is raised here, in its place. Closing this generator stops the thread
    and closes the iterator.
    """
    ready: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    worker = threading.Thread(
        target=_produce, args=(iterator, ready, stopped), name="prefetch", daemon=True
    )
    worker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stopped.set()
        while not ready.empty():  # a put that waits for room gets it, sees `stopped` and ends
            ready.get_nowait()
        worker.join()


def _produce(
    iterator: Iterator[Item],
    ready: queue.Queue[tuple[Item] | BaseException | None],
    stopped: threading.Event,
) -> None:
    """The thread of prefetch: items in 1-tuples, then an exception or None for the end."""
    end: BaseException | None = None
    try:
        for item in iterator:
            ready.put((item,))
            if stopped.is_set():
                break
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    except BaseException as error:  # handed over whole: the consumer raises it
        end = error
    if not stopped.is_set():
        ready.put(end)


def _epochs(rows: range, rows_per_epoch: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(epoch, where its order sends them) for the rows of a run, cut where an epoch ends."""
    first = rows.start
    while first < rows.stop:
        epoch, inside = divmod(first, rows_per_epoch)
        last = min(rows.stop, (epoch + 1) * rows_per_epoch)
        indices = np.arange(inside, inside + last - first, dtype=np.int64)
        yield epoch, permute_many(indices, rows_per_epoch, derive_key(seed, "order", epoch))
        first = last


def _plain_batch(block: NDArray[np.int64]) -> Batch:
    """A Batch of rows of context + 1 ids: the targets are the ids one to the right."""
    return Batch(
        tokens=torch.from_numpy(np.ascontiguousarray(block[:, :-1])),
        targets=torch.from_numpy(np.ascontiguousarray(block[:, 1:])),
        count=block.shape[0] * (block.shape[1] - 1),
    )
