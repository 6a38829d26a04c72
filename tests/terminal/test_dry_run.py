"""--dry-run of every verb: the plan, agreeing with what the run then does, and nothing touched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from parrotlet.cli import VERBS, main


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    return capsys.readouterr().out


def value(said: str, label: str) -> str:
    found = re.search(rf"^  {label} +(.*)$", said, flags=re.MULTILINE)
    assert found, said
    return found[1]


def test_the_plan_is_what_the_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pretrain", "--recipe", "smoke", "--runs", str(tmp_path), "--name", "x"]
    said = dry(capsys, *command)
    assert not list(tmp_path.iterdir())
    assert main(command) == 0
    (checkpoint,) = tmp_path.glob("x/step_*")
    metrics = (tmp_path / "x/metrics.jsonl").read_text().splitlines()
    assert value(said, "steps") == str(len(metrics))
    tokens = sum(json.loads(line)["units"] for line in metrics)
    assert value(said, "tokens") == f"{tokens:,}"
    about = json.loads((checkpoint / "parrotlet.json").read_text())
    assert f"width {about['model']['width']}," in value(said, "model")
    run = str(tmp_path / "x")
    for verb in ("sample", "chat", "sft", "resume"):
        said = dry(capsys, verb, run)
        assert f"width {about['model']['width']}," in value(said, "model")
        assert value(said, "parameters")
        assert "MiB" in value(said, "memory")
        assert value(said, "time")


@pytest.mark.parametrize("verb", ["demo", "tokenizer", "pretrain"])
def test_without_anything_there(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(capsys, verb)
    assert verb in VERBS
