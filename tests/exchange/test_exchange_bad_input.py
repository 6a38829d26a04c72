"""Folders that cannot be imported and exports that cannot be made: one sentence, nothing left."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import pytest
import safetensors.torch
import torch

from parrotlet.cli import main
from parrotlet.core.errors import CheckpointError, RunError, UsageError
from parrotlet.exchange import export as exports
from parrotlet.exchange.export import EXPORTERS, export
from parrotlet.exchange.hf_import import import_folder
from parrotlet.train.checkpoint import Checkpoint, find

Change = Callable[[Path], None]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "qwen3"
    return foreign.saved(folder, foreign.qwen3_model(), foreign.qwen_tokenizer())


def settings(**changes: Any) -> Change:
    """A change of config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def apply(folder: Path) -> None:
        value = safetensors.torch.load_file(folder / WEIGHTS)
        change(value)
        safetensors.torch.save_file(value, folder / WEIGHTS)

    return apply


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "tokenizer.json"
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return apply


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of what the safetensors file says about itself."""

    def apply(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        value = json.loads(data[8 : 8 + size])
        change(value)
        said = json.dumps(value).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(said)) + said + data[8 + size :])

    return apply


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def renamed_index(name: str) -> Change:
    def apply(folder: Path) -> None:
        index = {"weight_map": {"model.norm.weight": name}}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
        (folder / WEIGHTS).unlink()

    return apply


def cut_short(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-100])


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def swapped(value: dict[str, Any]) -> None:
    merges = value["model"]["merges"]
    merges[0], merges[50] = merges[50], merges[0]


NORM = "model.norm.weight"
CASES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "architecture": (settings(model_type="llama"), ("'llama'", "gpt2 and qwen3")),
    "no config": (without("config.json"), ("config.json",)),
    "no number": (settings(hidden_size="40"), ("hidden_size", "'40'")),
    "heads": (settings(num_key_value_heads=3), ("4 heads cannot share 3",)),
    "sliding": (settings(use_sliding_window=True), ("use_sliding_window", "True")),
    "scaled": (
        settings(rope_parameters={"rope_type": "yarn", "rope_theta": 1.0, "factor": 4.0}),
        ("'yarn'", "factor"),
    ),
    "activation": (settings(hidden_act="gelu"), ("hidden_act", "'gelu'", "'silu'")),
    "missing": (tensors(lambda all: all.pop(NORM)), (f"missing {NORM}; extra none",)),
    "extra": (
        tensors(lambda all: all.update({"model.gate": torch.ones(2)})), ("extra model.gate",),
    ),
    "shape": (tensors(lambda all: all.update({NORM: torch.ones(41)})), (NORM, "(41,)", "(40,)")),
    "quantised": (
        tensors(lambda all: all.update({NORM: all[NORM].to(torch.int8)})), (NORM, "int8"),
    ),
    "depth": (settings(num_hidden_layers=10**9, layer_types=None), ("1000000000 layers",)),
    "pickle": (pickled, ("pytorch_model.bin", "save_pretrained")),
    "no weights": (without(WEIGHTS), ("no weights", WEIGHTS)),
    "shard missing": (renamed_index("model-00001.safetensors"), ("model-00001", "missing")),
    "shard elsewhere": (renamed_index("../../secret.safetensors"), ("'../../secret",)),
    "cut short": (cut_short, ("not a whole safetensors file",)),
    "lying shape": (
        header(lambda all: all[NORM].update(shape=[4000])), ("not a whole safetensors file",),
    ),
    "lying place": (
        header(lambda all: all[NORM].update(data_offsets=[0, 10**12])),
        ("not a whole safetensors file",),
    ),
    "lying overlap": (
        header(lambda all: all[NORM].update(all["model.layers.0.input_layernorm.weight"])),
        ("not a whole safetensors file",),
    ),
    "lying kind": (
        header(lambda all: all[NORM].update(dtype="F64")), ("not a whole safetensors file",),
    ),
    "lying header": (
        lambda folder: (folder / WEIGHTS).write_bytes(
            struct.pack("<Q", 2**62) + (folder / WEIGHTS).read_bytes()[8:]
        ),
        ("not a whole safetensors file",),
    ),
    "no tokenizer": (without("tokenizer.json"), ("no tokenizer", "vocab.json")),
    "too many tokens": (settings(vocab_size=300), ("the tokenizer has 4", "only 300 ids")),
    "other model": (tokenizer(lambda all: all["model"].update(type="WordPiece")), ("WordPiece",)),
    "other normaliser": (
        tokenizer(lambda all: all.update(normalizer={"type": "Lowercase"})), ("Lowercase",),
    ),
    "other cutting": (
        tokenizer(lambda all: all.update(pre_tokenizer={"type": "Whitespace"})), ("cuts text",),
    ),
    "order": (tokenizer(swapped), ("order of its merges",)),
    "gap": (
        tokenizer(lambda all: all["added_tokens"][-1].update(id=999)), ("999", "without a gap"),
    ),
    "strange content": (tokenizer(lambda all: all.pop("model")), ("unexpected content",)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_cannot_be_imported(
    case: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = CASES[case]
    folder = tmp_path / "theirs"
    shutil.copytree(good, folder)
    change(folder)
    assert main(["import", str(folder), "--runs", str(tmp_path / "runs"), "--name", "x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("parrotlet: ")
    assert said.count("\n") == 1, said
    for word in words:
        assert word in said, said
    assert not (tmp_path / "runs").exists()


def test_where_it_cannot_go(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["import", str(good), "--runs", str(tmp_path), "--name", "x"]
    assert main(command) == 0
    assert main(command) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main([*command[:-1], "../x"]) == 1
    assert "cannot name a run" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "nothing"), "--name", "y"]) == 1
    assert "nothing" in capsys.readouterr().err
    with pytest.raises(UsageError, match="already"):
        import_folder(good, tmp_path / "z", chat_tokens=True)
    assert not (tmp_path / "z").exists()


@pytest.fixture
def checkpoint(good: Path, tmp_path: Path) -> Checkpoint:
    return find(import_folder(good, tmp_path / "run", say=lambda _: None))


def test_exports_that_cannot_be_made(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--to onnx is not a format; there are hf"):
        export(checkpoint, "onnx", tmp_path / "out")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/kept").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    for name in ("there", "link", "file"):
        with pytest.raises(UsageError, match="exists already"):
            export(checkpoint, "hf", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "run", "there"]
    assert (tmp_path / "there/kept").read_text() == "mine"


@pytest.mark.parametrize("wrong", ["weights", "ids", "tokens"])
def test_an_export_that_does_not_prove_itself_leaves_nothing(
    wrong: str, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is altered on its way to the disk; the proof must notice."""
    original = exports.export_hf
    module = "parrotlet.exchange.hf_export"

    def alter(name: str, change: Callable[[Any], Any]) -> None:
        target = f"{module}.{name}"
        before: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
        monkeypatch.setattr(target, lambda *given: change(before(*given)))

    def worse(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return tensors | {NORM: tensors[NORM] * 1.01}

    def template_without_breaks(files: dict[str, Any]) -> dict[str, Any]:
        settings = files["tokenizer_config.json"]
        settings["chat_template"] = settings["chat_template"].replace("\\n", " ")
        return files

    def other_base(files: dict[str, Any]) -> dict[str, Any]:
        files["tokenizer.json"]["normalizer"] = None
        return files

    if wrong == "weights":
        alter("to_theirs", worse)
    elif wrong == "ids":
        alter("tokenizer_files", template_without_breaks)
    else:
        alter("tokenizer_files", other_base)
    assert EXPORTERS["hf"] is original
    with pytest.raises(CheckpointError, match="the export is not right"):
        export(checkpoint, "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("to", ["hf", "gguf"])
def test_a_disk_that_fills_up_leaves_nothing(
    to: str, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the export nor the folders that were made to hold it."""

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    target = "parrotlet.exchange.hf_export.write_file" if to == "hf" else "os.fsync"
    monkeypatch.setattr(target, full)
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*No space left on device.*--out"):
        export(checkpoint, to, tmp_path / "mine/new/deep/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "run"]
    assert list((tmp_path / "mine").iterdir()) == []


def test_without_transformers_it_says_how_to_get_it(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'parrotlet\[export\]'"):
        export(checkpoint, "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
