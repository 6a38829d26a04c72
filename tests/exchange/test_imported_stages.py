"""What an imported model is good for: every verb on weights that transformers wrote.

By the real commands, on a tiny gpt2, and a qwen3 with grouped queries, a head of its own, a chat
template of its own and a vocabulary padded beyond its tokenizer.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import foreign
import httpx2
import pytest
import torch
import transformers

from parrotlet.cli import main
from parrotlet.core.log import JsonLines
from parrotlet.core.runtime import Runtime
from parrotlet.model.context import CausalContext
from parrotlet.tasks.table import PRACTICE
from parrotlet.text.chat import Conversation, render_prompt
from parrotlet.train.checkpoint import find, load_model, load_tensors, load_tokenizer

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
EXACT = ["--device", "cpu", "--dtype", "float32"]
GREEDY = ["--temperature", "0", "--no-filter"]
FEW = ["--batch-tokens", "512", "--device", "cpu"]
ADDRESS = re.compile(r"on (http://\S+) ")
BOTH = pytest.mark.parametrize("name", ["gpt2", "qwen3"])
PADDED = 13  # ids of qwen3 that no token has
QUESTION = "What is 7?"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/gpt2 and runs/qwen3, imported; back/..., exported again; things to learn from."""
    place = tmp_path_factory.mktemp("imported")
    gpt2 = foreign.gpt2_model(n_positions=256), foreign.gpt2_tokenizer()
    qwen3 = foreign.qwen3_model(tied=False, max_position_embeddings=256), foreign.qwen_tokenizer()
    for name, made, more in (("gpt2", gpt2, ["--chat-tokens"]), ("qwen3", qwen3, [])):
        folder = foreign.saved(place / "theirs" / name, *made)
        runs = ["--runs", str(place / "runs")]
        assert main(["import", str(folder), *runs, *more]) == 0
        exported = ["--to", "hf", "--out", str(place / "back" / name)]
        assert main(["export", str(place / "runs" / name), *exported]) == 0
    talks = [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(40)]
    pairs = [
        {"prompt": f"Is it {n}?", "chosen": "Yes.", "rejected": "No, never, not at all."}
        for n in range(40)
    ]
    counting = PRACTICE["letter_count"](0, 400)
    counts = [
        {"prompt": counting[n].prompt.messages[-1].text, "response": counting[n].answer}
        for n in range(400)
    ]
    for name, rows in (("talks", talks), ("pairs", pairs), ("counts", counts)):
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return place


def lines_of(run: Path) -> list[dict[str, Any]]:
    return list(JsonLines(run / "metrics.jsonl"))


def trained(place: Path, verb: str, name: str, *more: str, start: str | None = None) -> Path:
    """The run of a stage that starts from an imported model, by its command."""
    made = f"{name}-{verb}{len(more)}"
    run = str(place / "runs" / (start or name))
    runs = ["--runs", str(place / "runs"), "--name", made]
    assert main([verb, run, *runs, "--device", "cpu", *more]) == 0
    return place / "runs" / made


def theirs(place: Path, name: str, ids: list[int], *, chats: bool = True) -> str:
    """What transformers says greedily after `ids`, with the same tokens forbidden."""
    model = transformers.AutoModelForCausalLM.from_pretrained(place / "back" / name)
    tokenizer = load_tokenizer(find(place / "runs" / name))
    end = tokenizer.stop_id if chats else tokenizer.bos_id
    banned = set(range(tokenizer.first_special, model.config.vocab_size)) - {end}
    said = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=12,
        do_sample=False, suppress_tokens=sorted(banned), eos_token_id=end,
    )[0].tolist()[len(ids) :]  # fmt: skip
    return tokenizer.decode([id for id in said if id != end], after=ids[-1])


def question(place: Path, name: str) -> list[int]:
    tokenizer = load_tokenizer(find(place / "runs" / name))
    return render_prompt(Conversation.of(("user", QUESTION)), tokenizer)


