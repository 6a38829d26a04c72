"""The GGUF files in llama.cpp itself: the same ids, the same greedy tokens.

Its Python binding is compiled where it is installed, which takes minutes; CONTRIBUTING.md has the
command. On the CPU, llama.cpp looks GPT-2's GELU up in a table of 16-bit floats, whatever the kind
of the file (GGML_GELU_FP16 in ggml-cpu/vec.h). With the same rounding ours has its logits; without
it the greedy tokens are the same wherever the two best logits are farther apart than that. Qwen3
has no GELU, and its tokens are the same throughout.
"""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TEXT, checkpoint, own_tokenizer, shape

from parrotlet.core.runtime import Runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.exchange.export import export
from parrotlet.exchange.jinja import as_messages
from parrotlet.model.context import CausalContext
from parrotlet.text.chat import (
    Conversation,
    Message,
    Text,
    ToolCall,
    ToolResult,
    render,
    render_prompt,
)
from parrotlet.text.gpt2_vocab import load_gpt2
from parrotlet.text.train import train_bpe
from parrotlet.train.checkpoint import Checkpoint, load_model

pytestmark = pytest.mark.slow
llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is not installed; see the top of this file"
)
GELU_ROUNDING = 0.02  # of the logits here, from a table in float16
ALPHABET = "abz ABZ019 .,'\"!?-\n\r\t\u00a0é漢字한عر🙂\u200d_{}<|>"


def loaded(folder: Path, **more: Any) -> Any:
    """llama.cpp with one thread and a cache in float32, as exact as it can be."""
    return llama_cpp.Llama(
        str(folder / "model.gguf"), n_ctx=96, n_threads=1, n_threads_batch=1, verbose=False,
        type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, logits_all=True, **more,
    )  # fmt: skip


def exported(tmp_path: Path, arch: str, tied: bool = True, kind: Any = "f32") -> Any:
    made = checkpoint(tmp_path / "run", shape(arch, tied))
    export(made, "gguf", tmp_path / kind, kind=kind)
    return made, loaded(tmp_path / kind)


def ours_of(made: Checkpoint) -> Any:
    return load_model(made, Runtime(device=torch.device("cpu"), compute_dtype=torch.float32))


def greedy(engine: Engine, prompt: Sequence[int], count: int) -> list[int]:
    sampling = SamplingSettings(temperature=0.0)
    engine.add(Request(prompt=tuple(prompt), max_tokens=count, sampling=sampling))
    found: list[int] = []
    while not engine.idle:
        found += [event.token for event in engine.step() if event.token is not None]
    return found


def their_greedy(llama: Any, prompt: Sequence[int], count: int) -> list[int]:
    """By eval alone: llama_cpp's own generation stops at ends of turns."""
    llama.reset()
    found, ids = [], list(prompt)
    for _ in range(count):
        llama.eval(ids)
        ids = [int(np.argmax(llama.scores[llama.n_tokens - 1]))]
        found += ids
    return found


@pytest.fixture
def gelu_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2's GELU as llama.cpp computes it: 16 bits in, 16 bits out, between -10 and 10."""
    exact = torch.nn.functional.gelu

    def rounded(x: torch.Tensor, approximate: str) -> torch.Tensor:
        inside = exact(x.half().float(), approximate=approximate).half().float()
        return torch.where(x <= -10, 0.0, torch.where(x >= 10, x, inside))

    monkeypatch.setattr(torch.nn.functional, "gelu", rounded)


@pytest.mark.parametrize("tied", [True, False])
def test_greedy_tokens_of_qwen3(tmp_path: Path, tied: bool) -> None:
    made, llama = exported(tmp_path, "qwen3", tied)
    engine = Engine(ours_of(made), slots=1)
    source = random.Random(1)
    different = set()
    for _ in range(8):
        prompt = source.choices(range(made.config.vocab_size), k=source.randrange(1, 50))
        found = greedy(engine, prompt, 40)
        assert their_greedy(llama, prompt, 40) == found
        different |= set(found)
    assert len(different) > 20, "a model that says one thing proves little"


@pytest.mark.parametrize("tied", [True, False])
def test_greedy_tokens_of_gpt2(tmp_path: Path, tied: bool) -> None:
    made, llama = exported(tmp_path, "gpt2", tied)
    model, source = ours_of(made), random.Random(4)
    sure = 0
    for _ in range(8):
        prompt = source.choices(range(made.config.vocab_size), k=source.randrange(1, 50))
        ids = torch.tensor([prompt + their_greedy(llama, prompt, 40)])
        with torch.no_grad():
            best = model(ids, CausalContext.of(ids))[0, len(prompt) - 1 : -1].topk(2)
        clear = best.values[:, 0] - best.values[:, 1] > 2 * GELU_ROUNDING
        assert torch.equal(best.indices[clear, 0], ids[0, len(prompt) :][clear])
        sure += int(clear.sum())
    assert sure > 0.9 * 8 * 40


