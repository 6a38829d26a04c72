"""What all stages share: a plan with its steps, a model, and the driver.

A stage itself is a stream and an objective; pretrain.py and sft.py say which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from parrotlet.core.errors import UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, SAMPLES
from parrotlet.core.runtime import Runtime, has_fast_bfloat16
from parrotlet.data.packing import PackedRows
from parrotlet.data.pairs import PairRows
from parrotlet.data.streams import PackedStream, Stream, prefetch
from parrotlet.model.build import build_model
from parrotlet.model.lora import add_lora
from parrotlet.model.model import Model
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import make_schedule
from parrotlet.stages.config import BudgetConfig, LoraConfig, RunConfig
from parrotlet.stages.plan import Plan, with_steps
from parrotlet.stages.record import settle, settled
from parrotlet.stages.show import show_batch
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.checkpoint import Checkpoint
from parrotlet.train.drive import Hooks, Progress, Rhythm, StopFlag, drive, is_owed
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import Objective
from parrotlet.train.parallel import (
    any_rank,
    on_main,
    sum_over_ranks,
    wait_for_all,
    wrap,
)
from parrotlet.train.tally import Tally

LEAST_STEPS, USEFUL_STEPS = 10, 100  # of a run measured in minutes: refused below, advised
FEW_STEPS = 50  # fewer are too few for the schedule to do much: smaller batches give more
MEASURED_STEPS = 16  # at most, timed before a run of --minutes; one more goes before them
TIMING_SECONDS, TIMING_SHARE = 2.0, 0.1  # timing ends after these, whichever comes first


class Display(Protocol):
    """Where a stage says what it does."""

    def say(self, text: str) -> None:
        """One line."""
        ...

    def show(self, progress: Progress) -> None:
        """A step was done."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stream and an objective, and what surrounds them."""

    name: str
    tokenizer: Tokenizer
    stream: Callable[[Model], Stream]  # of what it learns from; static() where no model matters
    objective: Objective
    plan: Plan
    budget: BudgetConfig
    optim: OptimizerConfig
    evaluate: Callable[[Model, StopFlag], Mapping[str, float]]
    sample: Callable[[Model], Mapping[str, str]]
    start: Checkpoint | None = None  # the weights to begin from; None: fresh ones
    lora: LoraConfig | None = None  # learn low-rank products instead of the weights
    tally: Tally = field(default_factory=Tally)  # what stream and objective see, for the metrics
    whole: int = 1  # steps of a round, between which it cannot be stopped
    before: bool = False  # evaluate before the first step too, and keep that in recipe.json
    watch: Callable[[Mapping[str, float]], object] = dict  # told the tally's means; may end the run


def static(stream: Stream) -> Callable[[Model], Stream]:
    """A stream that no model has a part in: its steps are made ahead, by a thread."""
    return lambda model: lambda position: prefetch(stream(position))


def packed(
    rows: PackedRows | PairRows, plan: Plan, run: RunConfig, runtime: Runtime
) -> Callable[[Model], Stream]:
    """This rank's share of packed rows, in the order that the run's seed gives."""
    return static(
        PackedStream(
            rows=rows,
            rows_per_step=plan.rows_per_step,
            micro_rows=plan.micro_rows,
            seed=run.seed,
            rank=runtime.rank,
            world_size=runtime.world_size,
        )
    )


def run_stage(
    stage: Stage, run: RunConfig, runtime: Runtime, directory: Path, display: Display
) -> bool:
    """Train a stage to its end, from its newest checkpoint if there is one.

    True when done, False when a signal asked to stop (everything is saved then).
    """
    last = checkpoints.newest(directory, set_aside=True) if runtime.is_main else None
    wait_for_all(runtime)
    last = last or checkpoints.newest(directory)
    plan = _settled(stage, run, runtime, directory, display)
    assert plan.steps is not None
    metrics = JsonLines(directory / METRICS)
    if last is not None and last.step >= plan.steps and not is_owed(metrics):
        display.say(f"{directory} is done: {last.step} of {plan.steps} steps")
        return True
    state = new_state(stage, run.seed, runtime)
    if run.show_batch and runtime.is_main:
        display.say(show_batch(next(stage.stream(state.model)(0))[0], stage.tokenizer))
    if last is not None:
        checkpoints.restore(state, last)
        display.say(f"going on from step {state.step} of {plan.steps}")

    def save(state: TrainState) -> None:
        on_main(
            lambda: checkpoints.save(directory, state, stage.tokenizer, stage=stage.name), runtime
        )

    def measure() -> Mapping[str, float]:
        means = stage.tally.means(runtime)
        stage.watch(means)
        return means

    hooks = Hooks(
        save=save,
        evaluate=lambda state, stop: stage.evaluate(state.model, stop),
        sample=lambda state: stage.sample(state.model),
        show=display.show,
        measure=measure,
    )
    if last is None and stage.before:
        on_main(lambda: _keep_before(stage, state.model, directory, display), runtime)
    stage.tally.clear()
    return drive(
        state,
        stage.stream(state.model),
        rhythm=Rhythm(
            total_steps=plan.steps,
            evaluate_every=plan.evaluate_every,
            whole=stage.whole,
            save_every=stage.budget.save_every,
            save_seconds=stage.budget.save_seconds,
            sample_seconds=stage.budget.sample_seconds,
        ),
        schedule=make_schedule(stage.optim, plan.steps),
        clip=stage.optim.clip,
        hooks=hooks,
        metrics=metrics,
        samples=JsonLines(directory / SAMPLES),
    )


