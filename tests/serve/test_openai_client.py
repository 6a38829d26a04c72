"""OpenAI's own client against a real server, and what the model itself says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tiny_server import CONTEXT, Running, tiny_models

from parrotlet.chat.answer import GenerateSettings
from parrotlet.chat.generate import generate
from parrotlet.chat.pieces import Finish, fold
from parrotlet.chat.reply import reply
from parrotlet.engine.request import SamplingSettings
from parrotlet.serve.models import Models
from parrotlet.text.chat import Conversation
from parrotlet.tools.toolbox import TOOLS

HELLO: list[Any] = [{"role": "user", "content": "Hello, the cat"}]


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def models(runs: Path) -> Models:
    """The same models in this process, as the reference."""
    return tiny_models(runs)


def said(models: Models, seed: int, temperature: float, most: int) -> str:
    """What the model answers without any server."""
    model = models.get("tiny")
    sampling = SamplingSettings(seed=seed, temperature=temperature)
    settings = GenerateSettings(max_tokens=most, sampling=sampling)
    asked = Conversation.of(("user", HELLO[0]["content"]))
    return fold(reply(model.engine, model.tokenizer, asked, settings, TOOLS)).text


def streamed(client: openai.OpenAI, **asked: Any) -> tuple[str, list[Any]]:
    chunks = list(client.chat.completions.create(messages=HELLO, stream=True, **asked))
    text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    return text, chunks


@pytest.mark.parametrize(("seed", "temperature"), [(0, 0.0), (1, 0.9), (2, 1.5)])
def test_the_answer_is_the_models_own_streamed_or_not(
    client: openai.OpenAI, models: Models, seed: int, temperature: float
) -> None:
    asked: Any = {"model": "tiny", "seed": seed, "temperature": temperature, "max_tokens": 40}
    whole = client.chat.completions.create(messages=HELLO, **asked)
    text, chunks = streamed(client, **asked, stream_options={"include_usage": True})
    assert whole.choices[0].message.content == text == said(models, seed, temperature, 40)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert {each.id for each in chunks} == {chunks[0].id}
    assert {each.object for each in chunks} == {"chat.completion.chunk"}
    assert chunks[0].system_fingerprint == whole.system_fingerprint
    assert whole.object == "chat.completion" and whole.model == "tiny"


def test_async_answers_at_once_are_those_of_one_after_the_other(
    server: Running, models: Models
) -> None:
    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.address}/v1", api_key="none") as client:

            async def ask(seed: int) -> str:
                asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 30, "seed": seed}
                if seed % 2:
                    whole = await client.chat.completions.create(**asked)
                    return str(whole.choices[0].message.content)
                stream = await client.chat.completions.create(**asked, stream=True)
                return "".join([each.choices[0].delta.content or "" async for each in stream])

            return await asyncio.gather(*map(ask, range(12)))

    assert asyncio.run(ask_all()) == [said(models, seed, 1.0, 30) for seed in range(12)]


def test_several_choices_differ_and_the_first_is_that_of_one(
    client: openai.OpenAI, models: Models
) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "seed": 5, "max_tokens": 20}
    one = client.chat.completions.create(**asked)
    several = client.chat.completions.create(**asked, n=3)
    texts = [each.message.content for each in several.choices]
    assert [each.index for each in several.choices] == [0, 1, 2]
    assert len(set(texts)) == 3 and texts[0] == one.choices[0].message.content
    assert several.usage is not None and one.usage is not None
    assert several.usage.prompt_tokens == one.usage.prompt_tokens
    chunks = client.chat.completions.create(**asked, n=3, stream=True)
    joined = ["", "", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            joined[choice.index] += choice.delta.content or ""
    assert joined == texts


def test_stop_strings_end_the_answer_and_are_not_shown(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "temperature": 0, "max_tokens": 60}
    text, _ = streamed(client, **asked)
    stop = text[10:13]
    cut, chunks = streamed(client, **asked, stop=["never said", stop])
    assert cut == text[: text.index(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"
    whole = client.chat.completions.create(messages=HELLO, stop=stop, **asked)
    assert whole.choices[0].message.content == cut


def test_logprobs_belong_to_the_text(client: openai.OpenAI, models: Models) -> None:
    asked: Any = {"model": "tiny", "temperature": 0, "max_tokens": 25}
    asked |= {"logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(messages=HELLO, **asked)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    spelled = b"".join(bytes(each.bytes or []) for each in logprobs.content)
    assert spelled.decode(errors="replace") == whole.choices[0].message.content
    for each in logprobs.content:  # greedy: the token is the likeliest one, unless banned
        assert len(each.top_logprobs) == 3
        assert each.logprob <= each.top_logprobs[0].logprob <= 0
    _, chunks = streamed(client, **asked)
    entries = [entry for chunk in chunks if chunk.choices[0].logprobs
               for entry in chunk.choices[0].logprobs.content]  # fmt: skip
    assert entries == logprobs.content


def test_a_stop_string_takes_its_tokens_with_it(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 60}
    text = str(client.chat.completions.create(**asked).choices[0].message.content)
    whole = client.chat.completions.create(**asked, logprobs=True, stop=text[12:14])
    choice = whole.choices[0]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    spelled = b"".join(bytes(each.bytes or []) for each in choice.logprobs.content)
    shown = str(choice.message.content)
    assert spelled.decode(errors="replace").startswith(shown)
    before = spelled[: -len(choice.logprobs.content[-1].bytes or [])]
    assert len(before.decode(errors="replace")) <= len(shown)


def test_temperature_zero_is_greedy_whatever_the_seed(client: openai.OpenAI) -> None:
    texts = {streamed(client, model="tiny", temperature=0, seed=seed)[0] for seed in range(3)}
    assert len(texts) == 1


def test_bias_and_penalties_reach_the_engine(client: openai.OpenAI, http: Any) -> None:
    ids = http.post("/tokenize", json={"prompt": "x"}).json()["tokens"]
    asked: Any = {"model": "raw", "prompt": "the", "max_tokens": 8, "temperature": 0}
    forced = client.completions.create(**asked, logit_bias={str(ids[-1]): 100})
    assert forced.choices[0].text == "x" * 8
    varied = client.completions.create(
        **asked, logit_bias={str(ids[-1]): 10}, frequency_penalty=2, presence_penalty=2
    )
    assert 0 < varied.choices[0].text.count("x") < 8


def test_min_tokens_keep_the_answer_going(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 60, "seed": 3}
    for seed in range(20):
        whole = client.chat.completions.create(**asked | {"seed": seed})
        if whole.choices[0].finish_reason == "stop":
            break
    assert whole.usage is not None
    short = whole.usage.completion_tokens
    longer = client.chat.completions.create(
        **asked | {"seed": seed}, extra_body={"min_tokens": short + 5}
    )
    assert longer.usage is not None and longer.usage.completion_tokens >= short + 5


def test_completions_continue_the_text(client: openai.OpenAI, models: Models) -> None:
    model = models.get("raw")
    settings = GenerateSettings(max_tokens=16, sampling=SamplingSettings(seed=7))
    ids = model.tokenizer.encode_document("the dog")
    pieces = list(generate(model.engine, model.tokenizer, ids, settings))
    whole = client.completions.create(model="raw", prompt="the dog", seed=7)
    assert whole.choices[0].text == fold(pieces).text
    finish = pieces[-1]
    assert isinstance(finish, Finish) and whole.usage is not None
    assert whole.usage.prompt_tokens == finish.prompt_tokens == len(ids)
    assert whole.usage.completion_tokens == finish.sampled_tokens
    stream = client.completions.create(model="raw", prompt="the dog", seed=7, stream=True)
    assert "".join(each.choices[0].text for each in stream) == whole.choices[0].text


def test_several_prompts_are_answered_in_their_order(client: openai.OpenAI) -> None:
    asked: Any = {"model": "raw", "temperature": 0, "max_tokens": 6}
    both = client.completions.create(prompt=["the dog", "Hello"], n=2, **asked)
    alone = [client.completions.create(prompt=each, **asked) for each in ("the dog", "Hello")]
    assert [each.text for each in both.choices] == [
        alone[0].choices[0].text, alone[0].choices[0].text,
        alone[1].choices[0].text, alone[1].choices[0].text,
    ]  # fmt: skip


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["tiny", "raw"]
    assert client.models.retrieve("raw").owned_by == "parrotlet"
    with pytest.raises(openai.NotFoundError, match="there is tiny, raw"):
        client.models.retrieve("gpt-5")


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="never taught to answer; ask tiny") as base:
        client.chat.completions.create(model="raw", messages=HELLO)
    assert base.value.code == "not_a_chat_model"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="../tiny", messages=HELLO)
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    long: Any = [{"role": "user", "content": "cat " * 500}]
    with pytest.raises(openai.BadRequestError, match=rf"prompt has \d+ tokens .* {CONTEXT}") as far:
        client.chat.completions.create(model="tiny", messages=long)
    assert far.value.code == "context_length_exceeded"
    assert far.value.response.headers["x-request-id"]


def test_the_oldest_turns_are_left_out_where_it_is_asked_for(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "cat " * 80}, {"role": "assistant", "content": "ok"}]
    whole = client.chat.completions.create(
        model="tiny", messages=long * 3 + HELLO, max_tokens=5, extra_body={"truncation": "auto"}
    )
    assert whole.model_extra is not None and whole.model_extra["dropped_messages"] >= 2


def test_what_is_asked_for_is_what_fits(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "temperature": 0}
    whole = client.chat.completions.create(**asked, max_tokens=100_000)
    assert whole.usage is not None
    assert whole.usage.total_tokens + whole.model_dump()["usage"]["forced_tokens"] <= CONTEXT
