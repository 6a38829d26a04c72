"""What all stages share: a plan with its steps, a model, and the driver.

A stage itself is a stream and an objective; pretrain.py and sft.py say which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from parrotlet.core.errors import UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, SAMPLES
from parrotlet.core.runtime import Runtime, has_fast_bfloat16
from parrotlet.data.batch import Batch
from parrotlet.data.packing import PackedRows
from parrotlet.data.pairs import PairRows
from parrotlet.data.streams import PackedStream, Stream, prefetch
from parrotlet.evals import timing
from parrotlet.evals.show import show_batch
from parrotlet.model.build import build_model, compile_hidden
from parrotlet.model.lora import add_lora
from parrotlet.model.model import Model
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import make_schedule
from parrotlet.optim.shared import begin_alike
from parrotlet.stages.config import LoraConfig, RunConfig
from parrotlet.stages.pace import pace_of
from parrotlet.stages.plan import Plan, missing_rates, remarks, with_batch
from parrotlet.stages.record import settle, settled
from parrotlet.stages.rules import horizon
from parrotlet.text.forms import forms_of
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.checkpoint import Checkpoint
from parrotlet.train.drive import Hooks, Progress, Rhythm, StopFlag, drive, is_owed
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import Objective
from parrotlet.train.parallel import on_main, wait_for_all, wrap
from parrotlet.train.tally import Tally


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
    stream: Callable[[Plan, Model], Stream]  # of what it learns from
    objective: Objective
    plan: Plan
    optim: OptimizerConfig
    evaluate: Callable[[Model, StopFlag], Mapping[str, float]]
    sample: Callable[[Model], Mapping[str, str]]
    start: Checkpoint | None = None  # the weights to begin from; None: fresh ones
    lora: LoraConfig | None = None  # learn low-rank products instead of the weights
    tally: Tally = field(default_factory=Tally)  # what stream and objective see, for the metrics
    whole: int = 1  # steps of a round, between which it cannot be stopped
    before: bool = False  # evaluate before the first step too, and keep that in recipe.json
    watch: Callable[[Mapping[str, float]], object] = dict  # told the tally's means; may end the run


def static(stream: Callable[[Plan], Stream]) -> Callable[[Plan, Model], Stream]:
    """A stream that no model has a part in: its steps are made ahead, by a thread."""
    return lambda plan, model: lambda position: prefetch(stream(plan)(position))


def packed(
    rows: PackedRows | PairRows, run: RunConfig, runtime: Runtime
) -> Callable[[Plan, Model], Stream]:
    """This rank's share of packed rows, in the order that the run's seed gives."""
    return static(
        lambda plan: PackedStream(
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
    """Train a stage from its newest checkpoint, if there is one, to its end: True; False when a
    signal asked to stop (everything is saved then).
    """
    last = checkpoints.newest(directory, set_aside=True) if runtime.is_main else None
    wait_for_all(runtime)
    last = last or checkpoints.newest(directory)
    stage = _settled(stage, run, runtime, directory, display)
    plan = stage.plan
    pace = pace_of(plan, stage.optim, stage.whole, directory, runtime, display.say)
    assert plan.steps is not None
    metrics = JsonLines(directory / METRICS)
    if last is not None and last.step >= plan.steps and not is_owed(metrics):
        display.say(f"{directory} is done: {last.step} of {plan.steps} steps")
        return True
    state = new_state(stage, run, runtime)
    if run.show_batch and runtime.is_main:
        display.say(show_batch(next(stage.stream(plan, state.model)(0))[0], stage.tokenizer))
    if last is not None:
        checkpoints.restore(state, last)
        display.say(f"going on from step {state.step} of {plan.steps}")
    elif stage.optim.warm_start:
        _warm(state, stage.start)

    def measure() -> Mapping[str, float]:
        means = stage.tally.means(runtime)
        stage.watch(means)
        return means

    hooks = Hooks(
        save=lambda state: on_main(
            lambda: checkpoints.save(directory, state, stage.tokenizer, stage=stage.name), runtime
        ),
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
        stage.stream(plan, state.model),
        rhythm=Rhythm(
            course=pace.at,
            evaluate_every=plan.evaluate_every,
            whole=stage.whole,
            save_every=plan.budget.save_every,
            save_seconds=plan.budget.save_seconds,
            sample_seconds=plan.budget.sample_seconds,
        ),
        schedule=pace.rates,
        clip=stage.optim.clip,
        hooks=hooks,
        metrics=metrics,
        samples=JsonLines(directory / SAMPLES),
    )


def _keep_before(stage: Stage, model: Model, directory: Path, display: Display) -> None:
    """Say and keep what the model can do before the first step."""
    found = {name: round(value, 4) for name, value in stage.evaluate(model, StopFlag()).items()}
    display.say("before: " + ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in found.items()))
    settle(directory, {"before": found})


def new_state(stage: Stage, run: RunConfig, runtime: Runtime) -> TrainState:
    """A model at step 0, its weights fresh or from the checkpoint the stage starts from."""
    seed = run.seed
    forms = None
    if stage.optim.share_forms and not (stage.lora and stage.lora.lora_rank):  # its tables are kept
        forms = forms_of(stage.tokenizer).with_rows(stage.plan.model.vocab_size)
    if stage.start is None:
        model = build_model(stage.plan.model, runtime.compute_dtype)
        generator = torch.Generator().manual_seed(seed)
        model.init_weights(generator)
        if forms is not None:
            begin_alike(model.named_parameters(), forms, generator)
        model.to(runtime.device)
    else:
        model = checkpoints.load_model(stage.start, runtime)
    if stage.lora is not None and stage.lora.lora_rank:
        unmet = stage.start is not None and stage.start.stage in ("base", "import")
        add_lora(
            model,
            rank=stage.lora.lora_rank,
            alpha=stage.lora.lora_alpha,
            seed=seed,
            new_ids=stage.tokenizer.first_special if unmet else None,
        )
    model.set_dropout(stage.optim.dropout)
    if run.compile:
        compile_hidden(model)
    return TrainState(
        model=model,
        learner=wrap(Learner(model, stage.objective), runtime),
        optimizers=build_optimizers(
            model.named_parameters(),
            stage.optim,
            fast_bfloat16=has_fast_bfloat16(runtime.device),
            ranks=runtime.world_size,
            forms=forms,
        ),
        runtime=runtime,
        seed=seed,
    )


def _warm(state: TrainState, start: Checkpoint | None) -> None:
    """Give fresh optimizers the state of the run that is started from."""
    kept = {} if start is None else checkpoints.optimizer_state(start.path)
    if not kept:
        what = "there is no --start" if start is None else f"{start.path} has no optimizer's state"
        raise UsageError(f"--warm-start: {what}; leave it out")
    if not state.optimizers.fits(kept):
        raise UsageError(
            "--warm-start: the run that is started from was trained by another optimizer, with "
            "another --share-forms or another --lora-rank; leave it out"
        )
    state.optimizers.load_state_tensors(kept)


def _settled(
    stage: Stage, run: RunConfig, runtime: Runtime, directory: Path, display: Display
) -> Stage:
    """The stage with all that is measured or follows from it, which recipe.json keeps from then on:
    the size of a pass, the batch, the steps and the rates.
    """
    before = settled(directory)
    plan = replace(
        stage.plan,
        micro_tokens=before.get("micro_tokens", stage.plan.micro_tokens),
        steps=before.get("steps", stage.plan.steps),
        budget=replace(
            stage.plan.budget,
            evaluate_every=before.get("evaluate_every", stage.plan.budget.evaluate_every),
        ),
    )
    if plan.steps is None or not before:
        plan = _measured(replace(stage, plan=plan), run, runtime, display)
    assert plan.steps is not None
    plan = replace(plan, steps=-(-plan.steps // stage.whole) * stage.whole)
    if before:
        ruled: Mapping[str, Any] = before.get("rates", {})
        return replace(stage, plan=plan, optim=replace(stage.optim, **ruled))
    ruled = missing_rates(stage.optim, plan, stage.start is not None)
    facts = {
        "steps": plan.steps,
        "course": None,  # of an attempt before, if there was one
        "evaluate_every": plan.evaluate_every,
        "epoch_steps": round(plan.epoch_steps, 3),
        "rows_per_step": plan.rows_per_step,
        "micro_tokens": plan.micro_tokens,
        "rates": ruled,
        "dtype": str(runtime.compute_dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
    on_main(lambda: settle(directory, facts), runtime)
    for line in remarks(plan, ruled):
        display.say(line)
    return replace(stage, plan=plan, optim=replace(stage.optim, **ruled))


def _measured(stage: Stage, run: RunConfig, runtime: Runtime, display: Display) -> Plan:
    """The plan with the fastest passes where they are not fixed, and the steps of --minutes with
    the batch that suits so many, all timed on a model that is thrown away.
    """
    plan, budget = stage.plan, stage.plan.budget
    passes = budget.micro_tokens == "auto" or (
        budget.micro_tokens is None and runtime.device.type == "cuda"
    )
    if plan.steps is not None and not passes:
        return plan
    rates = missing_rates(stage.optim, replace(plan, steps=timing.USEFUL_STEPS), False)
    optim = replace(stage.optim, **rates)
    state = new_state(replace(stage, optim=optim), run, runtime)
    if passes or budget.batch_tokens is None:
        whole = with_batch(plan, horizon(plan.model, plan.tokens_per_epoch)) if passes else plan
        sizes = timing.pass_sizes(whole.rows_per_step // plan.world_size, plan.context)

        def batch_of(rows: int) -> Batch:
            cut = replace(whole, micro_tokens=rows * plan.context)
            return next(stage.stream(cut, state.model)(0))[0]

        learner = Learner(state.model, stage.objective)
        rows, seconds = timing.fastest_pass(
            learner, batch_of, sizes if passes else sizes[:1], runtime
        )
        if passes:
            plan = replace(plan, micro_tokens=rows * plan.context)
            display.say(f"{plan.micro_tokens:,} tokens at a time learn fastest here")
        if budget.minutes is not None:
            plan = with_batch(plan, 60 * budget.minutes / seconds * plan.world_size)
    if budget.minutes is not None:
        schedule = make_schedule(optim, 1_000_000)
        steps = stage.stream(plan, state.model)(0)
        reports = train(state, steps, schedule=schedule, clip=optim.clip)
        lap = timing.step_seconds(reports, budget.minutes, runtime)
        plan = replace(plan, steps=timing.enough_steps(budget.minutes, lap))
    torch.manual_seed(run.seed)
    return plan
