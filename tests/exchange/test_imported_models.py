"""The shapes that are published, and what can be done with a model once it is here."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import foreign
import pytest
import torch
import transformers

from parrotlet.cli import main
from parrotlet.core.log import JsonLines
from parrotlet.core.runtime import Runtime
from parrotlet.exchange.hf_config import config_json, read_config
from parrotlet.exchange.hf_import import import_folder
from parrotlet.exchange.names import their_shapes
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.cost import num_parameters
from parrotlet.train.checkpoint import find, load_model, load_tokenizer

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)


def gpt2(width: int, depth: int, heads: int) -> dict[str, Any]:
    """What config.json of the published model says that matters here."""
    return {
        "model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "n_ctx": 1024, "n_positions": 1024, "vocab_size": 50257,
        "n_embd": width, "n_layer": depth, "n_head": heads,
    }  # fmt: skip


def qwen3(width: int, mlp: int, depth: int, heads: int, tied: bool) -> dict[str, Any]:
    """The same, as transformers 4 wrote it: rope_theta at the top, sliding windows off."""
    return {
        "model_type": "qwen3", "attention_bias": False, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": depth,
        "num_attention_heads": heads, "num_key_value_heads": 8, "max_position_embeddings": 40960,
        "max_window_layers": depth, "rms_norm_eps": 1e-6, "rope_scaling": None,
        "rope_theta": 1000000, "sliding_window": None, "use_sliding_window": False,
        "tie_word_embeddings": tied, "vocab_size": 151936, "torch_dtype": "bfloat16",
    }  # fmt: skip


# with the number of parameters, a tied matrix counted once
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "gpt2": (gpt2(768, 12, 12), 124_439_808),
    "gpt2-medium": (gpt2(1024, 24, 16), 354_823_168),
    "gpt2-large": (gpt2(1280, 36, 20), 774_030_080),
    "gpt2-xl": (gpt2(1600, 48, 25), 1_557_611_200),
    "Qwen3-0.6B": (qwen3(1024, 3072, 28, 16, True), 596_049_920),
    "Qwen3-1.7B": (qwen3(2048, 6144, 28, 16, True), 1_720_574_976),
    "Qwen3-4B": (qwen3(2560, 9728, 36, 32, True), 4_022_468_096),
    "Qwen3-8B": (qwen3(4096, 12288, 36, 32, False), 8_190_735_360),
}
SMALLER = {
    "gpt2": {"n_layer": 1, "n_positions": 64},
    "qwen3": {"num_hidden_layers": 1, "max_window_layers": 1, "torch_dtype": "float32"},
}
QUICK = ("gpt2", "Qwen3-0.6B")


def read(folder: Path, values: dict[str, Any]) -> ModelConfig:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return read_config(folder)


def theirs_of(values: dict[str, Any]) -> Any:
    """transformers' model of a config.json, on the device that is current."""
    known = {name: value for name, value in values.items() if name != "model_type"}
    config = transformers.AutoConfig.for_model(values["model_type"], **known)
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_have_transformers_tensors(name: str, tmp_path: Path) -> None:
    values, parameters = PUBLISHED[name]
    config = read(tmp_path, values)
    with torch.device("meta"):
        theirs = theirs_of(values)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    if config.tied:
        del shapes["lm_head.weight"]
    assert their_shapes(config) == shapes
    assert num_parameters(config) == parameters
    assert read(tmp_path, config_json(config)) == config


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in PUBLISHED],
)
def test_published_widths_give_transformers_logits(name: str, tmp_path: Path) -> None:
    """Every width and number of heads as published; one block, and a vocabulary for testing."""
    values = PUBLISHED[name][0]
    kind = values["model_type"]
    tokenizer = foreign.gpt2_tokenizer() if kind == "gpt2" else foreign.qwen_tokenizer()
    torch.manual_seed(3)
    theirs = foreign.scrambled(theirs_of(values | SMALLER[kind] | {"vocab_size": len(tokenizer)}))
    folder = foreign.saved(tmp_path / "theirs", theirs, tokenizer)
    made = find(import_folder(folder, tmp_path / "run", say=lambda _: None))
    assert replace(made.config, depth=1, vocab_size=9) == replace(
        read(tmp_path / "whole", values), depth=1, vocab_size=9, context=made.config.context
    )
    ids = torch.randint(len(tokenizer), (1, 24))
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        found = load_model(made, CPU)(ids, CausalContext.of(ids))
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Path:
    """A run of a tiny model made by transformers, and text and talks to learn from."""
    if request.param == "gpt2":
        made = foreign.gpt2_model(n_positions=256), foreign.gpt2_tokenizer()
    else:
        made = foreign.qwen3_model(max_position_embeddings=256), foreign.qwen_tokenizer()
    foreign.saved(tmp_path / request.param, *made)
    (tmp_path / "text.txt").write_text(foreign.TEXT * 60)
    rows = [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(40)]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    more = ["--chat-tokens"] if request.param == "gpt2" else []
    assert main(["import", request.param, *more]) == 0
    return tmp_path / "runs" / request.param


@pytest.mark.parametrize("imported", ["gpt2", "qwen3"], indirect=True)
def test_an_imported_model_is_like_our_own(
    imported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu, runs = ["--device", "cpu"], imported.parent
    for verb in (["sample"], ["sft"], ["pretrain", "--start"], ["chat"]):
        assert main([*verb, str(imported), "--dry-run"]) == 0
    assert "vocabulary" in capsys.readouterr().out
    read_more = ["pretrain", "--start", str(imported), "--data", "text.txt", "--name", "read"]
    few = ["--batch-tokens", "512", *cpu]
    assert main([*read_more, *few, "--steps", "25", "--evaluate-every", "5"]) == 0
    curve = [each["validation_loss"] for each in JsonLines(runs / "read/metrics.jsonl")
             if "validation_loss" in each]  # fmt: skip
    assert curve[-1] < curve[0] - 0.5
    tune = ["sft", str(runs / "read"), "--data", "talks.jsonl", "--name", "tuned", *few]
    assert main([*tune, "--steps", "40"]) == 0
    assert main(["resume", str(runs / "tuned")]) == 0
    tuned = find(runs / "tuned")
    assert tuned.config == find(imported).config
    assert load_tokenizer(tuned).fingerprint == load_tokenizer(find(imported)).fingerprint
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 7?\n/quit\n"))
    assert main(["chat", str(runs / "tuned"), "--max-tokens", "20", *cpu]) == 0
    assert "It is" in capsys.readouterr().out
    assert main(["eval", str(runs / "tuned"), "world", "--cases", "1", *cpu]) == 0
    assert main(["eval", str(runs / "tuned"), "bpb", "--data", "text.txt", *cpu]) == 0
    assert "bits per byte" in capsys.readouterr().out
    assert main(["export", str(runs / "tuned"), "--to", "gguf", "--out", "out"]) == 0
    assert Path("out/model.gguf").stat().st_size > 100_000
