"""Models of ours in transformers: the same model there, and the same bits when they come back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import foreign
import pytest
import torch
import transformers
from test_exchange_ids import pair

from parrotlet.core.errors import UsageError
from parrotlet.core.runtime import Runtime
from parrotlet.exchange.chat_tokens import add_chat_tokens
from parrotlet.exchange.export import export
from parrotlet.exchange.hf_import import import_folder
from parrotlet.model.build import build_model
from parrotlet.model.config import Architecture, ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.text.template import NATIVE
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe, train_char
from parrotlet.train.checkpoint import (
    MODEL,
    Checkpoint,
    find,
    load_model,
    load_tensors,
    load_tokenizer,
    load_weights,
    save_weights,
)

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
SHAPES: list[tuple[Architecture, bool, int]] = [
    ("gpt2", True, 4), ("gpt2", False, 4), ("qwen3", True, 2), ("qwen3", False, 1),
    ("swift", False, 4), ("swift", False, 2),
]  # fmt: skip


def tokenizer(kind: str = "bpe") -> Tokenizer:
    if kind == "char":
        return train_char([foreign.TEXT])
    return train_bpe([foreign.TEXT * 9], 400, NATIVE)


def made(
    directory: Path, arch: Architecture, tied: bool, kv_heads: int, kind: str = "bpe"
) -> Checkpoint:
    """A checkpoint of a random model, every parameter away from its first value."""
    words = tokenizer(kind)
    config = ModelConfig(
        arch=arch, vocab_size=words.vocab_size, context=64, depth=3, width=48, heads=4,
        kv_heads=kv_heads, head_width=12, mlp_width=100, norm_eps=1e-5, tied=tied,
        bigrams=2000 if arch == "swift" else 0,
    )  # fmt: skip
    model = build_model(config)
    generator = torch.Generator().manual_seed(3)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    weights = {name: each.detach() for name, each in model.named_parameters()}
    save_weights(directory, config, weights, words, stage="sft")
    return find(directory)


@pytest.mark.parametrize(("arch", "tied", "kv_heads"), SHAPES)
def test_there_and_back_again(
    arch: Architecture, tied: bool, kv_heads: int, tmp_path: Path
) -> None:
    checkpoint = made(tmp_path / "run", arch, tied, kv_heads)
    proved = export(checkpoint, "hf", tmp_path / "out")
    assert len(proved) == 3
    assert all("equal" in line for line in proved)
    back = find(import_folder(tmp_path / "out", tmp_path / "back"))
    assert back.config == checkpoint.config
    assert load_tokenizer(back) == load_tokenizer(checkpoint)
    before, after = (load_tensors(each.path / MODEL) for each in (checkpoint, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert all(line in card for line in proved)


def test_characters(tmp_path: Path) -> None:
    checkpoint = made(tmp_path / "run", "qwen3", True, 2, "char")
    export(checkpoint, "hf", tmp_path / "out")
    back = find(import_folder(tmp_path / "out", tmp_path / "back"))
    assert load_tokenizer(back) == load_tokenizer(checkpoint)


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_stock_classes_load_it(arch: Architecture, tmp_path: Path) -> None:
    checkpoint = made(tmp_path / "run", arch, True, 4)
    export(checkpoint, "hf", tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(theirs).__name__ in ("GPT2LMHeadModel", "Qwen3ForCausalLM")
    assert theirs.dtype == torch.float32
    ends = theirs.generation_config.eos_token_id
    words = load_tokenizer(checkpoint)
    assert set(ends) == {words.stop_id, words.bos_id}


@pytest.fixture
def swift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Checkpoint, Any]:
    """A swift, and the same loaded by the code in its own folder."""
    modules = transformers.dynamic_module_utils
    monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    checkpoint = made(tmp_path / "run", "swift", False, 2)
    export(checkpoint, "hf", tmp_path / "swift_out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "swift_out", trust_remote_code=True
    )
    assert type(theirs).__module__.startswith("transformers_modules")
    return checkpoint, theirs.eval()


@torch.no_grad()
def test_swift_brings_its_own_code(swift: tuple[Checkpoint, Any]) -> None:
    checkpoint, theirs = swift
    ids = torch.randint(400, (2, 40), generator=torch.Generator().manual_seed(1))
    expected = load_model(checkpoint, CPU)(ids, CausalContext.of(ids))
    torch.testing.assert_close(theirs(input_ids=ids).logits, expected, atol=1e-5, rtol=0)
    # through the cache, in two parts
    first = theirs(input_ids=ids[:, :25], use_cache=True)
    with pytest.raises(ValueError, match="previous_ids"):
        theirs(input_ids=ids[:, 25:], past_key_values=first.past_key_values)
    rest = theirs(
        input_ids=ids[:, 25:],
        past_key_values=first.past_key_values,
        previous_ids=ids[:, 24:25],
    )
    torch.testing.assert_close(rest.logits, expected[:, 25:], atol=1e-5, rtol=0)
    # padded on the left
    mask = torch.ones(2, 44, dtype=torch.long)
    mask[:, :4] = 0
    padded = torch.cat([ids.new_zeros(2, 4), ids], dim=1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    found = theirs(input_ids=padded, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(found[:, 4:], expected, atol=1e-5, rtol=0)
    last = theirs(input_ids=ids, labels=ids, logits_to_keep=0)
    nats = torch.nn.functional.cross_entropy(expected[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(last.loss, nats)


def test_generation_config_and_tokenizer_settings(tmp_path: Path) -> None:
    export(made(tmp_path / "run", "qwen3", True, 2), "hf", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "generation_config.json", "README.md",
    }  # fmt: skip
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (theirs.bos_token, theirs.eos_token) == ("<|bos|>", "<|end|>")
    assert theirs.model_max_length == 64
    value = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert value["do_sample"] is False


def test_chat_tokens_are_new_rows_near_the_mean(tmp_path: Path) -> None:
    folder = foreign.saved(tmp_path / "gpt2", foreign.gpt2_model(False), foreign.gpt2_tokenizer())
    plain = find(import_folder(folder, tmp_path / "plain"))
    said: list[str] = []
    grown = find(import_folder(folder, tmp_path / "grown", chat_tokens=True, say=said.append))
    assert "8 control tokens" in said[0]
    size = plain.config.vocab_size
    assert grown.config.vocab_size == size + 8 == load_tokenizer(grown).vocab_size
    before, after = load_tensors(plain.path / MODEL), load_tensors(grown.path / MODEL)
    for name in before:
        assert torch.equal(after[name][:size], before[name]), name
    fresh, old = after["head.weight"][size:], before["head.weight"]
    assert len({tuple(row.tolist()) for row in fresh}) == 8
    assert (fresh - old.mean(0)).abs().max() < old.std(0).max()
    export(grown, "hf", tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.convert_ids_to_tokens([size - 1, size]) == ["<|endoftext|>", "<|system|>"]
    assert theirs.chat_template is not None


def test_chat_tokens_use_the_rows_of_a_padded_vocabulary_first() -> None:
    words = pair("gpt2")[0]  # one control token
    config = ModelConfig(
        arch="gpt2", vocab_size=words.vocab_size + 20, context=8, depth=1, width=4, heads=1,
        kv_heads=1, head_width=4, mlp_width=4,
    )  # fmt: skip
    rows = torch.arange(config.vocab_size * 4.0).view(-1, 4)
    bigger, tensors, chat = add_chat_tokens(config, {"embed.weight": rows}, words)
    assert bigger == config
    assert chat.vocab_size == words.vocab_size + 8
    found = tensors["embed.weight"]
    assert torch.equal(found[: words.vocab_size], rows[: words.vocab_size])
    assert torch.equal(found[chat.vocab_size :], rows[chat.vocab_size :])
    assert not torch.equal(found, rows)


def test_chat_tokens_of_a_swift_grow_its_tables_of_values(tmp_path: Path) -> None:
    folder = foreign.saved(tmp_path / "gpt2", foreign.gpt2_model(False), foreign.gpt2_tokenizer())
    words = load_tokenizer(find(import_folder(folder, tmp_path / "plain")))
    config = ModelConfig(
        arch="swift", vocab_size=words.vocab_size, context=64, depth=3, width=48, heads=4,
        kv_heads=2, head_width=12, mlp_width=100, tied=False, bigrams=2000,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    larger, tensors, _ = add_chat_tokens(config, model.state_dict(), words)
    assert larger.vocab_size == config.vocab_size + 8
    load_weights(build_model(larger), tensors, tmp_path)
    every = replace(config, bigrams=config.vocab_size**2)
    with pytest.raises(UsageError, match="a row for every pair"):
        add_chat_tokens(every, model.state_dict(), words)
