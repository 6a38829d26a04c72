"""The commands as a person gives them: from nothing to a chat, killed on the way, gone on with."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from parrotlet.core.log import JsonLines
from parrotlet.train.checkpoint import find, load_tensors

WATCHDOG = 300  # seconds; no test asserts a duration


def parrotlet(*arguments: object, stdin: str = "", status: int = 0) -> str:
    """Run the command line; its output (both streams)."""
    done = subprocess.run(
        [sys.executable, "-m", "parrotlet", *map(str, arguments)],
        input=stdin, capture_output=True, text=True, timeout=WATCHDOG, env=environment(),
    )  # fmt: skip
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo in its smallest form."""
    folder = tmp_path_factory.mktemp("runs")
    said = parrotlet("demo", "--recipe", "smoke", "--runs", folder)
    assert "What is 23 + 58?" in said
    assert "abilities, on cases that training never saw" in said
    assert "what each stage gained" in said
    return folder


def test_the_demo_leaves_a_report(runs: Path) -> None:
    report = (runs / "demo/report.md").read_text()
    abilities = json.loads((runs / "demo/abilities.json").read_text())
    for name, score in abilities.items():
        assert f"({name}) | {score['passed']:g} | {score['count']} |" in report
    for stage, unit in {"base": "tokens", "sft": "tokens", "dpo": "pairs", "rl": "tokens"}.items():
        records = JsonLines(runs / "demo" / stage / "metrics.jsonl")
        assert f"{sum(record['units'] for record in records):,} {unit} learned" in report
    assert find(runs / "demo").stage == "rl"  # what chat, serve and the page take


def test_the_report_has_what_each_stage_gained(runs: Path) -> None:
    """Every rate and change from the cases that were missed, counted again here."""
    after = json.loads((runs / "demo/gains.json").read_text())
    assert list(after) == ["base", "sft", "dpo", "rl"]
    report, page = ((runs / "demo" / name).read_text() for name in ("report.md", "report.html"))
    for group in ("right and brief", "letters of unseen words"):
        found = [each[group] for name, each in after.items() if name != "base"]
        right = [1 - len(each["missed"]) / each["count"] for each in found]
        (line,) = [each for each in report.splitlines() if each.startswith(f"| {group} |")]
        cells = [each.strip() for each in line.split("|")[3:-1]]
        assert [each.split()[0] for each in cells] == [f"{each:.0%}" for each in right]
        changes = [100 * (now - before) for before, now in pairwise(right)]
        for cell, change in zip(cells[1:], changes, strict=True):
            assert f"({change:+.1f} ± " in cell and f"<td>{cell}</td>" in page


