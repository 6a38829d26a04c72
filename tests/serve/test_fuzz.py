"""Requests nobody thought of: from the OpenAPI schema, and from noise. No 5xx, no hang, one shape.

F24 and F27 of the faults: small counts by default, CI's as slow tests, full ones by `make faults`.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_faults import counts
from tiny_server import CONTEXT, PATIENT, Running, in_thread, script, scripted, tokenizer

from parrotlet.serve.config import LimitsConfig

CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large,
         HealthCheck.function_scoped_fixture]  # fmt: skip


def bounded(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=QUIET,
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip


def check(answer: httpx2.Response) -> None:
    """Never an error of ours, and every error as OpenAI's clients know it."""
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]


@pytest.mark.parametrize("count", counts(3, 150, 4000))
def test_f24_requests_of_the_schema(http: httpx2.Client, server: Running, count: int) -> None:
    """`count` of each operation, by schemathesis."""
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    operations = [each.ok() for each in schema.get_all_operations()]
    assert {each.path for each in operations} >= {CHAT, COMPLETE, "/tokenize", "/inspect"}
    for operation in operations:

        @bounded(count)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url=server.address)
            body = json.dumps(sent["json"]).encode() if "json" in sent else sent.get("data")
            headers = {"content-type": "application/json"} if body is not None else {}
            if isinstance(sent.get("json"), dict) and sent["json"].get("max_tokens") is None:
                sent["json"]["max_tokens"] = 2  # so that it ends soon
                body = json.dumps(sent["json"]).encode()
            check(http.request(sent["method"], sent["url"], content=body, headers=headers))

        ask()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]) | json_values},
        optional={"content": st.text() | json_values, "parts": json_values},
    )
)
NAMES = ["model", "messages", "prompt", "temperature", "top_p", "top_k", "min_p", "max_tokens", "n",
         "stop", "seed", "stream", "stream_options", "logprobs", "top_logprobs", "logit_bias",
         "echo", "input", "tokens", "text", "layer", "position", "min_tokens", "tools"]  # fmt: skip
bodies = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 4)},
    optional={"messages": messages, "prompt": st.text() | st.lists(st.integers(-2, 320))},
).flatmap(
    lambda body: st.dictionaries(st.sampled_from(NAMES), json_values, max_size=3).map(
        lambda more: body | more
    )
)


@pytest.mark.parametrize("count", counts(60, 1000, 20_000))
def test_f24_bodies_of_noise(http: httpx2.Client, count: int) -> None:
    paths = st.sampled_from([CHAT, COMPLETE, "/v1/moderations", "/tokenize", "/detokenize"])

    @bounded(count)
    @given(path=paths, body=bodies | json_values | st.binary(), kind=st.booleans())
    def ask(path: str, body: Any, kind: bool) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json" if kind else "text/json"}
        check(http.post(path, content=data, headers=headers))

    ask()
    assert http.get("/ready").status_code == 200


ids = st.lists(st.integers(0, 290), max_size=40) | st.text(
    "ab hé你\U0001f600\u0301\u200d", max_size=30
).map(lambda text: script(text))
stops = st.lists(
    st.text("ab hé你\U0001f600", min_size=1, max_size=3)
    | st.text("ab", min_size=20, max_size=40), max_size=4, unique=True,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Do not use the `random`")  # the server's threads may
@pytest.mark.parametrize("count", counts(60, 1000, 20_000))
def test_f27_streamed_is_whole_and_stops_never_leak(count: int) -> None:
    """Over the wire: characters and stop strings split over tokens, chunks and reads."""
    models = scripted()
    engine: Any = models.all[0].engine
    limits = LimitsConfig(queue_timeout=PATIENT)
    with (
        in_thread(models, limits=limits) as server,
        httpx2.Client(base_url=server.address, timeout=PATIENT) as client,
    ):

        @bounded(count)
        @given(said=ids, stop=stops, chat=st.booleans(), logprobs=st.booleans())
        def ask(said: list[int], stop: list[str], chat: bool, logprobs: bool) -> None:
            end = script("<|end|>" if chat else "<|bos|>")
            engine._scripts += [[*said, *end]] * 2
            body: dict[str, Any] = {"stop": stop, "max_tokens": CONTEXT}
            body |= {"messages": [{"role": "user", "content": "x"}]} if chat else {"prompt": "x"}
            body |= {"logprobs": logprobs if chat else (1 if logprobs else None)}
            path = CHAT if chat else COMPLETE
            choice = client.post(path, json=body).json()["choices"][0]
            whole = choice["message"]["content"] if chat else choice["text"]
            told = client.post(path, json={**body, "stream": True}).text
            lines = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
            assert lines[-1] == "[DONE]"
            chunks = [json.loads(line)["choices"][0] for line in lines[:-1]]
            parts = [c["delta"].get("content", "") if chat else c["text"] for c in chunks]
            assert "".join(parts) == whole
            assert not any(each in whole for each in stop)
            after = engine.requests[max(engine.requests)].prompt[-1]
            assert tokenizer().decode(said, after=after).startswith(whole)
            if not stop:
                assert whole == tokenizer().decode(said, after=after)

        ask()
