"""Faults F1 to F17: what training and its checkpoints survive, a few of each in every test run.

Counts: tests/survived.py. Elsewhere: F2 every call of a save and F16 other formats,
test_checkpoint; F10 and F11 ranks, tests/stages/test_ranks; F13 gradients that are never finite and
F14 out of memory, test_loop; F15 a second trainer, tests/core/test_rundir.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from survived import FULL, survived, times

from parrotlet.core.errors import CheckpointError, ParrotletError, RunError
from parrotlet.core.log import JsonLines
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import Batch
from parrotlet.data.streams import RowStream
from parrotlet.data.tokens import TokenArray
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Rates
from parrotlet.text.train import train_char
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token

WATCHDOG = 900
pytestmark = pytest.mark.timeout(times(1_200, 2_400, 36_000))  # seconds, of a test
CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
TOKENIZER = train_char(["hello world"])
TRAIN = ["pretrain", "--recipe", "smoke", "--steps", "40", "--save-every", "3", "--device", "cpu"]


# -- a small state and its bits


def new_state() -> TrainState:
    config = ModelConfig(
        arch="swift", vocab_size=TOKENIZER.vocab_size, context=8, depth=1, width=16, heads=2,
        kv_heads=2, head_width=8, mlp_width=32, tied=False,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    named = model.named_parameters()
    optimizers = build_optimizers(named, OptimizerConfig(), fast_bfloat16=False)
    return TrainState(model, Learner(model, next_token), optimizers, CPU)


def learn(state: TrainState, to: int) -> None:
    """Steps up to number `to`; what each learns from depends on its number alone."""

    def steps() -> Iterator[list[Batch]]:
        while True:
            generator = torch.Generator().manual_seed(state.step)
            ids = torch.randint(0, TOKENIZER.vocab_size, (2, 9), generator=generator)
            yield [Batch(tokens=ids[:, :-1], targets=ids[:, 1:], count=16)]

    if state.step < to:
        for _ in train(state, steps(), schedule=lambda _: Rates(0.5, 0.9), clip=None):
            if state.step == to:
                return


def save(directory: Path, state: TrainState) -> Path:
    return checkpoints.save(directory, state, TOKENIZER, stage="base")


def bits(state: TrainState) -> dict[str, bytes]:
    tensors = dict(state.model.named_parameters()) | state.optimizers.state_tensors()
    return {name: value.detach().numpy().tobytes() for name, value in tensors.items()}


def restored(directory: Path) -> TrainState:
    state, found = new_state(), checkpoints.newest(directory, set_aside=True)
    assert found is not None
    checkpoints.restore(state, found)
    return state


@pytest.fixture(scope="module")
def wanted() -> dict[str, bytes]:
    """The bits at step 6 of a run that nothing befell."""
    state = new_state()
    learn(state, 6)
    return bits(state)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run with checkpoints at steps 2 and 4."""
    state, run = new_state(), tmp_path / "run"
    for step in (2, 4):
        learn(state, step)
        save(run, state)
    return run


# -- real processes


def start(runs: Path, name: str, *more: str, **how: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "parrotlet", *TRAIN, "--runs", str(runs), "--name", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE} | how
    return subprocess.Popen([*command, *more], env=environment, **quiet)  # type: ignore[call-overload,no-any-return]


def ends(process: subprocess.Popen[bytes]) -> int:
    _, errors = process.communicate(timeout=WATCHDOG)
    assert b"Traceback" not in (errors or b""), errors
    return process.returncode


