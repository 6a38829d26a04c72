"""GGUF files: read back by the gguf package and by transformers, they are the same model."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from tiny_runs import PADDING, TEXT, checkpoint, own_tokenizer, random_weights, shape
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from parrotlet.cli import main
from parrotlet.core.errors import CheckpointError, UsageError
from parrotlet.exchange import gguf as module
from parrotlet.exchange.export import export
from parrotlet.exchange.gguf import rounding
from parrotlet.exchange.jinja import jinja_template
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.text.chat import Conversation, render
from parrotlet.text.template import NATIVE_UNSPACED
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_char
from parrotlet.train.checkpoint import Checkpoint, load_tensors

KINDS = ["f32", "f16", "bf16", "q8_0"]
SHAPES = list(product(["gpt2", "qwen3"], [True, False]))
# gguf's own names of tensors, and ours
THEIRS: dict[str, list[tuple[gguf.MODEL_TENSOR, tuple[str, ...]]]] = {
    "gpt2": [
        (gguf.MODEL_TENSOR.ATTN_NORM, ("attention_norm",)),
        (gguf.MODEL_TENSOR.ATTN_QKV, ("attention.query", "attention.key", "attention.value")),
        (gguf.MODEL_TENSOR.ATTN_OUT, ("attention.output",)),
        (gguf.MODEL_TENSOR.FFN_NORM, ("mlp_norm",)),
        (gguf.MODEL_TENSOR.FFN_UP, ("mlp.up",)),
        (gguf.MODEL_TENSOR.FFN_DOWN, ("mlp.down",)),
    ],
    "qwen3": [
        (gguf.MODEL_TENSOR.ATTN_NORM, ("attention_norm",)),
        (gguf.MODEL_TENSOR.ATTN_Q, ("attention.query",)),
        (gguf.MODEL_TENSOR.ATTN_K, ("attention.key",)),
        (gguf.MODEL_TENSOR.ATTN_V, ("attention.value",)),
        (gguf.MODEL_TENSOR.ATTN_Q_NORM, ("attention.query_norm",)),
        (gguf.MODEL_TENSOR.ATTN_K_NORM, ("attention.key_norm",)),
        (gguf.MODEL_TENSOR.ATTN_OUT, ("attention.output",)),
        (gguf.MODEL_TENSOR.FFN_NORM, ("mlp_norm",)),
        (gguf.MODEL_TENSOR.FFN_GATE, ("mlp.gate",)),
        (gguf.MODEL_TENSOR.FFN_UP, ("mlp.up",)),
        (gguf.MODEL_TENSOR.FFN_DOWN, ("mlp.down",)),
    ],
}
TOP = [
    (gguf.MODEL_TENSOR.TOKEN_EMBD, "embed"),
    (gguf.MODEL_TENSOR.POS_EMBD, "position_embed"),
    (gguf.MODEL_TENSOR.OUTPUT_NORM, "norm"),
    (gguf.MODEL_TENSOR.OUTPUT, "head"),
]


def exported(
    tmp_path: Path, config: ModelConfig, kind: Any = "f32", **more: Any
) -> tuple[Checkpoint, Path]:
    made = checkpoint(tmp_path / "run", config, **more)
    export(made, "gguf", tmp_path / "out", kind=kind)
    return made, tmp_path / "out"


def expected(made: Checkpoint) -> dict[str, torch.Tensor]:
    """Every tensor of the file by the name the gguf package has for it."""
    ours = load_tensors(made.path / "model.safetensors")
    found = {}
    for end in (".weight", ".bias"):
        for their_top, top in TOP:
            if top + end in ours:
                found[gguf.TENSOR_NAMES[their_top] + end] = ours[top + end]
        for layer, (theirs, parts) in product(range(2), THEIRS[made.config.arch]):
            names = [f"blocks.{layer}.{part}{end}" for part in parts]
            if names[0] in ours:
                name = gguf.TENSOR_NAMES[theirs].format(bid=layer) + end
                found[name] = torch.cat([ours[each] for each in names])
    assert sum(each.numel() for each in found.values()) == sum(e.numel() for e in ours.values())
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arch, tied", SHAPES)
def test_tensors(tmp_path: Path, arch: str, tied: bool, kind: str) -> None:
    made, out = exported(tmp_path, shape(arch, tied), kind)
    read = {each.name: each for each in gguf.GGUFReader(out / "model.gguf").tensors}
    wanted = expected(made)
    assert set(read) == set(wanted)
    for name, tensor in wanted.items():
        found, kept = read[name], read[name].tensor_type.name.lower()
        assert kept == (kind if tensor.ndim == 2 and "position" not in name else "f32"), name
        assert found.shape.tolist() == list(tensor.shape)[::-1]
        back = gguf.quants.dequantize(found.data, found.tensor_type)
        if kept == "f32":
            assert np.array_equal(back, tensor.numpy())
        elif kept == "q8_0":
            blocks = tensor.reshape(-1, 32)
            step = blocks.abs().amax(1, keepdim=True) / 127
            apart = torch.from_numpy(back.copy()).reshape(-1, 32) - blocks
            assert (apart.abs() <= 0.57 * step).all()
        else:
            there = tensor.to({"f16": torch.float16, "bf16": torch.bfloat16}[kept]).float()
            assert np.array_equal(back, there.numpy())


@pytest.mark.parametrize("arch, tied", SHAPES)
def test_transformers_reads_the_same_model(tmp_path: Path, arch: str, tied: bool) -> None:
    made, out = exported(tmp_path, shape(arch, tied))
    unread = {"n_positions": 96, "n_inner": 96} if arch == "gpt2" else {"head_dim": 24}
    config = transformers.AutoConfig.from_pretrained(out, gguf_file="model.gguf", **unread)
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    read = load_gguf_checkpoint(out / "model.gguf", return_tensors=True, model_to_load=theirs)
    missing = theirs.load_state_dict(read["tensors"], strict=False).missing_keys
    assert missing == ["lm_head.weight"] * tied, "what is tied is there once"
    theirs.tie_weights()
    ids = torch.randint(made.config.vocab_size, (2, 40))
    ours = build_model(made.config)
    ours.load_state_dict(load_tensors(made.path / "model.safetensors"))
    with torch.no_grad():
        logits = ours(ids, CausalContext.of(ids))
        torch.testing.assert_close(theirs(input_ids=ids).logits, logits, atol=1e-4, rtol=0)
    assert logits.std() > 0.5


def test_half_blocks_stay_exact(tmp_path: Path) -> None:
    _, out = exported(tmp_path, shape("qwen3", mlp_width=80), "q8_0")
    kinds = {each.name: each.tensor_type for each in gguf.GGUFReader(out / "model.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"].name == "F32"  # 80 is two and a half blocks
    assert kinds["blk.0.ffn_up.weight"].name == "Q8_0"


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_fields(tmp_path: Path, arch: str) -> None:
    made, out = exported(tmp_path, shape(arch), "bf16")
    fields = gguf.GGUFReader(out / "model.gguf").fields
    keys, tokenizer = gguf.Keys, own_tokenizer(arch)

    def field(key: str) -> Any:
        return fields[key.format(arch=arch)].contents()

    assert field(keys.General.ARCHITECTURE) == arch
    assert field(keys.General.FILE_TYPE) == gguf.LlamaFileType.MOSTLY_BF16
    assert field(keys.LLM.CONTEXT_LENGTH) == 96
    assert field(keys.LLM.EMBEDDING_LENGTH) == 64
    assert field(keys.LLM.BLOCK_COUNT) == 2
    assert field(keys.LLM.FEED_FORWARD_LENGTH) == 96
    assert field(keys.Attention.HEAD_COUNT) == 4
    if arch == "gpt2":
        assert field(keys.Attention.LAYERNORM_EPS) == pytest.approx(2e-5)
    else:
        assert field(keys.Attention.HEAD_COUNT_KV) == 2
        assert field(keys.Attention.KEY_LENGTH) == field(keys.Attention.VALUE_LENGTH) == 24
        assert field(keys.Attention.LAYERNORM_RMS_EPS) == pytest.approx(2e-5)
        assert field(keys.Rope.FREQ_BASE) == 5000
    tokens, types = field(keys.Tokenizer.LIST), field(keys.Tokenizer.TOKEN_TYPE)
    ordinary, specials = tokenizer.first_special, len(tokenizer.specials)
    assert len(tokens) == len(types) == made.config.vocab_size == len(set(tokens))
    assert tokens[tokenizer.stop_id] == tokenizer.template.stop
    assert tokens[tokenizer.encode(" the")[0]] == "Ġthe"
    kinds = gguf.TokenType
    assert (
        types == [kinds.NORMAL] * ordinary + [kinds.CONTROL] * specials + [kinds.UNUSED] * PADDING
    )
    assert field(keys.Tokenizer.PRE) == {"gpt2": "gpt-2", "qwen3": "qwen2"}[arch]
    assert field(keys.Tokenizer.MERGES)[0] == " ".join(tokens[256][at] for at in (0, 1))
    assert len(field(keys.Tokenizer.MERGES)) == ordinary - 256
    assert field(keys.Tokenizer.BOS_ID) == tokenizer.bos_id
    assert field(keys.Tokenizer.EOS_ID) == tokenizer.stop_id
    assert field(keys.Tokenizer.ADD_BOS) is True
    assert field(keys.Tokenizer.CHAT_TEMPLATE) == jinja_template(tokenizer.template)


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_transformers_reads_the_same_tokenizer(tmp_path: Path, arch: str) -> None:
    _, out = exported(tmp_path, shape(arch))
    theirs = transformers.AutoTokenizer.from_pretrained(out, gguf_file="model.gguf")
    ours = own_tokenizer(arch)
    for line in [*TEXT.splitlines(keepends=True), TEXT, "  a\n\n b ", "x" * 50]:
        assert theirs.encode(line, add_special_tokens=False) == ours.encode(line)
    talk = Conversation.of(("system", "Be brief."), ("user", "Hi 漢 \n"), ("assistant", "Hello."))
    messages = [{"role": each.role, "content": each.text} for each in talk.messages]
    found = theirs.apply_chat_template(messages, return_dict=False)
    assert found == render(talk, ours).ids


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_rounding_is_as_large_as_it_must_be(kind: Any) -> None:
    numbers = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    quant = gguf.GGMLQuantizationType[kind.upper()]
    back = gguf.quants.dequantize(gguf.quants.quantize(numbers, quant), quant)
    used = np.abs(back - numbers) / rounding(numbers, kind)
    assert 0.4 < used.max() <= 1


def test_what_the_proof_says(tmp_path: Path) -> None:
    made = checkpoint(tmp_path / "run", shape("qwen3"))
    exact = export(made, "gguf", tmp_path / "exact", kind="f32")
    assert "bit for bit" in exact[0] and exact[1].endswith(" by 0")
    rough = export(made, "gguf", tmp_path / "rough", kind="q8_0")
    assert 0 < float(rough[1].split()[-1]) < 1
    assert "within the rounding of f16" in export(made, "gguf", tmp_path / "left_out")[0]


@pytest.mark.parametrize("broken", ["tensor", "field"])
def test_nothing_is_left_of_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write = module._write

    def careless(
        library: Any, path: Any, config: Any, fields: Any, tensors: Any, kind: Any
    ) -> None:
        if broken == "tensor":
            tensors = {name: each + 1e-6 for name, each in tensors.items()}
        else:
            fields = fields | {"tokenizer.ggml.eos_token_id": 0}
        write(library, path, config, fields, tensors, kind)

    monkeypatch.setattr(module, "_write", careless)
    made = checkpoint(tmp_path / "run", shape("qwen3"))
    with pytest.raises(CheckpointError, match=r"token_embd|eos_token_id"):
        export(made, "gguf", tmp_path / "out", kind="f32")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_too_large_for_f16(tmp_path: Path) -> None:
    config = shape("qwen3")
    weights = random_weights(config)
    weights["blocks.1.mlp.up.weight"][0, 0] = 70_000
    made = checkpoint(tmp_path / "run", config, weights=weights)
    with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_up\.weight .* 7e\+04.* --kind f32"):
        export(made, "gguf", tmp_path / "out", kind="f16")
    assert not (tmp_path / "out").exists()
    export(made, "gguf", tmp_path / "out", kind="bf16")


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = own_tokenizer("qwen3")
    config = shape("qwen3")
    other_pattern = Tokenizer("bpe", own.tokens, own.template, r"\S+|\s+")
    no_merges = Tokenizer("bpe", own.tokens[:256], own.template, own.pattern)
    unordered = Tokenizer("bpe", own.tokens[:256] + own.tokens[:255:-1], own.template, own.pattern)
    for number, (tokenizer, said) in enumerate(
        [
            (train_char(["abc"], NATIVE_UNSPACED), "bpe tokenizer"),
            (other_pattern, "does not know"),
            (no_merges, "merges"),
            (unordered, "merges"),
        ]
    ):
        made = checkpoint(tmp_path / f"run{number}", config, tokenizer)
        with pytest.raises(UsageError, match=said):
            export(made, "gguf", tmp_path / "out")
    small = checkpoint(tmp_path / "small", replace(config, vocab_size=300))
    with pytest.raises(CheckpointError, match="300"):
        export(small, "gguf", tmp_path / "out")
    with pytest.raises(UsageError, match="--kind"):
        export(small, "hf", tmp_path / "out", kind="f16")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match=r"parrotlet\[export\]"):
        export(small, "gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_swift_is_told_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(shape("qwen3", tied=False), arch="swift")
    weights = {name: each.detach() for name, each in build_model(config).named_parameters()}
    made = checkpoint(tmp_path / "run", config, weights=weights)
    out = tmp_path / "out"
    assert main(["export", str(made.path), "--to", "gguf", "--out", str(out)]) == 2
    assert "--arch qwen3" in capsys.readouterr().err
    assert not out.exists()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, out = checkpoint(tmp_path / "run", shape("gpt2")), tmp_path / "out"
    command = ["export", str(made.path), "--to", "gguf", "--out", str(out), "--kind", "q8_0"]
    assert main(command) == 0
    assert "within the rounding of q8_0" in capsys.readouterr().out
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err


NATIVE_MODELFILE = '''FROM ./model.gguf
TEMPLATE """{{- range .Messages }}\
{{- if eq .Role "system" }}{{ "<|system|>" }}\
{{ if .Content }}{{ " " }}{{ .Content }}{{ end }}{{ "<|end|>" }}\
{{- else if eq .Role "user" }}{{ "<|user|>" }}\
{{ if .Content }}{{ " " }}{{ .Content }}{{ end }}{{ "<|end|>" }}\
{{- else if eq .Role "assistant" }}{{ "<|assistant|>" }}\
{{ if .Content }}{{ " " }}{{ .Content }}{{ end }}{{ "<|end|>" }}\
{{- end }}{{- end }}{{ "<|assistant|>" }}"""
PARAMETER stop "<|end|>"
PARAMETER num_ctx 96
'''


def test_modelfile(tmp_path: Path) -> None:
    _, out = exported(tmp_path, shape("qwen3"))
    assert (out / "Modelfile").read_text() == NATIVE_MODELFILE
    made = checkpoint(tmp_path / "base", shape("qwen3"), stage="base")
    export(made, "gguf", tmp_path / "texts")
    assert 'TEMPLATE """{{ " " }}{{ .Prompt }}"""' in (tmp_path / "texts/Modelfile").read_text()
