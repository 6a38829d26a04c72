"""Replies of a real engine with a tiny random model: together or alone, they are the same."""

from __future__ import annotations

import pytest
import torch

from parrotlet.chat.generate import GenerateSettings
from parrotlet.chat.pieces import fold
from parrotlet.chat.reply import replies, reply
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.text.chat import Conversation, ToolResult
from parrotlet.text.train import train_bpe
from parrotlet.tools.table import Tool

ECHO = Tool(name="echo", description="Says it again.", schema={}, run=lambda text: text)


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_together_or_alone(arch: str, temperature: float) -> None:
    tokenizer = train_bpe(["the cat sat on the mat " * 3], 275)
    shape = {
        "arch": arch,
        "vocab_size": 288,  # some more than the tokenizer has
        "context": 128,
        "depth": 1,
        "width": 16,
        "heads": 2,
        "kv_heads": 2,
        "head_width": 8,
        "mlp_width": 32,
        "tied": arch != "swift",
    }
    model = build_model(ModelConfig.from_json(shape))
    generator = torch.Generator().manual_seed(1)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    sampling = SamplingSettings(temperature=temperature, seed=11)
    settings = GenerateSettings(max_tokens=16, stop=("ab", "\n"), sampling=sampling)
    conversations = [
        Conversation.of(("user", "cat " * count), ("assistant", "on"), ("user", "the mat"))
        for count in range(6)
    ]
    tools = {"echo": ECHO}
    alone = [
        fold(reply(Engine(model, slots=1), tokenizer, each, settings, tools))
        for each in conversations
    ]
    engine = Engine(model, slots=4, prefill_chunk=9)
    together = replies(engine, tokenizer, conversations, settings, tools)
    assert together == alone
    apart = replies(engine, tokenizer, conversations[:1] * 3, settings, tools, apart=True)
    assert apart[0] == alone[0] and len(set(apart)) == (3 if temperature else 1)
    assert len({message.text for message in alone}) > 1, "the model says always the same"
    for message in alone:
        assert not any(stop in message.text for stop in settings.stop)
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        assert all(result.text.startswith("error: there is no tool") for result in results)
    assert (engine.running, engine.waiting) == (0, 0)
