"""DPO as a stage: stopped is never stopped, the reference is computed once, the metrics say how."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_resume import SMOKE, Stopping, bits, check, pretrain_config, sft_config

from parrotlet.core.errors import DataError, UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import read_json
from parrotlet.stages import dpo as dpo_module
from parrotlet.stages.config import RunConfig
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.dpo import dpo
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.sft import sft

KEPT = "reference/reference.npy"


def dpo_config(runs: Path, name: str) -> DpoConfig:
    run = RunConfig(runs=runs, name=name, device="cpu", dtype="float32")
    return replace(SMOKE.dpo, start=runs / "sft", run=run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fine-tuned model, and a run of DPO that was never stopped."""
    folder = tmp_path_factory.mktemp("runs")
    assert pretrain(pretrain_config(folder, "base"), Stopping())
    assert sft(sft_config(folder, "sft"), Stopping())
    assert dpo(dpo_config(folder, "dpo"), Stopping()) == folder / "dpo"
    return folder


def test_stopped_is_never_stopped(runs: Path) -> None:
    check(lambda name, display: dpo(dpo_config(runs, name), display), runs, "dpo")


def test_what_the_metrics_say(runs: Path) -> None:
    lines = list(JsonLines(runs / "dpo/metrics.jsonl"))
    first, last = lines[0], lines[-1]
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)  # the policy is the reference
    assert first["drift"] == pytest.approx(0, abs=1e-5) and last["drift"] > 1e-4
    margin = last["reward_chosen"] - last["reward_rejected"]
    assert last["margin"] == pytest.approx(margin, abs=1e-6)
    assert read_json(runs / "dpo/recipe.json")["before"]["validation_accuracy"] == 0.5
    assert last["validation_loss"] < 0.6931
    assert 0 <= last["validation_preferred"] <= 1


def test_the_reference_is_computed_once_and_hashed(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("computed again")

    before = bits(runs / "dpo")
    monkeypatch.setattr(dpo_module, "reference_of", never)
    assert dpo(dpo_config(runs, "dpo"), Stopping())
    assert bits(runs / "dpo") == before
    kept = runs / "dpo/data/train" / KEPT
    data = kept.read_bytes()
    kept.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match="was altered"):
        dpo(dpo_config(runs, "dpo"), Stopping())
    kept.write_bytes(data)


def test_pairs_and_reference_are_of_the_model_that_is_started_from(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model under the same name: all is made anew before the first step, refused after."""

    def killed(*arguments: object) -> None:
        raise MemoryError

    start = tmp_path / "start"
    config = replace(dpo_config(runs, "moved"), start=start)
    shutil.copytree(runs / "sft", start)
    with monkeypatch.context() as patched:
        patched.setattr(dpo_module, "run_stage", killed)
        with pytest.raises(MemoryError):
            dpo(config, Stopping())
    made = runs / "moved/data/validation"
    before = read_json(made / "manifest.json")["key"], (made / KEPT).read_bytes()
    shutil.rmtree(start)
    shutil.copytree(runs / "dpo", start)
    assert dpo(config, Stopping(1)) is None
    after = read_json(made / "manifest.json")["key"], (made / KEPT).read_bytes()
    assert after[0] != before[0] and after[1] != before[1]
    shutil.rmtree(start)
    shutil.copytree(runs / "sft", start)
    with pytest.raises(DataError, match="rows made from other"):
        dpo(config, Stopping())


def test_own_pairs_cut_and_counted(runs: Path, tmp_path: Path) -> None:
    long = [("user", "one two three " * 20), ("assistant", "four five six " * 20)] * 2
    turns = [{"role": role, "content": text} for role, text in long]
    records = [
        {
            "prompt": [*turns, {"role": "user", "content": f"What is {index}?"}],
            "chosen": "Yes.",
            "rejected": "No." if index else "Yes.",
        }
        for index in range(12)
    ]
    records.append({"prompt": "word " * 500, "chosen": "a", "rejected": "b"})
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in records))
    config = dpo_config(runs, "own")
    config = replace(config, data=replace(config.data, data=(file,)))
    display = Stopping()
    assert dpo(config, display)
    said = "\n".join(display.said)
    assert "whose oldest turns were cut to fit" in said
    assert "left out as too long" in said
    assert "read as: 13 of chosen and rejected" in said
    assert "1 bad record left out" in said and "are equal" in said


@pytest.mark.parametrize("change", [{"beta": 0.0}, {"smoothing": 0.5}])
def test_bounds(change: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(change))} "):
        replace(SMOKE.dpo, pairs=replace(SMOKE.dpo.pairs, **change))
