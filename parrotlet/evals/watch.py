"""Whether a policy has collapsed: by its last rounds of reinforcement learning, and its first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from parrotlet.core.errors import TrainingError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS

NOTHING, ENDED = 0.02, 0.1  # rewards and shares of replies below which nothing is left to learn

FIRST = "fine-tune on some right answers first"


class Watch:
    """Ends a run whose policy has collapsed, by TrainingError; what was saved before stays."""

    def __init__(self, directory: Path, patience: int) -> None:
        self._directory = directory
        self._patience = patience
        self._seen: list[Mapping[str, float]] | None = None

    def __call__(self, means: Mapping[str, float]) -> None:
        """Take in one step; a run that goes on reads those before from its metrics."""
        if self._seen is None:
            lines = JsonLines(self._directory / METRICS)
            self._seen = [record for record in lines if "reward" in record]
        if "reward" not in means:
            return
        self._seen.append(means)
        problem = collapse(self._seen, self._patience)
        if problem:
            solved = any(each["reward"] > NOTHING for each in self._seen[: self._patience])
            what = "the policy has collapsed" if solved else "nothing is learned"
            advice = "lower the learning rates, or set --kl" if solved else FIRST
            raise TrainingError(
                f"{what} after {len(self._seen)} rounds: {problem}; checkpoints are in "
                f"{self._directory}: {advice}"
            )


def collapse(seen: Sequence[Mapping[str, float]], patience: int) -> str | None:
    """What is wrong with the last `patience` rounds, held against the first; None for nothing."""
    if len(seen) < 2 * patience:
        return None

    def mean(name: str, rounds: Sequence[Mapping[str, float]]) -> float:
        return sum(each[name] for each in rounds) / len(rounds)

    first, last = seen[:patience], seen[-patience:]
    before, now = mean("reward", first), mean("reward", last)
    if before > NOTHING and now < before / 2:
        return f"rewards have fallen from {before:.3f} to {now:.3f}"
    if mean("ended", last) < ENDED < mean("ended", first):
        return f"only {mean('ended', last):.0%} of the replies end by themselves"
    if mean("flat_groups", last) == 1 and now < NOTHING:
        return "all replies to a question are the same, and wrong"
    return None
