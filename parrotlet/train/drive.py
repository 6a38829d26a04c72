"""The one driver, of every stage: it runs the loop, and saves, evaluates, samples, logs and stops.

Ctrl-C and SIGTERM are asked about after every step and within evaluations: the driver saves and
returns. A second signal ends the process at once; the checkpoint before is whole.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from parrotlet.core.errors import ParrotletError, RunError
from parrotlet.core.log import JsonLines, get_logger
from parrotlet.data.streams import Stream
from parrotlet.optim.schedule import Course, Schedule
from parrotlet.train.loop import Report, TrainState, train
from parrotlet.train.parallel import any_rank

log = get_logger("drive")
T = TypeVar("T")
OWED = "evaluation_owed"  # in the record of a step whose evaluation a signal ended


@dataclass(frozen=True)
class Progress:
    """What a progress display needs to know after a step."""

    step: int
    total: int
    loss: float
    units_per_second: float
    seconds_left: float
    course: Course | None = None  # of its learning rates
    evaluation: Mapping[str, float] | None = None  # where this step was evaluated
    samples: Mapping[str, str] | None = None  # prompt -> continuation, where this step sampled


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the driver calls on the way; all but save may be left out of a run by doing nothing."""

    save: Callable[[TrainState], None]
    evaluate: Callable[[TrainState, StopFlag], Mapping[str, float]]
    sample: Callable[[TrainState], Mapping[str, str]]
    show: Callable[[Progress], None]
    measure: Callable[[], Mapping[str, float]] = dict  # what else a step's record says


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How often. Steps decide what is computed; seconds what is written or shown and, where a run
    is to keep its minutes, how many steps there will be."""

    course: Callable[[int], Course]  # of the run, as it is known after so many steps
    evaluate_every: int
    whole: int = 1  # it saves and stops only where so many steps are done: a round of them
    save_every: int | None = None
    save_seconds: float = 60.0
    sample_seconds: float = 30.0


class Stopped(Exception):
    """A signal came while a model was evaluated; the driver saves and returns."""


class StopFlag:
    """Set by the first SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """The items; Stopped where a signal has come before one of them."""
        for each in items:
            if self:
                raise Stopped
            yield each


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a flag; the second acts as it always did.

    Outside the main thread, where Python allows no handlers, the flag stays unset.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        flag.signal = number
        for each, handler in before.items():  # the next signal, whichever, acts as it always did
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Clock:
    """Seconds of training, without the time of evaluating, sampling and saving."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.mark = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the mark, added to the total; sets the mark."""
        now = time.perf_counter()
        lap = now - self.mark
        self.seconds += lap
        self.mark = now
        return lap

    def skip(self) -> None:
        """Leave out the time since the mark."""
        self.mark = time.perf_counter()


def drive(
    state: TrainState,
    stream: Stream,
    *,
    rhythm: Rhythm,
    schedule: Schedule,
    clip: float | None,
    hooks: Hooks,
    metrics: JsonLines,
    samples: JsonLines,
) -> bool:
    """Train from state.step to the end of its course. True when done, False when asked to stop.

    Only the main rank writes; every rank must call it.
    """
    main = state.runtime.is_main
    if main:
        metrics.cut(state.step)
        samples.cut(state.step)
    clock = Clock(sum(record.get("lap", 0.0) for record in metrics) if main else 0.0)
    saved_at = sampled_at = time.monotonic()
    with stop_signals() as stop:
        if any_rank(main and is_owed(metrics), state.runtime):
            if not _catch_up(state, hooks, metrics, stop):
                return False
            clock.skip()
        if state.step >= rhythm.course(state.step).total:
            return True
        for report in train(state, stream(state.step), schedule=schedule, clip=clip):
            course = rhythm.course(report.step)
            done = report.step >= course.total
            border = done or report.step % rhythm.whole == 0
            record = _record(report, clock) | dict(hooks.measure())
            stopping = any_rank(bool(stop), state.runtime) and border
            evaluation = None
            if done or report.step % rhythm.evaluate_every == 0:
                evaluation = None if stopping else _evaluate(hooks, state, stop)
                record |= {OWED: True} if evaluation is None else evaluation
                stopping = any_rank(bool(stop), state.runtime) and border
            if main:
                metrics.append(record)
            now = time.monotonic()
            by_step = rhythm.save_every is not None and report.step % rhythm.save_every == 0
            by_time = any_rank(main and now - saved_at >= rhythm.save_seconds, state.runtime)
            if done or stopping or ((by_step or by_time) and border):
                _save(hooks, state, must=done or stopping)
                saved_at = now
            said = None
            if main and (done or now - sampled_at >= rhythm.sample_seconds) and not stopping:
                said, sampled_at = _sample(hooks, state, samples), now
            if main:
                hooks.show(_progress(record, course, evaluation, said))
            clock.skip()
            if done or stopping:
                return done and not any_rank(OWED in record, state.runtime)
    raise AssertionError("a stream is endless")


def _evaluate(hooks: Hooks, state: TrainState, stop: StopFlag) -> Mapping[str, float] | None:
    """What the evaluation says; None where a signal ended it."""
    try:
        return hooks.evaluate(state, stop)
    except Stopped:
        return None


def is_owed(metrics: JsonLines) -> bool:
    """Whether the evaluation after the last step is still to be done: a signal came first."""
    return any(OWED in record for record in list(metrics)[-1:])


def _catch_up(state: TrainState, hooks: Hooks, metrics: JsonLines, stop: StopFlag) -> bool:
    """Do the evaluation that is owed; False where a signal ends it again."""
    evaluation = _evaluate(hooks, state, stop)
    if any_rank(evaluation is None, state.runtime):
        return False
    if state.runtime.is_main:
        *before, record = metrics
        del record[OWED]
        metrics.rewrite([*before, record | dict(evaluation or {})])
    return True


def _record(report: Report, clock: Clock) -> dict[str, Any]:
    loss, norm = float(report.loss), float(report.gradient_norm)  # waits for the device
    lap = clock.lap()
    record: dict[str, Any] = {
        "step": report.step,
        "loss": loss,
        "gradient_norm": norm,
        "lr": report.lr,
        "units": report.units,
        "lap": round(lap, 6),
        "seconds": round(clock.seconds, 3),
    }
    if report.skipped:
        record["skipped"] = True
    return record


def _save(hooks: Hooks, state: TrainState, *, must: bool) -> None:
    """Save; on the way a full disk is a warning, since the checkpoint before is whole."""
    try:
        hooks.save(state)
    except RunError as error:
        if must:
            raise
        log.warning("step %d is not saved: %s; training goes on", state.step, error)


def _sample(hooks: Hooks, state: TrainState, samples: JsonLines) -> Mapping[str, str]:
    """What the model says now; a prompt that cannot be answered never ends the training."""
    try:
        said = hooks.sample(state)
    except ParrotletError as error:
        log.warning("no sample at step %d: %s", state.step, error)
        return {}
    for prompt, text in said.items():
        samples.append({"step": state.step, "prompt": prompt, "text": text})
    return said


def _progress(
    record: Mapping[str, Any],
    course: Course,
    evaluation: Mapping[str, float] | None,
    said: Mapping[str, str] | None,
) -> Progress:
    per_step = record["seconds"] / record["step"]
    return Progress(
        step=record["step"],
        total=course.total,
        course=course,
        loss=record["loss"],
        units_per_second=record["units"] / max(record["lap"], 1e-9),
        seconds_left=per_step * (course.total - record["step"]),
        evaluation=evaluation,
        samples=said,
    )
