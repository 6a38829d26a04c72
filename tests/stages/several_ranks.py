"""Run by test_ranks under torchrun: stages in turn in each process, and one rank's misfortune.

several_ranks.py RUNS STAGES [MISFORTUNE STEP]: STAGES are "base", "sft" or "base,sft". At the step
the last rank fails (fail), gets SIGTERM (term) or is killed (kill); or the main rank finds its disk
full (full).

Learning is gentle: sums over ranks round otherwise, and rates that are high, or an Adam without
its epsilon, turn the last bit into the fourth digit within six steps.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from parrotlet.core.errors import ParrotletError, RunError, TrainingError
from parrotlet.optim.config import OptimizerConfig
from parrotlet.recipes import RECIPES
from parrotlet.stages.config import RunConfig
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.sft import sft
from parrotlet.train import checkpoint, loop
from parrotlet.train.drive import Progress

SMOKE = RECIPES["smoke"]
GENTLE = OptimizerConfig(
    optimizer="adamw", matrix_lr=0.003, embedding_lr=0.003, scalar_lr=0.003, eps=1e-4,
    share_forms=True,
)  # fmt: skip
RANK, RANKS = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


class Display:
    """Says nothing."""

    def say(self, text: str) -> None:
        pass

    def show(self, progress: Progress) -> None:
        pass


def befall(misfortune: str, step: int) -> None:
    """Prepare what happens at a step."""
    count = loop._count

    def counted(batches: loop.Step, runtime: loop.Runtime) -> int:
        nonlocal step
        step -= 1
        if step == 0 and misfortune == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        if step == 0 and misfortune == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 0 and misfortune == "fail":
            raise TrainingError("the last rank failed")
        return count(batches, runtime)

    def full(*arguments: object, **more: object) -> Path:
        raise RunError("no space left")

    if misfortune == "full" and RANK == 0:
        checkpoint.save = full  # type: ignore[assignment]
    if misfortune != "full" and RANK == RANKS - 1:
        loop._count = counted


def main(runs: Path, stages: str, misfortune: str = "", step: str = "0") -> int:
    """Run the stages as the command line would; its status."""
    befall(misfortune, int(step))
    run = RunConfig(runs=runs, name="base", device="cpu", dtype="float32")
    try:
        if "base" in stages:
            pretrain(replace(SMOKE.pretrain, run=run, optim=GENTLE), Display())
        if "sft" in stages:
            talking = replace(SMOKE.sft, start=runs / "base", optim=GENTLE)
            sft(replace(talking, run=replace(run, name="sft")), Display())
    except ParrotletError as error:
        print(f"rank {RANK}: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
