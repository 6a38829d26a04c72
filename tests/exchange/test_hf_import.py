"""What transformers saves becomes a checkpoint of ours that gives the same logits and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import foreign
import pytest
import safetensors.torch
import torch
import transformers

from parrotlet.chat.generate import GenerateSettings, complete
from parrotlet.cli import main
from parrotlet.core.errors import CheckpointError
from parrotlet.core.runtime import Runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.exchange.export import export
from parrotlet.exchange.hf_import import import_folder
from parrotlet.model.context import CausalContext
from parrotlet.text.chat import Conversation, render, render_prompt
from parrotlet.train.checkpoint import Checkpoint, find, load_model, load_tokenizer, restore

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What does the fox say? 12 + 30"},
    {"role": "assistant", "content": " Nothing.\n\nNobody knows cafe\u0301."},
]


def imported(folder: Path, tmp_path: Path, **options: Any) -> tuple[Checkpoint, list[str]]:
    said: list[str] = []
    made = import_folder(folder, tmp_path / "run", say=said.append, **options)
    assert made == tmp_path / "run/step_000000"
    return find(tmp_path / "run"), said


def assert_same_logits(checkpoint: Checkpoint, theirs: Any) -> None:
    ids = torch.randint(theirs.config.vocab_size, (3, 40), generator=torch.Generator())
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        found = load_model(checkpoint, CPU)(ids, CausalContext.of(ids))
    assert expected.std() > 0.1, "the reference says nothing"
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_gpt2(tied: bool, shard: str, tmp_path: Path) -> None:
    theirs = foreign.gpt2_model(tied, n_inner=100)
    folder = foreign.saved(
        tmp_path / "gpt2", theirs, foreign.gpt2_tokenizer(), max_shard_size=shard
    )
    assert (folder / "model.safetensors.index.json").exists() == (shard == "20KB")
    checkpoint, said = imported(folder, tmp_path)
    assert_same_logits(checkpoint, theirs)
    assert checkpoint.config.tied == tied
    assert "no chat template" in said[0]
    tokenizer = load_tokenizer(checkpoint)
    assert tokenizer.bos_id == tokenizer.stop_id == theirs.config.eos_token_id


@pytest.mark.parametrize(
    ("tied", "changes"),
    [
        (True, {}),
        (False, {"num_key_value_heads": 4, "head_dim": 10}),
        (False, {"num_key_value_heads": 1, "rope_parameters": {"rope_theta": 1e6}}),
    ],
)
def test_qwen3(tied: bool, changes: dict[str, Any], tmp_path: Path) -> None:
    if "rope_parameters" in changes:
        changes["rope_parameters"]["rope_type"] = "default"
    theirs = foreign.qwen3_model(tied, **changes)
    folder = foreign.saved(tmp_path / "qwen3", theirs, foreign.qwen_tokenizer())
    checkpoint, said = imported(folder, tmp_path)
    assert_same_logits(checkpoint, theirs)
    assert "padded" in said[0]
    assert "ChatML" in said[1]


def test_rope_theta_at_the_top_as_transformers_4_has_it(tmp_path: Path) -> None:
    theirs = foreign.qwen3_model()
    folder = foreign.saved(tmp_path / "qwen3", theirs, foreign.qwen_tokenizer())
    value = json.loads((folder / "config.json").read_text())
    del value["rope_parameters"]
    value |= {"rope_theta": 5_000, "rope_scaling": None}
    (folder / "config.json").write_text(json.dumps(value))
    assert_same_logits(imported(folder, tmp_path)[0], theirs)


def test_bfloat16_becomes_float32_exactly(tmp_path: Path) -> None:
    half = foreign.qwen3_model().to(torch.bfloat16)
    folder = foreign.saved(tmp_path / "qwen3", half, foreign.qwen_tokenizer())
    theirs = transformers.Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert_same_logits(imported(folder, tmp_path)[0], theirs.eval())


def test_gpt2_as_it_was_first_published(tmp_path: Path) -> None:
    """No prefix, causal masks among the weights, vocab.json and merges.txt, a bare config."""
    theirs = foreign.gpt2_model()
    folder = foreign.saved(tmp_path / "gpt2", theirs, foreign.gpt2_tokenizer())
    tensors = {
        name.removeprefix("transformer."): value
        for name, value in safetensors.torch.load_file(folder / "model.safetensors").items()
    }
    for layer in range(2):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    tokenizer = foreign.gpt2_tokenizer()
    vocab = tokenizer.get_vocab()
    (folder / "vocab.json").write_text(json.dumps(vocab))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    checkpoint, _ = imported(folder, tmp_path)
    assert_same_logits(checkpoint, theirs)
    assert load_tokenizer(checkpoint).encode(foreign.TEXT) == tokenizer.encode(foreign.TEXT)


def test_a_tied_model_saved_with_its_head(tmp_path: Path) -> None:
    theirs = foreign.qwen3_model()
    folder = foreign.saved(tmp_path / "qwen3", theirs, foreign.qwen_tokenizer())
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    assert_same_logits(imported(folder, tmp_path)[0], theirs)
    tensors["lm_head.weight"] += 1
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="tie_word_embeddings to false"):
        import_folder(folder, tmp_path / "other")


def test_chatml(tmp_path: Path) -> None:
    theirs = foreign.qwen_tokenizer()
    folder = foreign.saved(tmp_path / "qwen3", foreign.qwen3_model(), theirs)
    tokenizer = load_tokenizer(imported(folder, tmp_path)[0])
    talk = Conversation.of(*((each["role"], each["content"]) for each in TALK))
    expected = theirs.apply_chat_template(TALK, return_dict=False)
    assert list(render(talk, tokenizer).ids) == expected
    asked = Conversation(talk.messages[:-1])
    expected = theirs.apply_chat_template(TALK[:-1], add_generation_prompt=True, return_dict=False)
    assert render_prompt(asked, tokenizer) == expected


def test_a_chat_template_is_not_run(tmp_path: Path) -> None:
    marked = foreign.CHATML + "{{ raise_exception('I was run') }}"
    folder = foreign.saved(
        tmp_path / "qwen3", foreign.qwen3_model(), foreign.qwen_tokenizer(marked)
    )
    (folder / "modeling_qwen3.py").write_text("raise SystemExit('I was run')")
    value = json.loads((folder / "config.json").read_text())
    value["auto_map"] = {"AutoModelForCausalLM": "modeling_qwen3.Model"}
    (folder / "config.json").write_text(json.dumps(value))
    assert imported(folder, tmp_path)[0].config.arch == "qwen3"


def test_ids_of_no_token_are_never_sampled(tmp_path: Path) -> None:
    folder = foreign.saved(tmp_path / "qwen3", foreign.qwen3_model(), foreign.qwen_tokenizer())
    checkpoint, _ = imported(folder, tmp_path)
    tokenizer, model = load_tokenizer(checkpoint), load_model(checkpoint, CPU)
    assert model.config.vocab_size > tokenizer.vocab_size
    engine = Engine(model, slots=1)
    for seed in range(3):
        sampling = SamplingSettings(temperature=100.0, seed=seed)
        settings = GenerateSettings(max_tokens=50, sampling=sampling)
        complete(engine, tokenizer, "The fox", settings)  # decoding a foreign id would raise


def test_there_is_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = foreign.saved(tmp_path / "gpt2", foreign.gpt2_model(), foreign.gpt2_tokenizer())
    checkpoint, _ = imported(folder, tmp_path)
    with pytest.raises(CheckpointError, match=r"training\.safetensors"):
        state: Any = type("State", (), {"model": load_model(checkpoint, CPU)})()
        restore(state, checkpoint)
    assert main(["resume", str(tmp_path / "run")]) == 1
    assert "cannot be resumed" in capsys.readouterr().err


def test_back_to_transformers_with_the_same_tensors_and_tokenizer(tmp_path: Path) -> None:
    cases = [
        (foreign.gpt2_model(False), foreign.gpt2_tokenizer()),
        (foreign.qwen3_model(), foreign.qwen_tokenizer()),
    ]
    for index, (theirs, their_tokenizer) in enumerate(cases):
        place = tmp_path / str(index)
        folder = foreign.saved(place / "theirs", theirs, their_tokenizer)
        export(imported(folder, place)[0], "hf", place / "back")
        before = safetensors.torch.load_file(folder / "model.safetensors")
        after = safetensors.torch.load_file(place / "back/model.safetensors")
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        back = transformers.AutoTokenizer.from_pretrained(place / "back")
        assert back.get_vocab() == their_tokenizer.get_vocab()
        assert back.encode(foreign.TEXT) == their_tokenizer.encode(foreign.TEXT)
        if their_tokenizer.chat_template:
            assert back.apply_chat_template(
                TALK, return_dict=False
            ) == their_tokenizer.apply_chat_template(TALK, return_dict=False)


def test_fine_tuning_and_sampling_start_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = foreign.saved(
        tmp_path / "gpt2-tiny", foreign.gpt2_model(n_positions=256), foreign.gpt2_tokenizer()
    )
    talks = tmp_path / "talks.jsonl"
    rows = [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(40)]
    talks.write_text("\n".join(map(json.dumps, rows)))
    runs = ["--runs", str(tmp_path / "runs")]
    assert main(["import", str(folder), *runs, "--chat-tokens"]) == 0
    run = tmp_path / "runs/gpt2-tiny"
    tune = ["sft", str(run), "--recipe", "smoke", "--device", "cpu", "--data", str(talks)]
    assert main([*tune, "--steps", "3", *runs, "--name", "tuned"]) == 0
    tuned = find(tmp_path / "runs/tuned")
    assert tuned.step == 3
    assert load_tokenizer(tuned).stop_id == load_tokenizer(tuned).special("<|end|>")
    assert main(["sample", str(run), "The fox", "--max-tokens", "5", "--device", "cpu"]) == 0
    assert "The fox" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "runs/tuned"), "--to", "hf", "--out", str(tmp_path / "out")]) == 0  # fmt: skip # noqa: E501
    assert "greedy tokens equal" in capsys.readouterr().out