@pytest.mark.usefixtures("gelu_table")
@pytest.mark.parametrize("kind, most", [("f32", 2e-4), ("f16", 0.05), ("bf16", 0.3), ("q8_0", 1)])
@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_logits(tmp_path: Path, arch: str, kind: str, most: float) -> None:
    made, llama = exported(tmp_path, arch, kind=kind)
    ids = torch.randint(made.config.vocab_size, (1, 60), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = ours_of(made)(ids, CausalContext.of(ids))[0].numpy()
    llama.eval(ids[0].tolist())
    apart = np.abs(llama.scores[:60] - wanted).max(axis=1)
    print(f"{arch} {kind}: {np.median(apart):.3g} apart, at most {apart.max():.3g}")
    assert np.median(apart) <= most < wanted.std()
    # a number near the border of two floats in 16 bits may be looked up as the other one
    assert apart.max() <= most + (GELU_ROUNDING if arch == "gpt2" else 0)


def texts() -> Iterator[str]:
    source = random.Random(3)
    yield from TEXT.splitlines(keepends=True)
    for _ in range(10_000):
        yield "".join(source.choices(ALPHABET, k=source.randrange(1, 40)))


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_ids_of_texts(tmp_path: Path, arch: str) -> None:
    _, llama = exported(tmp_path, arch)
    tokenizer = own_tokenizer(arch)
    for text in texts():
        found = llama.tokenize(text.encode(), add_bos=False, special=False)
        assert found == list(tokenizer.encode(text)), repr(text)
        with_bos = llama.tokenize(text.encode(), add_bos=True, special=False)
        assert with_bos == [tokenizer.bos_id, *found]
        assert llama.detokenize(found) == text.encode()


def every_language(real_data: Path) -> list[str]:
    """The Universal Declaration of Human Rights."""
    with zipfile.ZipFile(real_data / "languages/udhr/udhr2.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
        return [archive.read(name).decode("utf-8") for name in names]


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_ids_of_real_texts(tmp_path: Path, real_data: Path, arch: str) -> None:
    """GPT-2's published vocabulary, and one of ours, on 388 languages."""
    texts = every_language(real_data)
    if arch == "gpt2":
        tokenizer = load_gpt2(real_data / "tokenizer/gpt2_tokenizer")
    else:
        tokenizer = train_bpe(iter(texts), 4096)
    config = shape(arch, vocab_size=tokenizer.vocab_size, width=16, heads=1, kv_heads=1)
    made = checkpoint(tmp_path / "run", replace(config, head_width=16), tokenizer)
    export(made, "gguf", tmp_path / "out", kind="f16")
    llama = loaded(tmp_path / "out")
    assert len(texts) > 300
    for text in texts:
        found = llama.tokenize(text.encode(), add_bos=False, special=False)
        assert found == list(tokenizer.encode(text)), repr(text[:200])


def conversations() -> Iterator[Conversation]:
    source = random.Random(5)

    def words() -> str:
        return "".join(source.choices(ALPHABET.replace("<|>", ""), k=source.randrange(20)))

    for _ in range(200):
        parts = (Text(words()), ToolCall("calculator", words()), ToolResult(words()), Text(words()))
        yield Conversation.of(("system", words()), ("user", words())).plus(
            Message("assistant", parts),
            Message.of("user", words()),
        )


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_ids_of_conversations(tmp_path: Path, arch: str) -> None:
    _, llama = exported(tmp_path, arch)
    tokenizer = own_tokenizer(arch)
    formatter = llama_cpp.llama_chat_format.Jinja2ChatFormatter(
        template=llama.metadata["tokenizer.chat_template"],
        eos_token=tokenizer.template.stop,
        bos_token=tokenizer.template.bos,
    )
    for talk in conversations():
        prompt = formatter(messages=as_messages(talk)).prompt
        found = llama.tokenize(prompt.encode(), add_bos=False, special=True)
        assert found == render_prompt(talk, tokenizer)
        assert found[: len(render(talk, tokenizer).ids)] == list(render(talk, tokenizer).ids)


def test_ends_of_turns(tmp_path: Path) -> None:
    """llama.cpp ends an answer at our stop token, and at <|call|>, a name it knows from others."""
    _, llama = exported(tmp_path, "qwen3")
    tokenizer = own_tokenizer("qwen3")
    assert llama.token_eos() == tokenizer.stop_id
    assert llama.token_bos() == tokenizer.bos_id
    assert llama_cpp.llama_vocab_is_eog(llama._model.vocab, tokenizer.stop_id)
