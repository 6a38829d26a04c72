"""`parrotlet import NAME`: from a hub to a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign import gpt2_model, gpt2_tokenizer
from hub_server import Fault, Hub, serve

from parrotlet.cli import main
from parrotlet.core.runtime import Runtime
from parrotlet.model.context import CausalContext
from parrotlet.train.checkpoint import find, load_model

COMMIT = "c" * 40


def test_import_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = gpt2_model()
    theirs.save_pretrained(tmp_path / "theirs")
    gpt2_tokenizer().save_pretrained(tmp_path / "theirs")
    files = {path.name: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}
    hub = Hub("ann/small", {COMMIT: files}, {"main": COMMIT}, [Fault("/cdn/", cut=1000)])
    where = ["--runs", str(tmp_path / "runs"), "--downloads", str(tmp_path / "downloads")]
    with serve(hub):
        status = main(["import", "ann/small", "--endpoint", hub.address, *where])
        assert main(["import", "ann/none", "--endpoint", hub.address, *where]) == 1
    said = capsys.readouterr()
    assert status == 0 and COMMIT in said.out
    assert "there is no model ann/none" in said.err
    runtime = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
    ours = load_model(find(tmp_path / "runs" / "small"), runtime)
    ids = torch.randint(len(gpt2_tokenizer()), (1, 30))
    with torch.no_grad():
        wanted = theirs(input_ids=ids).logits
        torch.testing.assert_close(ours(ids, CausalContext.of(ids)), wanted, atol=1e-4, rtol=0)


def test_folders_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ann" / "small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["import", "ann/small", "--endpoint", "http://127.0.0.1:9"]) == 1
    said = capsys.readouterr()
    assert "config.json" in said.err and "hub" not in said.out


def test_what_cannot_be_a_name_is_a_missing_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(tmp_path / "nothing")]) == 1
    assert "does not exist" in capsys.readouterr().err