def _keep_before(stage: Stage, model: Model, directory: Path, display: Display) -> None:
    """Say and keep what the model can do before the first step."""
    found = {name: round(value, 4) for name, value in stage.evaluate(model, StopFlag()).items()}
    display.say("before: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    settle(directory, {"before": found})


def new_state(stage: Stage, seed: int, runtime: Runtime) -> TrainState:
    """A model at step 0, its weights fresh or from the checkpoint the stage starts from."""
    if stage.start is None:
        model = build_model(stage.plan.model, runtime.compute_dtype)
        model.init_weights(torch.Generator().manual_seed(seed))
        model.to(runtime.device)
    else:
        model = checkpoints.load_model(stage.start, runtime)
    if stage.lora is not None and stage.lora.lora_rank:
        add_lora(model, rank=stage.lora.lora_rank, alpha=stage.lora.lora_alpha, seed=seed)
    model.set_dropout(stage.optim.dropout)
    return TrainState(
        model=model,
        learner=wrap(Learner(model, stage.objective), runtime),
        optimizers=build_optimizers(
            model.named_parameters(),
            stage.optim,
            fast_bfloat16=has_fast_bfloat16(runtime.device),
            ranks=runtime.world_size,
        ),
        runtime=runtime,
        seed=seed,
    )


def _settled(
    stage: Stage, run: RunConfig, runtime: Runtime, directory: Path, display: Display
) -> Plan:
    """The plan with its number of steps, which recipe.json remembers once it is known."""
    steps = settled(directory).get("steps") or stage.plan.steps
    if steps is None:
        steps = _steps_for_minutes(stage, run, runtime)
        if steps < FEW_STEPS:
            display.say(
                f"only {steps} steps fit into {stage.budget.minutes:.2g} minutes; a --batch-tokens "
                f"below {stage.plan.tokens_per_step} gives more of them"
            )
    if not settled(directory):
        facts = {
            "steps": -(-steps // stage.whole) * stage.whole,
            "epoch_steps": round(stage.plan.epoch_steps, 3),
            "rows_per_step": stage.plan.rows_per_step,
            "dtype": str(runtime.compute_dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }
        on_main(lambda: settle(directory, facts), runtime)
    return with_steps(stage.plan, -(-steps // stage.whole) * stage.whole, stage.budget)


def _steps_for_minutes(stage: Stage, run: RunConfig, runtime: Runtime) -> int:
    """Time a few steps on a model that is thrown away; how many fit in the minutes asked for."""
    assert stage.budget.minutes is not None
    state = new_state(stage, run.seed, runtime)
    schedule = make_schedule(stage.optim, 1_000_000)
    steps = stage.stream(state.model)(0)
    reports = train(state, steps, schedule=schedule, clip=stage.optim.clip)
    limit = min(TIMING_SECONDS, TIMING_SHARE * 60 * stage.budget.minutes)
    laps: list[float] = []
    # the first step of all is slow, and left out unless it alone takes what may be spent
    while len(laps) <= MEASURED_STEPS and not any_rank(sum(laps) > limit, runtime):
        begin = time.perf_counter()
        float(next(reports).loss)
        laps.append(time.perf_counter() - begin)
    counted = laps[1:] or laps
    seconds = torch.tensor(sum(counted) / len(counted), device=runtime.device)
    mean = float(sum_over_ranks(seconds, runtime)) / runtime.world_size
    torch.manual_seed(run.seed)
    return enough_steps(stage.budget.minutes, mean)


def enough_steps(minutes: float, seconds: float) -> int:
    """Steps of so many `seconds` in so many minutes.

    Raises UsageError where they are too few to learn anything, saying what it would take.
    """
    steps = int(minutes * 60 / seconds)
    if steps < LEAST_STEPS:
        needed = USEFUL_STEPS * seconds / 60
        raise UsageError(
            f"{minutes:.2g} minutes are {steps} steps of this model on this machine, too few to "
            f"learn anything: {USEFUL_STEPS} steps take {needed:.2g} minutes; give more --minutes, "
            "or take a smaller model or batch"
        )
    return steps
