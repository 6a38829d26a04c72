"""--dry-run of every verb: the plan, agreeing with what the run then does, and nothing touched."""

from __future__ import annotations

import gzip
import inspect
import json
import os
import re
from pathlib import Path

import pytest

from parrotlet.cli import VERBS, main
from parrotlet.recipes import RECIPES
from parrotlet.terminal import dry_run


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
    for verb in ("sample", "chat", "sft", "dpo", "resume"):
        said = dry(capsys, verb, run)
        assert f"width {about['model']['width']}," in value(said, "model")
        assert value(said, "parameters")
        assert "MiB" in value(said, "memory")
        assert value(said, "time")
    assert value(dry(capsys, "rl", run, "--recipe", "smoke"), "a round").startswith("4 questions")


@pytest.mark.parametrize("verb", ["demo", "tokenizer", "pretrain"])
def test_without_anything_there(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(capsys, verb)
    assert verb in VERBS


def test_what_is_a_guess_is_called_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = dry(capsys, "pretrain", "--recipe", "shakespeare")
    assert value(said, "vocabulary").startswith("about")
    assert value(said, "parameters").startswith("about")
    said = dry(capsys, "pretrain", "--recipe", "smoke")
    assert value(said, "vocabulary") == "512"
    said = dry(capsys, "pretrain", "--recipe", "smoke", "--minutes", "2")
    assert value(said, "time") == "2m 00s, as asked for"
    assert value(said, "steps").startswith("about") and "factor of two" in value(said, "steps")
    assert value(dry(capsys, "tokenizer"), "time").startswith("about")


def test_files_are_those_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 700)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(os.urandom(1000).hex().encode()))
    (tmp_path / "c.png").write_bytes(b"y" * 9999)
    for named in (tmp_path, tmp_path / "*"):
        said = dry(capsys, "tokenizer", "--data", str(named))
        size = 700 + 3 * (tmp_path / "b.txt.gz").stat().st_size
        assert value(said, "text") == f"about {size:,} bytes"


def test_models_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert "elsewhere" in dry(capsys, "import", "elsewhere")
    assert "folder" in dry(capsys, "export", "runs/x", "--to", "hf", "--out", "folder")


@pytest.mark.parametrize("verb", VERBS)
def test_help_reads_well(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    said = capsys.readouterr().out
    assert "(default: )" not in said
    for paragraph in inspect.cleandoc(VERBS[verb].config.__doc__ or "").split("\n\n"):
        assert f"\n{paragraph.splitlines()[0]}" in said  # without the docstring's own indentation
    if "--recipe" in said:
        assert all(name in said and each.summary in said for name, each in RECIPES.items())


@pytest.mark.parametrize(
    ("flags", "dtype", "share"),
    [
        ("flags : avx2 amx_bf16", "auto", dry_run.AMX_EFFICIENCY),
        ("flags : avx2 amx_bf16", "float32", dry_run.EFFICIENCY),
        ("flags : avx2", "auto", dry_run.EFFICIENCY),
        (None, "auto", dry_run.EFFICIENCY),
    ],
)
def test_what_bfloat16_by_amx_is_worth(
    flags: str | None, dtype: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path) -> str:
        if flags is None:
            raise FileNotFoundError(path)
        return flags

    monkeypatch.setattr(Path, "read_text", read_text)
    assert dry_run._efficiency(dtype) == share
