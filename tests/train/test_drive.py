"""The driver: what it does in which order, and what never ends a run."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import Batch, Step
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Course, Fall, Rates
from parrotlet.train.drive import OWED, Hooks, Progress, Rhythm, StopFlag, drive, is_owed
from parrotlet.train.loop import Learner, TrainState
from parrotlet.train.losses import next_token


def new_state() -> TrainState:
    config = ModelConfig(
        arch="gpt2", vocab_size=16, context=4, depth=1, width=8, heads=1, kv_heads=1,
        head_width=8, mlp_width=8,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return TrainState(
        model=model,
        learner=Learner(model, next_token),
        optimizers=build_optimizers(
            model.named_parameters(), OptimizerConfig(), fast_bfloat16=False
        ),
        runtime=Runtime(device=torch.device("cpu"), compute_dtype=torch.float32),
    )


def stream(position: int) -> Iterator[Step]:
    while True:
        ids = torch.randint(0, 16, (1, 5), generator=torch.Generator().manual_seed(position))
        yield [Batch(tokens=ids[:, :-1], targets=ids[:, 1:], count=4)]
        position += 1


class Recorder:
    """Hooks that write down when they were called; each may be made to fail or to signal."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.signalling = ""

    def called(self, name: str, step: int) -> None:
        call = f"{name} {step}"
        if not name.startswith("evaluate part"):
            self.calls.append(call)
        if call == self.signalling:
            os.kill(os.getpid(), signal.SIGTERM)
        if name in self.failing:
            raise self.failing[name]

    def hooks(self) -> Hooks:
        def evaluate(state: TrainState, stop: StopFlag) -> Mapping[str, float]:
            total = 0.0
            for batch in stop.watch(range(1, 4)):
                self.called(f"evaluate part {batch} of", state.step)
                total += batch
            self.called("evaluate", state.step)
            return {"validation_loss": total}

        def sample(state: TrainState) -> Mapping[str, str]:
            self.called("sample", state.step)
            return {"a": "b"}

        def show(progress: Progress) -> None:
            self.called("show", progress.step)

        return Hooks(
            save=lambda state: self.called("save", state.step),
            evaluate=evaluate,
            sample=sample,
            show=show,
        )


def course(total: int) -> Course:
    return Course(0, (Fall(total - 1, total),))


def rhythm_of(courses: Callable[[int], Course], settings: Mapping[str, Any]) -> Rhythm:
    return Rhythm(course=courses, evaluate_every=3, **settings)


def run(
    recorder: Recorder,
    folder: Path,
    steps: int = 4,
    state: TrainState | None = None,
    total: Callable[[int], int] | None = None,
    **rhythm: float | None,
) -> bool:
    settings = {"save_every": 2, "save_seconds": 1e9, "sample_seconds": 1e9} | rhythm
    return drive(
        state or new_state(),
        stream,
        rhythm=rhythm_of(lambda step: course(total(step) if total else steps), settings),
        schedule=lambda _: Rates(1.0, 0.9),
        clip=None,
        hooks=recorder.hooks(),
        metrics=JsonLines(folder / "metrics.jsonl"),
        samples=JsonLines(folder / "samples.jsonl"),
    )


def test_the_order_of_things(tmp_path: Path) -> None:
    recorder = Recorder()
    assert run(recorder, tmp_path)
    assert recorder.calls == [
        "show 1",
        "save 2", "show 2",
        "evaluate 3", "show 3",
        "evaluate 4", "save 4", "sample 4", "show 4",
    ]  # fmt: skip
    records = list(JsonLines(tmp_path / "metrics.jsonl"))
    assert [each["step"] for each in records] == [1, 2, 3, 4]
    assert "validation_loss" in records[2]


def test_a_run_may_turn_out_longer_or_shorter(tmp_path: Path) -> None:
    recorder = Recorder()
    assert run(recorder, tmp_path, total=lambda step: 9 if step < 2 else 4)
    assert recorder.calls[-1] == "show 4"


def test_a_sample_that_fails_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.failing["sample"] = UsageError("the prompt is too long")
    assert run(recorder, tmp_path, sample_seconds=0.0)
    assert "save 4" in recorder.calls
    assert "the prompt is too long" in caplog.text


def test_a_full_disk_on_the_way_is_a_warning_and_at_the_end_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    recorder.failing["save"] = RunError("no space left")
    with caplog.at_level(logging.WARNING), pytest.raises(RunError, match="no space left"):
        run(recorder, tmp_path)
    assert "step 2 is not saved: no space left" in caplog.text
    assert "save 4" in recorder.calls


def test_a_signal_while_evaluating_stops_at_that_step(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.signalling = "evaluate 3"
    assert not run(recorder, tmp_path)
    assert recorder.calls[-2:] == ["save 3", "show 3"]


def without_times(folder: Path) -> list[dict[str, object]]:
    lines = JsonLines(folder / "metrics.jsonl")
    return [{k: v for k, v in each.items() if k not in ("lap", "seconds")} for each in lines]


@pytest.mark.parametrize("step", [3, 4])
def test_a_signal_ends_an_evaluation_which_is_done_later(tmp_path: Path, step: int) -> None:
    """On the way or after the last step: the metrics are those of a run that never stopped."""
    (tmp_path / "whole").mkdir()
    assert run(Recorder(), tmp_path / "whole")
    recorder, state = Recorder(), new_state()
    recorder.signalling = f"evaluate part 2 of {step}"
    assert not run(recorder, tmp_path, state=state)
    assert state.step == step and f"save {step}" in recorder.calls
    assert f"evaluate {step}" not in recorder.calls
    assert is_owed(JsonLines(tmp_path / "metrics.jsonl"))
    again = Recorder()
    again.signalling = f"evaluate part 1 of {step}"
    assert not run(again, tmp_path, state=state) and again.calls == []
    again = Recorder()
    assert run(again, tmp_path, state=state)
    assert again.calls[0] == f"evaluate {step}"
    assert without_times(tmp_path) == without_times(tmp_path / "whole")
    assert OWED not in (tmp_path / "metrics.jsonl").read_text()


def test_the_second_signal_acts_as_always_whichever_it_is(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.signalling = "show 1"  # the first, SIGTERM, becomes a flag
    show = recorder.hooks().show

    def interrupt(progress: Progress) -> None:
        show(progress)
        os.kill(os.getpid(), signal.SIGINT)

    hooks = Hooks(
        save=recorder.hooks().save,
        evaluate=recorder.hooks().evaluate,
        sample=recorder.hooks().sample,
        show=interrupt,
    )
    with pytest.raises(KeyboardInterrupt):
        drive(
            new_state(),
            stream,
            rhythm=Rhythm(course=lambda _: course(9), evaluate_every=99),
            schedule=lambda _: Rates(1.0, 0.9),
            clip=None,
            hooks=hooks,
            metrics=JsonLines(tmp_path / "metrics.jsonl"),
            samples=JsonLines(tmp_path / "samples.jsonl"),
        )
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
