"""The chat template in Jinja writes what text.chat.render writes, word for word."""

from __future__ import annotations

import random
from functools import cache

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tiny_runs import own_tokenizer

from parrotlet.exchange.dialects import chatml
from parrotlet.exchange.jinja import as_messages, jinja_template
from parrotlet.text.chat import (
    Conversation,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
    ToolResult,
    render,
    render_prompt,
)
from parrotlet.text.gpt2_vocab import GPT2_CHAT, GPT2_PLAIN
from parrotlet.text.template import NATIVE, NATIVE_UNSPACED, Template
from parrotlet.text.tokenizer import Tokenizer

TEMPLATES = {
    "native": NATIVE,
    "unspaced": NATIVE_UNSPACED,
    "gpt2 chat": GPT2_CHAT,
    "gpt2 plain": GPT2_PLAIN,
    "chatml": chatml(("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "<|endoftext|>"),
}
TALK = Conversation.of(("system", "Be brief."), ("user", "2 + 3?")).plus(
    Message("assistant", (ToolCall("calculator", "2 + 3"), ToolResult("5"), Text("It is 5."))),
    Message.of("user", "Thanks"),
)
WORDS = ["a", " b", "\n", "{{ c }}", "{% d %}", '"e"', "\\n", "漢 ", "<|call|>", "'", "$CALLS"]


@cache
def program(template: Template) -> jinja2.Template:
    """Jinja set up as transformers sets it up."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(jinja_template(template))


def refuse(reason: str) -> None:
    raise jinja2.TemplateError(reason)


def written(template: Template, conversation: Conversation, prompt: bool = False) -> str:
    """The string that the template makes of a conversation."""
    messages = as_messages(conversation)
    return program(template).render(messages=messages, add_generation_prompt=prompt)


def spelled(ids: list[int], tokenizer: Tokenizer) -> str:
    """Ids as text, control tokens by name."""
    names = {number: name for name, number in tokenizer.specials.items()}
    return b"".join(
        names[each].encode() if each in names else tokenizer.token_bytes(each) for each in ids
    ).decode()


def test_by_hand() -> None:
    assert written(NATIVE, TALK, prompt=True) == (
        "<|bos|><|system|> Be brief.<|end|><|user|> 2 + 3?<|end|>"
        "<|assistant|><|call|> calculator 2 + 3<|end_call|><|result|> 5<|end_result|> It is 5."
        "<|end|><|user|> Thanks<|end|><|assistant|>"
    )
    assert as_messages(TALK)[2:4] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"type": "function", "function": {"name": "calculator", "arguments": "2 + 3"}}
            ],
        },
        {"role": "tool", "content": "5"},
    ]


def random_talk(source: random.Random, tools: bool) -> Conversation:
    def words() -> str:
        return "".join(source.choices(WORDS, k=source.randrange(4)))

    def parts(role: Role) -> tuple[Part, ...]:
        made: list[Part] = [Text(words())]
        while role == "assistant" and tools and source.random() < 0.6:
            made.append(ToolCall(source.choice(["calculator", "x"]), words()))
            made += [ToolResult(words())] * (source.random() < 0.7)
            made += [Text(words())] * (source.random() < 0.7)
        return tuple(made)

    roles: list[Role] = ["user", "assistant"] * source.randrange(1, 4)
    if source.random() < 0.5:
        roles.insert(0, "system")
    return Conversation(tuple(Message(role, parts(role)) for role in roles))


@pytest.mark.parametrize("name", TEMPLATES)
def test_same_as_render(name: str) -> None:
    template = TEMPLATES[name]
    own = own_tokenizer("qwen3")
    tokenizer = Tokenizer("bpe", own.tokens, template, own.pattern)
    source = random.Random(4)
    for _ in range(200):
        talk = random_talk(source, tools=template.call is not None)
        assert written(template, talk) == spelled(list(render(talk, tokenizer).ids), tokenizer)
        asked = Conversation(talk.messages[:-1])
        prompt = render_prompt(asked, tokenizer)
        assert written(template, asked, prompt=True) == spelled(prompt, tokenizer)


def test_turn_stays_open_for_the_tool() -> None:
    called = Message("assistant", (ToolCall("f", "1"),))
    asked = Conversation.of(("user", "Hi")).plus(called)
    assert written(NATIVE, asked, prompt=True).endswith("<|call|> f 1<|end_call|>")
    assert written(NATIVE, asked).endswith("<|call|> f 1<|end_call|><|end|>")


def test_roles_without_a_place() -> None:
    with pytest.raises(jinja2.TemplateError, match="developer"):
        program(NATIVE).render(messages=[{"role": "developer", "content": "x"}])
