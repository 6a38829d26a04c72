"""A checkpoint exists whole and verified, or not at all; whatever is altered is noticed."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from survived import survived

from parrotlet.core.errors import CheckpointError, FormatError, RunError, TrainingError
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import Batch
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Rates
from parrotlet.text.train import train_char
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token
from parrotlet.train.manifest import make_manifest

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
TOKENIZER = train_char(["hello world"])


def new_state() -> TrainState:
    config = ModelConfig(
        arch="qwen3", vocab_size=TOKENIZER.vocab_size, context=8, depth=1, width=8, heads=1,
        kv_heads=1, head_width=8, mlp_width=16,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return TrainState(
        model=model,
        learner=Learner(model, next_token),
        optimizers=build_optimizers(
            model.named_parameters(), OptimizerConfig(), fast_bfloat16=False
        ),
        runtime=CPU,
    )


def learn(state: TrainState, steps: int) -> list[float]:
    def stream() -> object:
        while True:
            generator = torch.Generator().manual_seed(state.step)
            ids = torch.randint(0, TOKENIZER.vocab_size, (2, 9), generator=generator)
            yield [Batch(tokens=ids[:, :-1], targets=ids[:, 1:], count=16)]

    reports = train(state, stream(), schedule=lambda _: Rates(1.0, 0.9), clip=None)  # type: ignore[arg-type]
    return [float(next(reports).loss) for _ in range(steps)]


def save(directory: Path, state: TrainState) -> Path:
    return checkpoints.save(directory, state, TOKENIZER, stage="base")


def bits(state: TrainState) -> dict[str, bytes]:
    tensors = dict(state.model.named_parameters()) | state.optimizers.state_tensors()
    return {name: value.detach().numpy().tobytes() for name, value in tensors.items()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run with checkpoints at steps 2 and 4."""
    state = new_state()
    for _ in range(2):
        learn(state, 2)
        save(tmp_path, state)
    return tmp_path


def test_restored_is_never_stopped(tmp_path: Path) -> None:
    state = new_state()
    learn(state, 3)
    path = save(tmp_path, state)
    rest = learn(state, 4)
    other = new_state()
    torch.manual_seed(12345)
    checkpoints.restore(other, checkpoints.verify(path))
    assert other.step == 3
    assert learn(other, 4) == rest
    assert bits(other) == bits(state)


def test_what_is_kept(tmp_path: Path) -> None:
    state = new_state()
    for _ in range(4):
        learn(state, 1)
        save(tmp_path, state)
    assert [path.name for path in checkpoints.steps_in(tmp_path)] == ["step_000003", "step_000004"]
    assert checkpoints.find(tmp_path).step == 4
    assert {path.name for path in checkpoints.steps_in(tmp_path)[0].iterdir()} == {
        "parrotlet.json", "model.safetensors", "parrotlet-tokenizer.json",
        "training.safetensors", "training.json", "manifest.json",
    }  # fmt: skip
    loaded = checkpoints.load_model(checkpoints.find(tmp_path), CPU)
    assert torch.equal(
        loaded.get_parameter("embed.weight"), state.model.get_parameter("embed.weight")
    )
    assert checkpoints.load_tokenizer(checkpoints.find(tmp_path)) == TOKENIZER


def test_every_flipped_bit_is_noticed(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(0)
    path = checkpoints.steps_in(saved)[-1]
    files = sorted(path.iterdir())
    for _ in range(60):
        file = chance.choice(files)
        good = file.read_bytes()
        place, bit = chance.randrange(len(good)), chance.randrange(8)
        file.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
        with pytest.raises(CheckpointError):
            checkpoints.verify(path)
        file.write_bytes(good)
    assert checkpoints.verify(path).step == 4


def test_damage_falls_back_to_the_checkpoint_before(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoints.steps_in(saved)[-1]
    (path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: 9 bytes instead"):
        checkpoints.find(path)  # named: never another one in its place
    assert checkpoints.find(saved).step == 2  # of a run: the newest whole one
    with caplog.at_level(logging.WARNING):
        found = checkpoints.newest(saved, set_aside=True)
    assert found is not None
    assert found.step == 2
    assert "model.safetensors" in caplog.text
    assert list(saved.glob("step_000004.corrupt-*"))


def test_a_run_without_a_whole_checkpoint_never_begins_anew(saved: Path) -> None:
    for path in checkpoints.steps_in(saved):
        (path / "model.safetensors").write_bytes(b"cut short")
    for _ in range(2):  # nothing was set aside: it says so each time
        with pytest.raises(CheckpointError, match=r"no other checkpoint of .* is whole"):
            checkpoints.newest(saved, set_aside=True)
    assert len(checkpoints.steps_in(saved)) == 2


def test_a_whole_checkpoint_of_another_version_is_left_alone(saved: Path) -> None:
    path = checkpoints.steps_in(saved)[-1]
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))
    with pytest.raises(FormatError, match="format 3"):
        checkpoints.newest(saved, set_aside=True)
    assert len(checkpoints.steps_in(saved)) == 2


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    state = new_state()
    with torch.no_grad():
        state.model.get_parameter("embed.weight")[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"embed\.weight"):
        save(tmp_path, state)
    assert not checkpoints.steps_in(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "extra", "empty", "link"])
