"""Pretraining that goes on with weights that are there: whose shape and tokenizer, which bits."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_resume import Stopping, bits, losses

from parrotlet.cli import main
from parrotlet.core.errors import CheckpointError, UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import RECIPE, read_json
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.optim.config import OptimizerConfig
from parrotlet.recipes import RECIPES
from parrotlet.stages.config import BudgetConfig, RunConfig
from parrotlet.stages.config_pretrain import DataConfig, PretrainConfig, TokenizerConfig
from parrotlet.stages.plan import LONGEST_ROW, row_length, shape_of
from parrotlet.stages.pretrain import pretrain
from parrotlet.text import bpe
from parrotlet.text.template import NATIVE
from parrotlet.text.tokenizer import FILE_NAME, Tokenizer
from parrotlet.train.checkpoint import find, load_tensors, load_tokenizer, save_weights

TEXT = "It was a bright cold day, and every bird knew that the clocks were striking thirteen. "
PADDED = 5  # ids that no token has, as in published models
SMOKE = RECIPES["smoke"].pretrain
STILL = OptimizerConfig(matrix_lr=0, embedding_lr=0, head_lr=0, scalar_lr=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text, and a model as an import leaves it: step 0, no training state, another split."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "text.txt").write_text("\n\n".join(f"{TEXT * 9}{n}." for n in range(40)))
    tokens = tuple(bpe.vocabulary(bpe.train([TEXT * 9], 60, bpe.QWEN2_PATTERN)))
    tokenizer = Tokenizer("bpe", tokens, NATIVE, bpe.QWEN2_PATTERN)
    shape = ModelConfig(
        arch="qwen3", vocab_size=tokenizer.vocab_size + PADDED, context=64, depth=1, width=32,
        heads=2, kv_heads=1, head_width=24, mlp_width=48, tied=False, rope_base=5000.0,
    )  # fmt: skip
    model = build_model(shape)
    model.init_weights(torch.Generator().manual_seed(5))
    weights = {name: value.detach() for name, value in model.named_parameters()}
    save_weights(folder / "theirs", shape, weights, tokenizer, stage="import")
    return folder


def config(folder: Path, name: str, steps: int = 6) -> PretrainConfig:
    start = folder / "theirs"
    return PretrainConfig(
        start=start,
        run=RunConfig(runs=folder, name=name, device="cpu"),
        data=DataConfig(data=(folder / "text.txt",)),
        shape=shape_of(find(start).config),
        budget=BudgetConfig(steps=steps, batch_tokens=256),
        optim=OptimizerConfig(matrix_lr=0.01, embedding_lr=0.01, warmup_steps=0),
        prompts=("It was",),
    )


def test_weights_shape_and_tokenizer_are_those_it_starts_from(folder: Path) -> None:
    assert pretrain(replace(config(folder, "still", steps=1), optim=STILL), Stopping())
    theirs, ours = find(folder / "theirs"), find(folder / "still")
    assert (ours.config, ours.stage, ours.step) == (theirs.config, "base", 1)
    assert load_tokenizer(ours).fingerprint == load_tokenizer(theirs).fingerprint
    before = load_tensors(theirs.path / "model.safetensors")
    after = load_tensors(ours.path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_it_learns_and_can_be_started_from_again(folder: Path) -> None:
    assert pretrain(config(folder, "once", steps=30), Stopping())
    first = [value for _, value in losses(folder / "once")]
    assert first[-1] < first[0] - 1
    again = replace(config(folder, "twice"), start=folder / "once")
    assert pretrain(again, Stopping())
    assert losses(folder / "twice")[0][1] < first[0] - 1


def test_stopped_and_resumed_is_never_stopped(folder: Path) -> None:
    assert pretrain(config(folder, "whole"), Stopping())
    stopped = config(folder, "stopped")
    assert pretrain(stopped, Stopping(1, by=signal.SIGINT)) is None
    assert pretrain(stopped, Stopping(3, by=signal.SIGTERM)) is None
    assert main(["resume", str(folder / "stopped")]) == 0
    assert bits(folder / "stopped") == bits(folder / "whole")
    assert losses(folder / "stopped") == losses(folder / "whole")


def test_going_on_does_not_need_what_it_started_from(folder: Path) -> None:
    start = folder / "leaving"
    shutil.copytree(folder / "theirs", start)
    begun = replace(config(folder, "left"), start=start)
    assert pretrain(begun, Stopping(1)) is None
    start.rename(folder / "elsewhere")
    assert main(["resume", str(folder / "left")]) == 0
    assert pretrain(config(folder, "stayed"), Stopping())
    assert bits(folder / "left") == bits(folder / "stayed")
    with pytest.raises(CheckpointError, match="leaving does not exist"):
        pretrain(replace(begun, run=replace(begun.run, name="new")), Stopping())
    assert not (folder / "new").exists()


def test_shorter_rows(folder: Path) -> None:
    whole = config(folder, "short", steps=2)
    assert pretrain(replace(whole, shape=replace(whole.shape, context=16)), Stopping())
    assert find(folder / "short").config.context == 64
    assert read_json(folder / "short" / RECIPE)["rows_per_step"] == 16
    assert [each["units"] for each in JsonLines(folder / "short" / "metrics.jsonl")] == [256] * 2


def test_a_long_context_is_not_the_length_of_rows() -> None:
    long = ModelConfig(
        arch="qwen3", vocab_size=300, context=40_960, depth=1, width=32, heads=2, kv_heads=2,
        head_width=16, mlp_width=48, tied=True,
    )  # fmt: skip
    assert shape_of(long).context == row_length(None, long) == LONGEST_ROW < long.context
    assert row_length(9_000, long) == 9_000


def command(folder: Path, *flags: str) -> list[str]:
    place = ["--runs", str(folder / "by-command"), "--device", "cpu"]
    data = ["--data", str(folder / "text.txt"), "--steps", "2", "--batch-tokens", "256"]
    return ["pretrain", "--recipe", "smoke", *place, *data, *flags]


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["--start", str(folder / "theirs")]
    assert main(command(folder, *start, "--dry-run")) == 0
    said = capsys.readouterr().out
    assert f"vocabulary  {find(folder / 'theirs').config.vocab_size:,}\n" in said
    agreeing = ["--arch", "qwen3", "--width", "32", "--tokenizer", str(folder / "theirs")]
    assert main(command(folder, *start, *agreeing)) == 0
    assert find(folder / "by-command/smoke").config == find(folder / "theirs").config
    assert main(["resume", str(folder / "by-command/smoke"), "--dry-run"]) == 0


@pytest.mark.parametrize(
    "flags, said",
    [
        ("--arch gpt2", "--arch gpt2: the model of --start {start} has arch qwen3"),
        ("--depth 2", "has depth 1, and keeps it; leave --depth out"),
        ("--kv-heads 2", "has kv-heads 1"),
        ("--mlp-width 64", "has mlp-width 48"),
        ("--context 128", "--context 128 is longer than the model's 64"),
        ("--kind char", "--kind: for a tokenizer that is trained"),
        ("--vocab-size 600 --world-talk 9", "--vocab-size and --world-talk: for a tokenizer that"),
        ("--tokenizer {other}", "--tokenizer {other} is another than that of --start {start}"),
    ],
)
def test_what_contradicts_it_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, said: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Tokenizer("bpe", tuple(bpe.vocabulary([])), NATIVE, bpe.QWEN2_PATTERN).save(other)
    assert (other / FILE_NAME).exists()
    names = {"start": folder / "theirs", "other": other}
    start = ["--start", str(folder / "theirs"), "--name", "refused"]
    assert main(command(folder, *start, *flags.format(**names).split())) == 2
    found = capsys.readouterr().err
    assert said.format(**names) in found and found.count("\n") == 1
    assert not (folder / "by-command/refused").exists()


def test_a_start_that_is_no_checkpoint(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, flags in ((tmp_path / "none", []), (tmp_path, []), (tmp_path, ["--dry-run"])):
        assert main(command(folder, "--start", str(place), "--name", "refused", *flags)) == 1
        assert f"{place} holds no checkpoint" in capsys.readouterr().err
    broken = tmp_path / "broken"
    shutil.copytree(folder / "theirs", broken)
    weights = broken / "step_000000" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert main(command(folder, "--start", str(broken), "--name", "refused")) == 1
    assert "model.safetensors" in capsys.readouterr().err
    assert not (folder / "by-command/refused").exists()
    with pytest.raises(UsageError, match="has arch qwen3"):  # the same from Python
        wrong = replace(config(folder, "refused"), shape=replace(SMOKE.shape, arch="gpt2"))
        pretrain(wrong, Stopping())
    with pytest.raises(UsageError, match="--vocab-size: for a tokenizer that is trained"):
        wrong = replace(config(folder, "refused"), text=TokenizerConfig(vocab_size=999))
        pretrain(wrong, Stopping())
