"""The verbs that look (world, eval, plot, doctor), and the demo on a person's own files."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from parrotlet.cli import main
from parrotlet.core.errors import UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, STAGES, read_json, write_json
from parrotlet.evals.band import band_for
from parrotlet.evals.curve import read_curves
from parrotlet.evals.timing import LEAST_STEPS, enough_steps
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.tokenizer import split_advice
from parrotlet.terminal.config import DemoConfig
from parrotlet.terminal.demo_stages import BASE, TIMES, TUNED, kept_in_time, stages_of
from parrotlet.train.checkpoint import find, load_tokenizer
from parrotlet.world.entities import World
from parrotlet.world.records import (
    ABILITIES,
    KINDS,
    NOT_GENERAL,
    TALKS,
    case,
    general_conversations,
    is_general,
    names_of,
)

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder: some text, and other things."""
    folder = tmp_path_factory.mktemp("mine")
    words = "The old boat went down the quiet river, and nobody saw where it came to rest. "
    (folder / "boat.txt").write_text(words * 300)
    (folder / "notes.md").write_text("# Notes\n\n" + "A boat needs paint and patience. " * 200)
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff" * 50)
    (folder / "zeros.txt").write_bytes(b"ab\0cd")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo on that folder."""
    runs = tmp_path_factory.mktemp("runs")
    command = ["demo", "--recipe", "smoke", "--data", str(folder), "--runs", str(runs)]
    assert main([*command, "--vocab-size", "400", "--no-chat", "--device", "cpu"]) == 0
    return runs / "demo"


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    capsys.readouterr()
    assert main([str(each) for each in arguments]) == status
    found = capsys.readouterr()
    return found.err if status else found.out


def test_a_demo_on_own_files_reports_them(run: Path, folder: Path) -> None:
    report, page = (run / "report.md").read_text(), (run / "report.html").read_text()
    for text in (report, page):
        assert "2 files skipped: " in text
        assert f"skipped {folder / 'photo.jpg'}: has a suffix that says no format" in text
        assert f"skipped {folder / 'zeros.txt'}: is binary, not text" in text
        assert "2 files, " in text and "bytes a token with a vocabulary of 400" in text
    known = json.loads((run / "data.json").read_text())
    assert f"{known['bytes'] / known['tokens']:.2f} bytes a token" in report
    # and the model was asked to go on from how the text begins
    text = (folder / "boat.txt").read_text()
    assert text.startswith(known["opening"] + " ") and 20 < len(known["opening"]) <= 40
    assert f"**{known['opening']}**" in report and f"“{known['opening']} …”" in page


def test_a_column_of_ones_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"who": "a poet", "name": str(number), "verses": ["the moon is high", f"night {number}"]}
        for number in range(60)
    ]
    poems = tmp_path / "poems.json"
    poems.write_text(json.dumps(rows))
    command = ["demo", "--recipe", "smoke", "--data", poems, "--runs", tmp_path, "--no-chat"]
    assert "name one with --column" in said(capsys, *command, status=1)
    command += ["--column", "verses", "--vocab-size", "300", "--device", "cpu"]
    said(capsys, *command)
    assert read_json(tmp_path / "demo" / "data.json")["documents"] > 50


def test_half_of_the_time_is_for_reading_ones_own_files(folder: Path) -> None:
    whole = {name: each.budget.minutes for name, each in stages_of(DemoConfig()).items()}
    own = stages_of(DemoConfig(data=(folder,)))
    timed = (whole["base"] or 0) + (whole["sft"] or 0)
    assert [each.budget.minutes for each in own.values()] == pytest.approx([timed / 2] * 2)
    asked = stages_of(DemoConfig(data=(folder,), minutes=8.0))
    assert [each.budget.minutes for each in asked.values()] == [4.0, 4.0]


@pytest.mark.parametrize(
    ("step_seconds", "minutes"), [(0.02, 5.6), (0.08, 5.6), (0.2, 4.633), (9.0, 2.8)]
)
def test_a_demo_keeps_its_time_on_a_slow_machine(
    tmp_path: Path, step_seconds: float, minutes: float
) -> None:
    config = DemoConfig(runs=tmp_path)
    tuned = stages_of(config)[TUNED]
    assert isinstance(tuned, SftConfig) and tuned.budget.minutes == 5.6
    (tmp_path / "demo" / BASE).mkdir(parents=True)
    line = {"step": 100, "seconds": 100 * step_seconds}
    JsonLines(tmp_path / "demo" / BASE / METRICS).append(line)
    write_json(
        tmp_path / "demo" / TIMES,
        {"pretraining": 100 * step_seconds + 14.0, "evaluation": 10.0},
    )
    kept = kept_in_time(config, tuned)
    # 9.0 minutes, less what is spent, twice what was no step of it, and 950 such steps; from half
    # of the recipe's to all of it
    assert kept.budget.minutes == pytest.approx(minutes, abs=0.001)
    for other in (replace(config, minutes=3.0), replace(config, data=(tmp_path,))):
        assert kept_in_time(other, tuned) == tuned
    (tmp_path / "demo" / TUNED).mkdir()
    write_json(tmp_path / "demo" / TUNED / RECIPE, {"config": {"budget": {"minutes": 4.5}}})
    assert kept_in_time(config, tuned).budget.minutes == 4.5  # decided before it was stopped


def test_a_demo_talks_for_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def three_steps(config: DemoConfig, tuned: SftConfig) -> SftConfig:
        return replace(tuned, budget=replace(tuned.budget, steps=3))

    monkeypatch.setattr("parrotlet.terminal.demo.kept_in_time", three_steps)
    assert main(["demo", "--recipe", "smoke", "--runs", str(tmp_path), "--no-chat"]) == 0
    steps = {each: read_json(tmp_path / "demo" / each / RECIPE)["steps"] for each in STAGES}
    assert steps == {"base": 6, "sft": 3, "dpo": 6, "rl": 6}


def test_it_is_asked_nothing_about_the_world(run: Path) -> None:
    abilities = json.loads((run / "abilities.json").read_text())
    assert abilities and not set(abilities) & set(NOT_GENERAL)
    names = names_of(World(0))
    for score in abilities.values():
        for failure in score["failures"]:
            assert failure["wanted"] is None or failure["wanted"].lower() not in names


def test_its_tokenizer_knows_the_talk_too(run: Path) -> None:
    tokenizer = load_tokenizer(find(run))
    assert tokenizer.vocab_size <= 400
    assert len(tokenizer.encode("What is the name?")) <= 8  # of 17 letters, none in the folder
    assert len(tokenizer.encode(" boat")) <= 3  # a third of so few tokens are other forms


def test_its_page_has_every_number_of_the_run(run: Path) -> None:
    page = (run / "report.html").read_text()
    for stage in ("base", "sft"):
        last = list(JsonLines(run / stage / "metrics.jsonl"))[-1]
        assert f"Step {last['step']} of {last['step']}" in page
        assert f"validation loss {last['validation_loss']:.3f}" in page
    for score in json.loads((run / "abilities.json").read_text()).values():
        assert f"{score['passed']:g} of {score['count']}" in page
    assert "What to try next" in page and "Where the time went" in page


def test_run_again_with_other_files_it_refuses(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text("Other words. " * 99)
    command = ["demo", "--recipe", "smoke", "--runs", run.parent, "--no-chat"]
    for changed in (["--data", tmp_path], []):
        assert "was made with data" in said(capsys, *command, *changed, status=1)


def test_general_conversations_say_nothing_of_the_world() -> None:
    names = names_of(World(0))
    assert "parrotlet" not in names and len(names) > 50
    made = list(general_conversations(World(0), 300))
    assert len(made) == 300 and all(is_general(names, each) for each in made)
    assert list(general_conversations(World(0), 20)) == made[:20]
    assert any(each.messages[0].role == "system" for each in made)
    assert set(NOT_GENERAL) - {"fact_documents"} <= set(TALKS)


def test_world_show(capsys: pytest.CaptureFixture[str]) -> None:
    every = said(capsys, "world", "show", "--count", 1)
    assert all(kind in every for kind in KINDS)
    two = said(capsys, "world", "show", "--kind", "recall_name", "--count", 2, "--seed", 7)
    assert two.count("assistant: ") >= 4
    assert "no kind of record 'nix'" in said(capsys, "world", "show", "--kind", "nix", status=2)
    assert "--count 0" in said(capsys, "world", "show", "--count", 0, status=2)
    asked = said(capsys, "world", "show", "--side", "test", "--count", 1)
    assert all(ability in asked for ability in ABILITIES)
    first = case(World(0), "fact", 0).conversation.messages[0].text
    assert first in " ".join(asked.split())
    nobody = said(capsys, "world", "show", "--side", "test", "--kind", "letter", status=2)
    assert "no test asks about the kind 'letter'" in nobody


def test_eval_prints_and_keeps(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = said(capsys, "eval", run, "bpb", "--data", ROOT / "README.md")
    kept = json.loads((run / "sft/eval-bpb.json").read_text())
    assert f"{kept['bits_per_byte']:.4f} bits per byte" in printed
    assert kept["bytes"] == len((ROOT / "README.md").read_bytes())
    assert "--data FILES" in said(capsys, "eval", run, "bpb", status=2)
    printed = said(capsys, "eval", run, "world", "--cases", 2, "--seed", 3)
    kept = json.loads((run / "sft/eval-world.json").read_text())
    assert kept["seed"] == 3 and "95% interval" in printed
    for name, score in kept["abilities"].items():
        assert name in printed and score["count"] == 2 and score["low"] <= score["rate"]
    ordered = kept["abilities"]["system"]["failures"]
    assert all(each["before"].startswith("system: ") for each in ordered)
    printed = said(capsys, "eval", run, "world/counting", "--cases", 2)
    kept = json.loads((run / "sft/eval-world-counting.json").read_text())
    assert list(kept["abilities"]) == ["counting"] and "spelling" not in printed
    for wrong in ("world/nix", "bpb/counting", "nix"):
        assert f"{wrong!r} is nothing to measure" in said(capsys, "eval", run, wrong, status=2)


def test_plot_writes_a_page_or_draws_here(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "curves.html"
    assert str(out.name) in said(capsys, "plot", run, run / "base", "--out", out).replace("\n", "")
    text = out.read_text()
    assert text.count("<svg") == 8 and "demo/base" in text and "demo/sft" in text
    drawn = said(capsys, "plot", run, "--terminal")
    assert "pretrain: training loss" in drawn and "sft: training loss" in drawn
    assert "no such folder" in said(capsys, "plot", tmp_path / "nothing", status=1)


def test_the_doctor_speaks(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "too few to judge" in said(capsys, "doctor", run)
    for name, losses in (("well", lambda step: 1 + 5 / step), ("ill", lambda step: step)):
        (tmp_path / name).mkdir()
        metrics = JsonLines(tmp_path / name / "metrics.jsonl")
        for step in range(1, 201):
            metrics.append({"step": step, "loss": losses(step), "lap": 0.1, "units": 1})
    assert "all is well" in said(capsys, "doctor", tmp_path / "well")
    found = said(capsys, "doctor", tmp_path / "ill")
    assert "diverging" in found and "is 195.500 at step 200" in found and "all is well" not in found


def test_a_band_made_from_runs_holds_for_them(run: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_bands", ROOT / "bench/band.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copytree(run, tmp_path / "again")
    written = module.bands("smoke", [run, tmp_path / "again"], tmp_path)
    assert [path.name for path in written] == ["smoke-pretrain.json", "smoke-sft.json"]
    band = band_for("smoke", "sft", tmp_path)
    curve = read_curves(run)[1]
    assert band is not None and band.runs == 2
    low, high = band.at(1.0)
    assert low < curve.smooth[-1] < high


def test_budgets_too_small_say_what_it_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enough_steps(1.0, 2.0) == 30
    with pytest.raises(UsageError, match=r"6 steps .* 100 steps take 17 minutes"):
        enough_steps(1.0, 10.0)
    assert enough_steps(LEAST_STEPS / 60, 1.0) == LEAST_STEPS
    command = ["pretrain", "--recipe", "smoke", "--runs", tmp_path]
    assert "too few to learn" in said(capsys, *command, "--minutes", 0.000001, status=2)
    demo = ["demo", "--recipe", "smoke", "--runs", tmp_path, "--minutes", 0.001]
    assert "its part of --minutes 0.001" in said(capsys, *demo, status=2)
    said(capsys, *command, "--steps", 2)  # the same name is free to be used


def test_seeds_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for verb in (["demo", "--runs", tmp_path], ["pretrain", "--runs", tmp_path], ["world", "show"]):
        for seed in ("-1", str(2**63)):
            assert f"--seed {seed}" in said(capsys, *verb, f"--seed={seed}", status=2)
    device = ["demo", "--runs", tmp_path, "--device", "tpu"]
    assert "--device 'tpu'" in said(capsys, *device, status=2)
    assert not list(tmp_path.iterdir())  # nothing is begun that cannot be
    assert main(["demo", "--seed", "one"]) == 2
    assert capsys.readouterr().err == "parrotlet: --seed one: that is not a whole number\n"
    assert main(["demo", "--minutes", "many"]) == 2
    assert capsys.readouterr().err == "parrotlet: --minutes many: that is not a number\n"
    with pytest.raises(SystemExit):
        main(["demo", "--nosuch", "3"])
    assert "--nosuch" in capsys.readouterr().err


def test_advice_on_splitting_by_hand() -> None:
    assert split_advice(3.4, 1.0, 1024) == ""
    chinese = split_advice(1.5, 3.0, 1024)
    assert "1.50 bytes a token, 0.50 characters" in chinese
    assert "takes 3.0 bytes" in chinese and "--vocab-size 4096" in chinese
    assert "script" not in split_advice(2.0, 1.0, 512)
    assert "0.80 characters" in split_advice(2.4, 3.0, 1280)  # above what is enough for English
    assert split_advice(3.5, 3.0, 8192) == ""
