"""run_task: every reply is graded with its own example, and what is lost is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
import torch

from parrotlet.chat.answer import GenerateSettings
from parrotlet.chat.reply import replies
from parrotlet.core.errors import UsageError
from parrotlet.engine.engine import Engine
from parrotlet.evals import chat
from parrotlet.evals.chat import GREEDY, run_task
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.tools.table import Tool

SETTINGS = GenerateSettings(max_tokens=8, sampling=GREEDY.sampling)


class Echo:
    """A task of saying the user's number again; half a point for a wrong number."""

    def __init__(self, questions: Sequence[str]) -> None:
        self.questions = questions

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> Example:
        said = self.questions[index]
        return Example(conversation=Conversation.of(("user", said), ("assistant", said)))

    def grade(self, example: Example, reply: Message) -> float:
        if reply.text == example.prompt.messages[-1].text:
            return 1.0
        return 0.5 if reply.text.isdigit() else 0.0


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["one two three four five six seven eight nine ten"] * 2, 290)


@pytest.fixture(scope="module")
def engine(tokenizer: Tokenizer) -> Engine:
    config = ModelConfig(
        arch="qwen3", vocab_size=tokenizer.vocab_size, context=64, depth=1, width=16, heads=2,
        kv_heads=2, head_width=8, mlp_width=32,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    return Engine(model, slots=3)


def answering(said: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> list[Tool]:
    """Put a table of answers in the model's place; returns the tools it was given."""
    seen: list[Tool] = []

    def fake(
        engine: Engine,
        tokenizer: Tokenizer,
        conversations: Sequence[Conversation],
        settings: GenerateSettings,
        tools: Mapping[str, Tool],
        apart: bool,
        watch: Callable[[Iterable[Any]], Iterable[Any]],
    ) -> list[Message]:
        seen.extend(tools.values())
        return [Message.of("assistant", said[each.messages[-1].text]) for each in conversations]

    monkeypatch.setattr(chat, "replies", fake)
    return seen


def test_score_and_failures(
    engine: Engine, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = Tool(name="t", description="", schema={}, run=str)
    seen = answering({"1": "1", "2": "7", "3": "no", "4": "4"}, monkeypatch)
    result = run_task(engine, tokenizer, Echo("1234"), tools={"t": tool})
    assert (result.score.passed, result.score.count) == (2.5, 4)
    found = [(each.index, each.grade, each.reply) for each in result.failures]
    assert found == [
        (1, 0.5, Message.of("assistant", "7")),
        (2, 0.0, Message.of("assistant", "no")),
    ]
    assert result.failures[0].example.prompt == Conversation.of(("user", "2"))
    assert seen == [tool]


def test_limit(engine: Engine, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    answering({"1": "no", "2": "2", "3": "3"}, monkeypatch)
    task = Echo("123")
    assert run_task(engine, tokenizer, task, tools={}, limit=2).score.count == 2
    assert run_task(engine, tokenizer, task, tools={}, limit=9).score.count == 3
    with pytest.raises(UsageError, match="limit of 0"):
        run_task(engine, tokenizer, task, tools={}, limit=0)


def test_prompt_that_does_not_fit_costs_its_point_only(
    engine: Engine, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "two " * 200
    answering({"1": "1", "2": "2"}, monkeypatch)  # asking about the long one would be a KeyError
    result = run_task(engine, tokenizer, Echo(["1", long, "2"]), tools={})
    assert (result.score.passed, result.score.count) == (2, 3)
    (failure,) = result.failures
    assert (failure.index, failure.reply, failure.grade) == (1, None, 0.0)


def test_each_reply_belongs_to_its_example(engine: Engine, tokenizer: Tokenizer) -> None:
    """With a real engine of 3 slots: graded together as alone."""
    questions = ["one two", "three", "four five six", "seven", "eight nine ten", "ten"]
    task = Echo(questions)
    result = run_task(engine, tokenizer, task, tools={}, settings=SETTINGS)
    assert len(result.failures) == len(questions)  # random weights
    for failure in result.failures:
        (alone,) = replies(engine, tokenizer, [failure.example.prompt], SETTINGS, {})
        assert failure.reply == alone
    assert len({failure.reply for failure in result.failures}) > 1
