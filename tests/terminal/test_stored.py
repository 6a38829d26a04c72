"""recipe.json as resume reads it: whatever is in it, one sentence that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parrotlet.cli import main
from parrotlet.recipes import recipe
from parrotlet.stages.config_json import to_json
from parrotlet.terminal.config import DemoConfig
from parrotlet.terminal.stored import stored_config

BROKEN = [
    "[]",
    '{"verb": "sft"}',
    '{"config": {}}',
    '{"verb": ["a"], "config": {}}',
    '{"verb": "sft", "config": {}}',
    '{"verb": "pretrain", "config": 7}',
    '{"verb": "pretrain", "config": {"run": 7}}',
    '{"verb": "pretrain", "config": {"prompts": 7}}',
    '{"verb": "pretrain", "config": {"colour": "red"}}',
    '{"verb": "demo", "config": {"seed": -1}}',
    "{",
]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["resume", "dry-run"])
@pytest.mark.parametrize("text", BROKEN)
def test_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, dry: tuple[str, ...]
) -> None:
    (tmp_path / "recipe.json").write_text(text)
    assert main(["resume", str(tmp_path), *dry]) == 1
    said = capsys.readouterr().err
    assert said.startswith("parrotlet: ") and said.count("\n") == 1
    assert str(tmp_path / "recipe.json") in said


def test_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "boat"
    (run / "step_000008").mkdir(parents=True)
    (run / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for named, advice in (
        ("runs/boat/step_000008", f"parrotlet resume {Path('runs/boat')}\n"),
        ("boat", f"did you mean {Path('runs/boat')}?"),
        ("nowhere", "name the run's own directory"),
    ):
        assert main(["resume", named]) == 1
        assert advice in capsys.readouterr().err


def test_a_run_is_where_it_lies_now(tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for verb, config in (("pretrain", recipe("smoke").pretrain), ("demo", DemoConfig(seed=3))):
        (moved / "recipe.json").write_text(json.dumps({"verb": verb, "config": to_json(config)}))
        found, stored = stored_config(moved)
        place = stored if isinstance(stored, DemoConfig) else stored.run
        assert (found, place.runs, place.name) == (verb, tmp_path, "elsewhere")