def when_training(run: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for the first step."""
    deadline = time.monotonic() + WATCHDOG
    while not (run / "metrics.jsonl").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def file_bits(run: Path) -> dict[str, bytes]:
    path = checkpoints.find(run).path
    tensors = {}
    for name in ("model.safetensors", "training.safetensors"):
        tensors |= checkpoints.load_tensors(path / name)
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


def records(run: Path) -> list[tuple[int, float]]:
    return [(each["step"], each["loss"]) for each in JsonLines(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run that nothing befell."""
    runs = tmp_path_factory.mktemp("whole")
    assert ends(start(runs, "whole")) == 0
    return runs / "whole"


def same(run: Path, whole: Path) -> None:
    assert file_bits(run) == file_bits(whole)
    assert records(run) == records(whole)
    assert not list(run.glob("*.tmp-*"))


def test_f1_killed_at_random(whole: Path, tmp_path: Path) -> None:
    chance, kills, wanted_kills = random.Random(1), 0, times(2, 25, 300)
    run = tmp_path / "killed"
    while kills < wanted_kills:
        process = start(tmp_path, "killed")
        try:
            process.communicate(timeout=chance.uniform(0.5, 6.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0
        same(run, whole)
        shutil.rmtree(run)
    if run.exists():
        assert ends(start(tmp_path, "killed")) == 0
        same(run, whole)
    survived("F1", kills, "killed (kill -9) at a random moment, the same bits at the end")


def test_f8_sigterm_at_random_saves_and_ends(whole: Path, tmp_path: Path) -> None:
    chance = random.Random(8)
    for index in range(count := times(1, 20, 200)):
        run = tmp_path / f"stopped{index}"
        process = start(tmp_path, run.name)
        when_training(run, process)
        time.sleep(chance.uniform(0, 1.0))
        process.terminate()
        code, last = ends(process), records(run)[-1][0]
        # a process that had trained to its end may be ended by the signal on its way out
        assert code == 0 or (code == -signal.SIGTERM and last == records(whole)[-1][0])
        assert checkpoints.find(run).step == last
        assert ends(start(tmp_path, run.name)) == 0
        same(run, whole)
        shutil.rmtree(run)
    survived("F8", count, "stopped by SIGTERM at a random moment and resumed to the same bits")


def two_signals(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)


def stop_and_go(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(30 if FULL else 1)
    process.send_signal(signal.SIGCONT)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)


def deaf(process: subprocess.Popen[bytes]) -> None:
    """Whoever read what it prints is gone."""
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("befall", [two_signals, stop_and_go, interrupt, deaf])
def test_f9_odd_signals(
    whole: Path, tmp_path: Path, befall: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    for _ in range(count := times(1, 5, 5)):
        run = tmp_path / "odd"
        process = start(tmp_path, "odd", stdout=subprocess.PIPE)
        when_training(run, process)
        befall(process)
        process.communicate(timeout=WATCHDOG)
        assert ends(start(tmp_path, "odd")) == 0
        same(run, whole)
        shutil.rmtree(run)
    what = befall.__name__.replace("_", " ")
    survived("F9", count, f"{what}: saved, and resumed to the same bits")


@pytest.mark.skipif(sys.platform != "linux", reason="a disk of its own needs Linux namespaces")
def test_f6_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A disk of 3 MB: the run says so or ends; what it saved is whole and it goes on with room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    fill, go = f"head -c 9000000 /dev/zero > {disk}/big", " ".join(TRAIN)
    command = f"{sys.executable} -m parrotlet {go} --runs {disk} --name x"
    script = (
        f"mount -t tmpfs -o size=3m tmpfs {disk} || exit 77; {command} --steps 4 || exit 1; "
        f"{fill}; rm -rf {disk}/x/data; {command}; echo refused $?; rm {disk}/big; "
        f"{command} --steps 4 && echo went on; ls {disk}/x"
    )
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True, timeout=WATCHDOG
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("namespaces are not allowed here")
    assert "refused 1" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "went on" in done.stdout
    assert "step_000004" in done.stdout
    survived("F6", 1, "a disk that was really full")


# -- files


def test_f3_power_lost_at_random(
    saved: Path, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not flushed when the power went is cut or gone; names may have come without it."""
    chance, flush = random.Random(3), os.fsync
    for index in range(count := times(25, 50, 500)):
        run = saved.parent / f"lost{index}"
        shutil.copytree(saved, run)
        state = restored(run)
        learn(state, 6)
        flushed: set[int] = set()  # inodes whose bytes are on the disk
        left = chance.randrange(1, 30)

        def counted(handle: int, flushed: set[int] = flushed) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt  # the power goes
            flush(handle)
            flushed.add(os.fstat(handle).st_ino)

        before = {path.stat().st_ino for path in run.rglob("*") if path.is_file()}
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", counted)
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # nobody tidies up
            with suppress(KeyboardInterrupt):
                save(run, state)
        for path in sorted(run.rglob("*")):
            if path.is_file() and path.stat().st_ino not in flushed | before:
                data = path.read_bytes()
                path.write_bytes(data[: chance.randrange(len(data) + 1)])
        again = restored(run)
        assert again.step in (4, 6)
        learn(again, 6)
        assert bits(again) == wanted
        shutil.rmtree(run)
    survived("F3", count, "the power lost within a save, unflushed bytes cut or gone")


def test_f4_every_flipped_bit_is_found_and_the_one_before_taken(saved: Path) -> None:
    chance, path = random.Random(4), checkpoints.steps_in(saved)[-1]
    files = sorted(path.iterdir())
    for _ in range(count := times(40, 200, 2000)):
        file = chance.choice(files)
        good = file.read_bytes()
        place = chance.randrange(len(good))
        file.write_bytes(
            good[:place] + bytes([good[place] ^ (1 << chance.randrange(8))]) + good[place + 1 :]
        )
        with pytest.raises(CheckpointError) as caught:
            checkpoints.verify(path)
        assert file.name in str(caught.value) or file.name == "manifest.json"
        found = checkpoints.newest(saved)
        assert found is not None and found.step == 2
        file.write_bytes(good)
    survived("F4", count, "a flipped bit in a checkpoint: found, the one before taken")


def damage(path: Path, other: Path, chance: random.Random) -> None:
    """Something that a broken disk or a careless hand does to a checkpoint."""
    file = chance.choice(sorted(each for each in path.iterdir() if each.name != "manifest.json"))
    kind = chance.choice(["cut", "empty", "missing", "extra", "swapped"])
    if kind == "cut":
        os.truncate(file, chance.randrange(file.stat().st_size))
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "missing":
        file.unlink()
    elif kind == "extra":
        (path / f"extra{chance.random()}").write_bytes(b"x")
    else:
        swapped = "model.safetensors"  # of as many bytes in both steps
        held = (path / swapped).read_bytes()
        (path / swapped).write_bytes((other / swapped).read_bytes())
        (other / swapped).write_bytes(held)


def test_f5_damaged_files_are_never_taken(saved: Path) -> None:
    chance = random.Random(5)
    for index in range(count := times(25, 100, 1000)):
        run = saved.parent / f"damaged{index}"
        shutil.copytree(saved, run)
        first, last = checkpoints.steps_in(run)
        damage(last, first, chance)
        with pytest.raises(CheckpointError):
            checkpoints.verify(last)
        shutil.rmtree(run)
    survived("F5", count, "a file cut, emptied, missing, added or swapped: found")


@pytest.mark.parametrize("call", ["fsync", "open", "rename", "mkdir"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_f6_f7_a_disk_that_refuses(
    saved: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    state = restored(saved)
    learn(state, 6)

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        try:
            save(saved, state)
        except RunError as error:
            assert os.strerror(number) in str(error) or "cannot" in str(error)
    assert checkpoints.verify(checkpoints.steps_in(saved)[1]).step == 4
    save(saved, state)
    assert checkpoints.find(saved).step == 6


def test_f12_a_loader_stopped_anywhere_gives_the_same_rows(tmp_path: Path) -> None:
    ids = torch.arange(997).numpy().astype("uint16")
    tokens = TokenArray([ids], num_bytes=997, num_documents=1)
    stream = RowStream(tokens=tokens, context=7, rows_per_step=5, micro_rows=2, seed=3)

    def take(position: int, count: int) -> list[bytes]:
        steps = stream(position)
        return [
            b"".join(batch.tokens.numpy().tobytes() for batch in next(steps)) for _ in range(count)
        ]

    length = times(100, 1000, 1000)
    all_of_it = take(0, 200 + length)
    chance = random.Random(12)
    count = times(20, 200, 200)
    for position in [chance.randrange(200) for _ in range(count)]:
        assert take(position, length) == all_of_it[position : position + length]
    survived("F12", count, "the loader stopped anywhere: the same batches after it")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_f13_a_bad_gradient_changes_nothing_and_is_resumed_exactly(
    tmp_path: Path, bad: float
) -> None:
    """The third step's gradient is not finite: it is left out, also in a run that was stopped."""

    def poisoned() -> TrainState:
        state = new_state()
        weight = state.model.get_parameter("head.weight")
        weight.register_hook(lambda gradient: gradient * bad if state.step == 2 else gradient)
        return state

    state = poisoned()
    learn(state, 2)
    before = bits(state)
    learn(state, 3)
    assert bits(state) == before
    assert (state.skipped, state.skipped_in_a_row) == (1, 1)
    save(tmp_path, state)
    learn(state, 6)
    again = restored(tmp_path)
    assert (again.skipped, again.skipped_in_a_row) == (1, 1)
    learn(again, 6)
    assert bits(again) == bits(state)
    assert all(value.isfinite().all() for value in state.model.parameters())
    survived("F13", 1, f"a gradient of {bad}: left out, and resumed exactly")


@pytest.mark.parametrize("phase", ["backward", "optimizer", "save"])
def test_f14_out_of_memory_in_any_phase_leaves_the_last_checkpoint(
    saved: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    state = restored(saved)

    def refuse(*arguments: object, **named: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    if phase == "backward":
        state.model.get_parameter("head.weight").register_hook(refuse)
    elif phase == "optimizer":
        monkeypatch.setattr(state.optimizers.parts[0], "step", refuse)
    else:
        monkeypatch.setattr(safetensors.torch, "save", refuse)
        monkeypatch.setattr(safetensors.torch, "save_file", refuse)
    with pytest.raises((torch.OutOfMemoryError, ParrotletError)):
        learn(state, 6)
        save(saved, state)
        raise ParrotletError("it was saved")
    assert restored(saved).step in (4, 6)
    survived("F14", 1, f"out of memory in {phase}: the last checkpoint whole")


def test_f15_a_reader_beside_a_trainer_that_prunes(tmp_path: Path) -> None:
    state, stop, read = new_state(), threading.Event(), []
    learn(state, 1)
    save(tmp_path, state)
    problems: list[Exception] = []

    def reader() -> None:
        while not stop.is_set():
            try:
                found = checkpoints.find(tmp_path)
                checkpoints.load_model(found, CPU)
                read.append(found.step)
            except Exception as error:  # any at all is the test's failure
                problems.append(error)

    thread = threading.Thread(target=reader)
    thread.start()
    for step in range(2, 2 + (count := times(25, 50, 500))):
        learn(state, step)
        save(tmp_path, state)
    stop.set()
    thread.join()
    assert not problems, problems[0]
    assert read
    survived("F15", count, "saved and pruned beside a reader, who never saw half a checkpoint")


class Malice:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("pwned",))


def header(value: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if size is None else size) + value


MALICIOUS: dict[str, Callable[[Path], bytes]] = {
    "a length of 2^63": lambda _: header(b"{}", 2**63),
    "a header of 100 MB announced": lambda _: header(b"{}", 100_000_000),
    "overlapping tensors": lambda _: header(
        json.dumps(
            {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}
        ).encode()
    ) + bytes(8),
    "offsets outside": lambda _: header(
        b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}'
    ),
    "nested JSON": lambda _: header(b"[" * 100_000),
    "a pickle": lambda folder: _pickle(folder),
}  # fmt: skip


def _pickle(folder: Path) -> bytes:
    torch.save(Malice(), folder / "payload.pt")
    return (folder / "payload.pt").read_bytes()


@pytest.mark.parametrize("kind", MALICIOUS)
def test_f17_malicious_weights_are_refused_and_run_nothing(
    saved: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(saved.parent)
    path = checkpoints.steps_in(saved)[-1]
    bad = MALICIOUS[kind](saved.parent)
    with pytest.raises(CheckpointError):
        checkpoints.load_tensors(_write(path / "model.safetensors", bad))
    with pytest.raises(CheckpointError):
        checkpoints.find(path)
    assert not (saved.parent / "pwned").exists()
    survived("F17", 1, f"malicious weights ({kind}): refused, nothing run")


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "..", ""])
def test_f17_a_manifest_names_files_of_its_own_folder_alone(saved: Path, name: str) -> None:
    path = checkpoints.steps_in(saved)[-1]
    manifest = json.loads((path / "manifest.json").read_text())
    entry = manifest["files"].pop("training.json")
    manifest["files"][name] = entry
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError):
        checkpoints.verify(path)
