"""The GGUF files in llama.cpp itself: the same ids, the same greedy tokens.

Its Python binding is compiled where it is installed, which takes half an hour:

    pip install llama-cpp-python --no-binary llama-cpp-python
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product
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
from parrotlet.train.checkpoint import Checkpoint, load_model

pytestmark = pytest.mark.slow
llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is not installed; see the top of this file"
)
SHAPES = list(product(["gpt2", "qwen3"], [True, False]))
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


@pytest.mark.parametrize("arch, tied", SHAPES)
def test_greedy_tokens(tmp_path: Path, arch: str, tied: bool) -> None:
    made, llama = exported(tmp_path, arch, tied)
    engine = Engine(ours_of(made), slots=1)
    source = random.Random(1)
    different = set()
    for _ in range(8):
        prompt = source.choices(range(made.config.vocab_size), k=source.randrange(1, 50))
        found = greedy(engine, prompt, 40)
        assert their_greedy(llama, prompt, 40) == found
        different |= set(found)
    assert len(different) > 20, "a model that says one thing proves little"


@pytest.mark.parametrize("kind, most", [("f32", 2e-4), ("f16", 0.05), ("bf16", 0.3), ("q8_0", 1)])
@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_logits(tmp_path: Path, arch: str, kind: str, most: float) -> None:
    made, llama = exported(tmp_path, arch, kind=kind)
    ids = torch.randint(made.config.vocab_size, (1, 60), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = ours_of(made)(ids, CausalContext.of(ids))[0].numpy()
    llama.eval(ids[0].tolist())
    apart = np.abs(llama.scores[:60] - wanted).max()
    print(f"{arch} {kind}: logits up to {apart:.3g} apart, spread {wanted.std():.3g}")
    assert apart <= most < wanted.std()


def texts() -> Iterator[str]:
    source = random.Random(3)
    yield from TEXT.splitlines(keepends=True)
    for _ in range(1000):
        yield "".join(source.choices(ALPHABET, k=source.randrange(1, 40)))


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_ids_of_texts(tmp_path: Path, arch: str) -> None:
    _, llama = exported(tmp_path, arch)
    tokenizer = own_tokenizer(arch)
    for text in texts():
        found = llama.tokenize(text.encode(), add_bos=False, special=False)
        assert found == tokenizer.encode(text), repr(text)
        with_bos = llama.tokenize(text.encode(), add_bos=True, special=False)
        assert with_bos == [tokenizer.bos_id, *found]
        assert llama.detokenize(found) == text.encode()


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
