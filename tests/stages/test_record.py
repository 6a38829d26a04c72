"""What recipe.json keeps: settings, what was settled from them, and what may still be changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from parrotlet.cli import main
from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.rundir import METRICS, RECIPE, read_json, write_json
from parrotlet.recipes import RECIPES
from parrotlet.stages.config import BudgetConfig, RunConfig
from parrotlet.stages.config_pretrain import PretrainConfig, ShapeConfig
from parrotlet.stages.plan import make_plan, model_config
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.record import settle
from parrotlet.train.checkpoint import find, load_tensors
from parrotlet.train.drive import Progress

SMOKE = RECIPES["smoke"]


class Quiet:
    """A display that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, progress: Progress) -> None:
        pass


def config(runs: Path, name: str = "x") -> PretrainConfig:
    return replace(SMOKE.pretrain, run=RunConfig(runs=runs, name=name, device="cpu"))


def test_a_run_that_has_begun_keeps_rows_threads_and_dtype(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert pretrain(config(tmp_path), Quiet())
        recipe = read_json(tmp_path / "x" / RECIPE)
        assert (recipe["rows_per_step"], recipe["threads"]) == (8, 2)
        # as if it had begun on three ranks, with nine rows a step, in the other dtype
        settle(tmp_path / "x", {"rows_per_step": 9, "dtype": "bfloat16", "steps": 7})
        torch.set_num_threads(1)
        assert pretrain(config(tmp_path), Quiet())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    lines = (tmp_path / "x" / METRICS).read_text().splitlines()
    assert '"units": 1024,' in lines[5]
    assert '"units": 1152,' in lines[6]  # 9 rows of 128
    recipe = read_json(tmp_path / "x" / RECIPE)
    assert recipe["dtype"] == "bfloat16"
    weights = load_tensors(find(tmp_path / "x").path / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in weights.values())


def test_a_run_from_before_a_setting_was_added_goes_on(tmp_path: Path) -> None:
    assert pretrain(config(tmp_path), Quiet())
    path = tmp_path / "x" / RECIPE
    recipe = dict(read_json(path))
    del recipe["config"]["optim"]["dropout"]
    write_json(path, recipe)
    assert pretrain(config(tmp_path), Quiet()) == tmp_path / "x"
    changed = replace(config(tmp_path), optim=replace(SMOKE.pretrain.optim, dropout=0.2))
    with pytest.raises(RunError, match="other values of dropout"):
        pretrain(changed, Quiet())


def test_ranks_that_cannot_share_the_rows_are_refused() -> None:
    model = model_config(ShapeConfig(depth=1, context=64), 300)
    budget = BudgetConfig(steps=5, batch_tokens=512)
    plan = make_plan(
        model, budget, context=64, tokens_per_epoch=999, world_size=2, rows_per_step=12
    )
    assert (plan.rows_per_step, plan.micro_rows) == (12, 6)
    with pytest.raises(UsageError, match="12 rows in a step, which 5 ranks cannot share"):
        make_plan(model, budget, context=64, tokens_per_epoch=999, world_size=5, rows_per_step=12)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Status and standard error of a command."""
    capsys.readouterr()
    status = main([str(each) for each in arguments])
    return status, capsys.readouterr().err


def test_a_failed_attempt_leaves_its_name_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("It was a bright cold day, and every bird knew. " * 400 + "Zwölf Boxkämpfer. ")
    mine = tmp_path / "x" / "data" / "mine.txt"  # a run's folder may hold a person's files
    mine.parent.mkdir(parents=True)
    mine.touch()
    smoke = ["--recipe", "smoke", "--device", "cpu", "--runs", tmp_path, "--name"]
    command = ["pretrain", *smoke, "x", "--kind", "char", "--data"]
    assert run(capsys, *command, tmp_path / "txet.txt")[0] == 1  # a typo
    too_long = ["--context", 20_000, "--batch-tokens", 20_000]  # longer than the text
    assert run(capsys, *command, text, *too_long)[0] == 1
    assert run(capsys, *command, text, "--validation-fraction", 0.2)[0] == 0
    data = read_json(tmp_path / "x" / "data" / "manifest.json")
    assert data["made_from"]["split"]["validation_fraction"] == 0.2
    assert mine.exists()
    talk = tmp_path / "talk.jsonl"
    talk.write_text('{"prompt": "a", "response": "b"}\n' * 20)
    command = ["sft", tmp_path / "x", *smoke, "y"]
    assert run(capsys, *command, "--data", talk, "--context", 4096)[0] == 2
    assert not (tmp_path / "y").exists()
    assert run(capsys, *command, "--data", tmp_path / "tlak.jsonl")[0] == 1
    assert run(capsys, *command, "--data", talk)[0] == 0
    status, said = run(capsys, *command, "--data", talk, "--context", 64)
    assert (status, "other values of context" in said) == (1, True)


def test_going_on_needs_neither_the_folder_nor_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, talk = tmp_path / "text.txt", tmp_path / "talk.jsonl"
    text.write_text("It was a bright cold day, and every bird knew. " * 400)
    talk.write_text('{"prompt": "a", "response": "b"}\n' * 20)
    smoke = ["--recipe", "smoke", "--device", "cpu"]
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "pretrain", *smoke, "--kind", "char", "--data", "text.txt")[0] == 0
    assert run(capsys, "sft", "runs/smoke", *smoke, "--data", "talk.jsonl")[0] == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name, file in (("smoke", text), ("smoke-sft", talk)):
        whole = file.read_text()
        resume = ["resume", tmp_path / "runs" / name]
        assert run(capsys, *resume)[0] == 0
        file.write_text(whole + whole)
        assert run(capsys, *resume)[0] == 1  # another text
        file.unlink()
        assert main([str(each) for each in resume]) == 0
        assert "is gone" in " ".join(capsys.readouterr().out.split())
        file.write_text(whole)
    (tmp_path / "runs" / "smoke").rename(tmp_path / "moved")
    assert run(capsys, "resume", tmp_path / "runs" / "smoke-sft")[0] == 0