def test_the_demo_run_again_skips_what_is_done(runs: Path) -> None:
    before = find(runs / "demo/rl").path.stat().st_mtime_ns
    said = parrotlet("demo", "--recipe", "smoke", "--runs", runs)
    assert "demo/base is done" in said
    assert all(f"demo/{stage} is done" in said for stage in ("sft", "dpo", "rl"))
    assert find(runs / "demo/rl").path.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_killed_demo_goes_on_in_every_stage(runs: Path, tmp_path: Path) -> None:
    """kill -9 inside each stage in turn; at the end all is as if it had never been."""
    command = ["demo", "--recipe", "smoke", "--runs", tmp_path]
    for stage in ("base", "sft", "dpo", "rl"):
        process = subprocess.Popen(
            [sys.executable, "-m", "parrotlet", *map(str, command)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        deadline = time.monotonic() + WATCHDOG
        while not (tmp_path / "demo" / stage / "metrics.jsonl").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
    parrotlet(*command)
    for stage in ("base", "sft", "dpo", "rl"):
        assert bits(tmp_path / "demo" / stage) == bits(runs / "demo" / stage), stage
    assert (tmp_path / "demo/gains.json").read_text() == (runs / "demo/gains.json").read_text()


def test_a_demo_that_was_moved_goes_on(runs: Path, tmp_path: Path) -> None:
    """Its last stage missing and the first folder gone: the others are done, and it ends alike."""
    first, moved = tmp_path / "first/demo", tmp_path / "elsewhere/moved"
    shutil.copytree(runs / "demo", first)
    for each in ("abilities.json", "gains.json"):
        (first / each).unlink()
    shutil.rmtree(first / "rl")
    moved.parent.mkdir()
    first.rename(moved)
    said = " ".join(parrotlet("resume", moved).split())  # lines may end within a sentence
    assert all(f"moved/{stage} is done" in said for stage in ("base", "sft", "dpo"))
    assert bits(moved / "rl") == bits(runs / "demo/rl")
    report = (moved / "report.md").read_text()
    assert "## What it got wrong" in report and "## What to try next" in report


def test_samples_stream_and_repeat_with_a_seed(runs: Path) -> None:
    command = ["sample", runs / "demo/base", "The", "--num", 4, "--max-tokens", 20, "--seed", 7]
    first = parrotlet(*command)
    assert first.startswith("The")
    assert first.count("The") >= 4
    assert len(first) > 4 * len("The\n\n")
    assert parrotlet(*command) == first
    assert parrotlet(*command[:-1], 8) != first


def test_chat_takes_its_commands(runs: Path, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    lines = [
        "/system Be brief.", "Hello", "/retry", "/set temperature 0.5", "/set temperature hot",
        "/set temperature -1", f"/save {saved}", "/nonsense", "/reset", "/retry", "/quit",
    ]  # fmt: skip
    said = parrotlet("chat", runs / "demo", stdin="\n".join(lines) + "\n")
    assert "system prompt set" in said
    assert "'hot' cannot be the temperature" in said
    assert "temperature is -1" in said
    assert "/nonsense is not a command" in said
    assert "the conversation is forgotten" in said
    assert "there is no message to answer again" in said
    messages = json.loads(saved.read_text())["messages"]
    # a model of six steps may have nothing to say; then its question is not kept either
    assert [each["role"] for each in messages] in (["system"], ["system", "user", "assistant"])
    assert messages[0]["content"] == "Be brief."


TRAIN = ["--recipe", "smoke", "--steps", 40, "--save-every", 3, "--device", "cpu"]


def bits(run: Path) -> dict[str, bytes]:
    path = find(run).path
    tensors = load_tensors(path / "model.safetensors") | load_tensors(path / "training.safetensors")
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


def test_killed_at_random_and_resumed_is_never_killed(tmp_path: Path) -> None:
    """Real processes, kill -9 at random moments, the same bits at the end."""
    parrotlet("pretrain", *TRAIN, "--runs", tmp_path, "--name", "whole")
    chance = random.Random(4)
    run = tmp_path / "killed"
    command = ["pretrain", *TRAIN, "--runs", tmp_path, "--name", "killed"]
    kills = 0
    while kills < 5:
        process = subprocess.Popen(
            [sys.executable, "-m", "parrotlet", *map(str, command)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        try:
            _, errors = process.communicate(timeout=chance.uniform(0.5, 6.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, errors
        break
    if (run / "recipe.json").exists():
        command = ["resume", run]
    parrotlet(*command)
    assert kills > 0
    assert bits(run) == bits(tmp_path / "whole")


def test_sigterm_saves_and_exits_with_0(tmp_path: Path) -> None:
    command = ["pretrain", "--recipe", "smoke", "--steps", 100_000, "--runs", tmp_path]
    process = subprocess.Popen(
        [sys.executable, "-m", "parrotlet", *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    metrics = tmp_path / "smoke/metrics.jsonl"
    deadline = time.monotonic() + WATCHDOG
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = parrotlet(*command, status=1)  # two trainers on one run
    assert "is in use by another process" in second
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=WATCHDOG)
    assert process.returncode == 0, errors
    assert "stopped and saved" in said
    last = json.loads(metrics.read_text().splitlines()[-1])
    assert find(tmp_path / "smoke").step == last["step"]