@BOTH
def test_sample(place: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "The quick brown"
    ids = load_tokenizer(find(place / "runs" / name)).encode_document(prompt)
    capsys.readouterr()
    run = str(place / "runs" / name)
    assert main(["sample", run, prompt, "--max-tokens", "12", *GREEDY, *EXACT]) == 0
    said = capsys.readouterr().out
    assert (
        said == f"{prompt}{theirs(place, name, ids, chats=False)}\n" and len(said) > len(prompt) + 8
    )


@BOTH
def test_chat(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = theirs(place, name, question(place, name))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{QUESTION}\n/quit\n"))
    capsys.readouterr()
    run = str(place / "runs" / name)
    assert main(["chat", run, "--max-tokens", "12", *GREEDY, *EXACT]) == 0
    shown = capsys.readouterr().out
    assert "".join(said.split()) in "".join(shown.split())


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """The address of a server of its own process."""
    command = [sys.executable, "-m", "parrotlet", "serve", str(run), "--port", "0", "--no-filter"]
    process = subprocess.Popen(
        [*command, *EXACT, "--slots", "2"], env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := ADDRESS.search(line):
                break
        else:
            raise AssertionError(said)
        yield found[1]
    finally:
        process.kill()
        process.communicate()


@BOTH
def test_serve(place: Path, name: str) -> None:
    with serving(place / "runs" / name) as address:
        body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
        answer = httpx2.post(
            f"{address}/v1/chat/completions", json=body | {"max_tokens": 12}, timeout=300
        )
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert choice["message"]["content"] == theirs(place, name, question(place, name))
    assert answer.json()["usage"]["prompt_tokens"] == len(question(place, name))


@BOTH
def test_sft_and_what_is_padded_stays(
    place: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(place / "talks.jsonl")]
    capsys.readouterr()
    run = trained(place, "sft", name, *data, "--steps", "30", *FEW)
    losses = [each["loss"] for each in lines_of(run)]
    assert losses[-1] < losses[0] - 1
    before, after = find(place / "runs" / name), find(run)
    assert after.config == before.config
    out = place / f"tuned-{name}"
    assert main(["export", str(run), "--to", "hf", "--out", str(out)]) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert model.config.vocab_size == before.config.vocab_size
    padded = before.config.vocab_size - load_tokenizer(after).vocab_size
    assert padded == (PADDED if name == "qwen3" else 0)
    card = (out / "README.md").read_text()
    assert ("13 ids at the end belong to no token" in card) == bool(padded)
    gguf = place / f"gguf-{name}"
    assert main(["export", str(run), "--to", "gguf", "--out", str(gguf)]) == 0
    assert main(["import", str(out), "--runs", str(place / "runs"), "--name", f"{name}-again"]) == 0
    assert ("the vocabulary is padded" in capsys.readouterr().out) == bool(padded)
    again = load_tensors(find(place / "runs" / f"{name}-again").path / "model.safetensors")
    ours = load_tensors(after.path / "model.safetensors")
    assert ours.keys() == again.keys()
    assert all(torch.equal(ours[each], again[each]) for each in ours)


@BOTH
def test_lora_is_in_what_is_exported(place: Path, name: str) -> None:
    data = ["--data", str(place / "talks.jsonl"), "--steps", "12"]
    run = trained(place, "sft", name, *data, "--lora-rank", "4", "--matrix-lr", "0.05", *FEW)
    before = load_tensors(find(place / "runs" / name).path / "model.safetensors")
    after = load_tensors(find(run).path / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {each for each in before if not torch.equal(before[each], after[each])}
    matrices = {each for each in before if "blocks" in each and before[each].ndim == 2}
    ends = {"embed.weight", "head.weight"} & changed  # the rows of tokens for the chat
    assert ends and changed == matrices | ends
    first = load_tokenizer(find(run)).first_special
    assert all(torch.equal(before[each][:first], after[each][:first]) for each in ends)
    out = place / f"lora-{name}"
    assert main(["export", str(run), "--to", "hf", "--out", str(out)]) == 0
    ids = torch.randint(200, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        said = transformers.AutoModelForCausalLM.from_pretrained(out)(input_ids=ids).logits
        ours = load_model(find(run), CPU)(ids, CausalContext.of(ids))
        base = load_model(find(place / "runs" / name), CPU)(ids, CausalContext.of(ids))
    torch.testing.assert_close(said, ours, atol=1e-4, rtol=0)
    assert (said - base).abs().max() > 0.01


@BOTH
def test_dpo(place: Path, name: str) -> None:
    data = ["--data", str(place / "pairs.jsonl"), "--steps", "20", "--dtype", "float32"]
    run = trained(place, "dpo", name, *data, *FEW)
    lines = lines_of(run)
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-3), "the policy is the reference"
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["margin"] > 0


@BOTH
def test_rl(place: Path, name: str) -> None:
    """It can be rewarded only for what it says at all: first it learns how a number is said."""
    data = ["--data", str(place / "counts.jsonl"), "--steps", "60", "--batch-tokens", "2048"]
    tuned = trained(place, "sft", name, *data)
    asked = ["--task", "letter_count", "--questions", "8", "--samples", "8", "--max-tokens", "6"]
    run = trained(place, "rl", name, *asked, "--held-out", "4", "--steps", "2", start=tuned.name)
    rewards = [each["reward"] for each in lines_of(run)]
    assert len(rewards) == 2 and 0 < max(rewards) <= 1
    before, after = (load_tensors(find(each).path / "model.safetensors") for each in (tuned, run))
    assert any(not torch.equal(before[each], after[each]) for each in before)


@BOTH
def test_evals(place: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(place / "runs" / name)
    assert main(["eval", run, "world", "--cases", "1", *EXACT]) == 0
    (place / "text.txt").write_text(foreign.TEXT)
    assert main(["eval", run, "bpb", "--data", str(place / "text.txt"), *EXACT]) == 0
    assert "bits per byte" in capsys.readouterr().out
