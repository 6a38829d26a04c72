"""What is printed to be copied works when it is pasted into a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from parrotlet.cli import main
from parrotlet.stages import pretrain as pretrain_stage
from parrotlet.terminal.demo import _timed

SMOKE = ["--recipe", "smoke", "--device", "cpu"]


def test_done_and_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    runs = tmp_path / "my [bold] runs" / ("long" * 20)
    text = tmp_path / "text.txt"
    text.write_text("only small letters, again and again. " * 99)
    arguments = ["pretrain", *SMOKE, "--kind", "char", "--data", str(text), "--runs", str(runs)]
    assert main([*arguments, "--prompts", "Once", "again's"]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("done:")]
    words = shlex.split(line.split("Next: ")[1])
    assert words == ["parrotlet", "sample", str(runs / "smoke")]  # neither "O" nor "'" was learned
    assert main([*arguments, "--prompts", "Once", "again and"]) == 1  # other prompts: another run
    assert main([*arguments, "--name", "b", "--prompts", "Once", "again and"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"{runs / 'b'}' 'again and'")

    monkeypatch.setattr(pretrain_stage, "pretrain", lambda config, display: None)  # a signal
    assert main([*arguments, "--name", "c"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(line.split(": ", 1)[1]) == ["parrotlet", "resume", str(runs / "c")]


def test_times_count_what_failed_and_what_was_killed(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    lines = ['{"step": 1, "seconds": 30.5}', '{"step": 2, "seconds": 61.0}']
    (tmp_path / "base/metrics.jsonl").write_text("\n".join(lines))  # of a killed process
    with pytest.raises(KeyError), _timed(tmp_path, "pretraining", "base"):
        raise KeyError
    assert json.loads((tmp_path / "times.json").read_text()) == {"pretraining": 61.0}
    with _timed(tmp_path, "evaluation"):
        pass
    assert json.loads((tmp_path / "times.json").read_text())["evaluation"] == 0.0