def test_whatever_is_wrong_with_the_files(saved: Path, damage: str) -> None:
    path = checkpoints.steps_in(saved)[-1]
    file = path / "training.safetensors"
    if damage == "missing":
        file.unlink()
    elif damage == "extra":
        (path / "extra.bin").write_bytes(b"")
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        elsewhere = saved / "elsewhere"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
    with pytest.raises(CheckpointError):
        checkpoints.verify(path)


def test_other_formats_are_refused_by_number(saved: Path) -> None:
    path = checkpoints.steps_in(saved)[-1]
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoints.verify(path)


def test_a_swift_that_capped_its_logits_is_refused(saved: Path) -> None:
    """Format 1, as its files would be; other architectures of that format are read."""
    path = checkpoints.steps_in(saved)[-1]
    about = json.loads((path / "parrotlet.json").read_text())
    for arch in ("qwen3", "swift"):
        old = about | {"format": 1, "model": about["model"] | {"arch": arch}}
        (path / "parrotlet.json").write_text(json.dumps(old))
        (path / "manifest.json").unlink()
        manifest = make_manifest(path) | {"format": 1}
        (path / "manifest.json").write_text(json.dumps(manifest))
        if arch == "qwen3":
            assert checkpoints.find(saved).path == path
    with pytest.raises(FormatError, match="is a swift of format 1"):
        checkpoints.find(saved)


def test_a_directory_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoints.find(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoints.find(tmp_path / "nowhere")


def test_weights_that_do_not_fit_are_listed(saved: Path) -> None:
    state = new_state()
    tensors = {name: value.detach() for name, value in state.model.named_parameters()}
    first = sorted(tensors)[0]
    with pytest.raises(CheckpointError, match=first):
        checkpoints.load_weights(
            state.model, {k: v for k, v in tensors.items() if k != first}, Path("here")
        )
    with pytest.raises(CheckpointError, match="and the model's is"):
        checkpoints.load_weights(state.model, tensors | {first: torch.zeros(1)}, Path("here"))


class Crash(BaseException):
    """A process that ends here: nothing after it runs, no handler cleans up."""


def test_a_crash_at_every_step_of_a_save(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each k-th call that changes the disk, stop there; then the run must go on exactly."""
    state = new_state()
    last = checkpoints.newest(saved)
    assert last is not None
    checkpoints.restore(state, last)
    learn(state, 2)
    wanted = bits(state)
    calls = {"left": 0}

    def crashing(function: object) -> object:
        def wrapper(*arguments: object, **named: object) -> object:
            if calls["left"] == 0:
                raise Crash
            calls["left"] -= 1
            return function(*arguments, **named)  # type: ignore[operator]

        return wrapper

    crashes, finished = 0, False
    for crash_at in range(1_000):
        run = saved.parent / f"copy{crash_at}"
        shutil.copytree(saved, run)
        calls["left"] = crash_at
        with monkeypatch.context() as patch:
            for module, name in (
                (os, "fsync"), (os, "replace"), (os, "open"), (os, "rename"), (os, "mkdir"),
            ):  # fmt: skip
                patch.setattr(module, name, crashing(getattr(module, name)))
            patch.setattr(shutil, "rmtree", crashing(shutil.rmtree))
            try:
                save(run, state)
                finished = True
            except Crash:
                crashes += 1
        again = new_state()
        found = checkpoints.newest(run)
        assert found is not None
        assert found.step in (4, 6)
        checkpoints.restore(again, found)
        learn(again, 6 - again.step)
        assert bits(again) == wanted
        save(run, again)
        assert not list(run.glob("*.tmp-*"))
        shutil.rmtree(run)
        if finished:
            break
    assert finished
    assert crashes > 15
    survived("F2", crashes, "a crash, at every call of a save in turn, the same bits after it")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot write"):
        save(tmp_path, new_state())


def test_a_full_disk_is_known_before_writing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(saved)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    state = new_state()
    learn(state, 1)
    with pytest.raises(RunError, match="100 free"):
        save(saved, state)
    assert [each.name for each in checkpoints.steps_in(saved)] == ["step_000002", "step_000004"]


def test_a_disk_that_fills_while_writing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    state = new_state()
    learn(state, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            save(saved, state)
    assert not list(saved.glob("*.tmp-*"))
    assert checkpoints.find(saved).step == 4
    save(saved, state)


def test_weights_of_another_version_are_refused() -> None:
    model = new_state().model
    weights = {name: each.detach() for name, each in model.named_parameters()}
    first = next(iter(weights))
    weights["old.scale"] = weights.pop(first)
    told = rf"1 weights are missing and 1 are not known \({first}, old\.scale\); load it with"
    with pytest.raises(CheckpointError, match=told):
        checkpoints.load_weights(model, weights, Path("run/model.safetensors"))
