"""What clients may send: every field works or is refused by its name, and errors have one shape."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx2
import pytest
import torch
from tiny_server import CONTEXT, tiny_models, tokenizer

from parrotlet.model.context import CausalContext

HELLO = [{"role": "user", "content": "Hello"}]
CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"


def chat(**more: Any) -> dict[str, Any]:
    return {"messages": HELLO, "max_tokens": 3, **more}


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    """The error, in OpenAI's shape."""
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str) and isinstance(body["error"]["type"], str)
    assert answer.headers["x-request-id"]
    found: dict[str, Any] = body["error"]
    return found


def talk(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "x"} for role in roles]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("temperature", {"temperature": -0.1}, "temperature"),
    ("temperature high", {"temperature": 2.1}, "temperature"),
    ("temperature text", {"temperature": "1"}, "temperature"),
    ("temperature bool", {"temperature": True}, "temperature"),
    ("top_p zero", {"top_p": 0}, "top_p"),
    ("top_k", {"top_k": -2}, "top_k"),
    ("min_p", {"min_p": 1.5}, "min_p"),
    ("max_tokens zero", {"max_tokens": 0}, "max_tokens"),
    ("max_tokens negative", {"max_tokens": -1}, "max_tokens"),
    ("max_tokens float", {"max_tokens": 1.5}, "max_tokens"),
    ("max_completion_tokens", {"max_completion_tokens": -7}, "max_completion_tokens"),
    ("min_tokens", {"min_tokens": 9}, "min_tokens"),
    ("seed", {"seed": 2**63}, "seed"),
    ("seed bool", {"seed": False}, "seed"),
    ("n zero", {"n": 0}, "n"),
    ("n many", {"n": 9}, "n"),
    ("stop empty", {"stop": ""}, "stop"),
    ("stop of empties", {"stop": ["a", ""]}, "stop[1]"),
    ("stop many", {"stop": list("abcde")}, "stop"),
    ("stream", {"stream": "yes"}, "stream"),
    ("stream_options", {"stream_options": {"include_usage": True}}, "stream_options"),
    ("top_logprobs alone", {"top_logprobs": 2}, "top_logprobs"),
    ("top_logprobs many", {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ("presence_penalty", {"presence_penalty": 2.5}, "presence_penalty"),
    ("frequency_penalty", {"frequency_penalty": -2.5}, "frequency_penalty"),
    ("repetition_penalty", {"repetition_penalty": 0}, "repetition_penalty"),
    ("logit_bias name", {"logit_bias": {"x": 1}}, "logit_bias.x"),
    ("logit_bias of a control", {"logit_bias": {"299": 1}}, "logit_bias"),
    ("logit_bias far", {"logit_bias": {"99999": 1}}, "logit_bias"),
    ("tools", {"tools": [{"type": "function"}]}, "tools"),
    ("tool_choice", {"tool_choice": "required"}, "tool_choice"),
    ("response_format", {"response_format": {"type": "json_object"}}, "response_format"),
    ("functions", {"functions": [{}]}, "functions"),
    ("modalities", {"modalities": ["audio"]}, "modalities"),
    ("suffix", {"suffix": "x"}, "suffix"),
    ("best_of", {"best_of": 2}, "best_of"),
    ("ignore_eos", {"ignore_eos": True}, "ignore_eos"),
    ("no messages", {"messages": []}, "messages"),
    ("messages missing", {"messages": None}, "messages"),
    ("model", {"model": 7}, "model"),
    ("image", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ""),
    ("name", {"messages": [{"role": "user", "content": "x", "name": "Bo"}]}, "messages[0].name"),
    ("tool role", {"messages": talk("tool")}, "messages[0].role"),
]


@pytest.mark.parametrize(
    ("fields", "param"), [each[1:] for each in WRONG], ids=[w[0] for w in WRONG]
)
def test_a_wrong_value_is_refused_by_its_name(
    http: httpx2.Client, fields: dict[str, Any], param: str
) -> None:
    answer = http.post(CHAT, json=chat(**fields))
    assert answer.status_code == 400
    assert (error_of(answer)["param"] or "").startswith(param)


@pytest.mark.parametrize(
    "roles",
    [["assistant"], ["user", "user"], ["user", "system"], ["user", "assistant"], ["system"]],
)
def test_messages_in_no_order_are_refused(http: httpx2.Client, roles: list[str]) -> None:
    answer = http.post(CHAT, json={"messages": talk(*roles)})
    assert answer.status_code == 400 and "message" in error_of(answer)["message"]


def test_roles_and_parts_that_mean_the_same_are_the_same(http: httpx2.Client) -> None:
    def said(messages: list[Any]) -> str:
        asked = {"messages": messages, "temperature": 0, "max_tokens": 12}
        text: str = http.post(CHAT, json=asked).json()["choices"][0]["message"]["content"]
        return text

    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert said([{"role": "user", "content": parts}]) == said(HELLO)
    orders = [{"role": role, "content": "Be brief."} for role in ("system", "developer")]
    assert said([orders[0], *HELLO]) == said([orders[1], *HELLO]) != said(HELLO)


def test_neutral_values_of_what_is_not_supported_are_taken(http: httpx2.Client) -> None:
    fields = {
        "tools": [], "response_format": {"type": "text"}, "best_of": 1, "user": "me",
        "suffix": None, "metadata": {"a": "b"}, "store": True, "parallel_tool_calls": False,
        "logit_bias": {},
        "top_k": 0, "stop": None, "n": None, "temperature": None, "tool_choice": "auto",
    }  # fmt: skip
    answer = http.post(CHAT, json=chat(**fields))
    assert answer.status_code == 200 and "x-parrotlet-warning" not in answer.headers


@pytest.mark.parametrize("field", ["top_k", "seed", "min_tokens", "max_tokens", "n", "logprobs"])
@pytest.mark.parametrize("number", [2**31, 2**63, 2**70, -(2**70)])
def test_numbers_of_any_size_are_answered(http: httpx2.Client, field: str, number: int) -> None:
    """By what they mean or by 400; the engine goes on."""
    asked = {"prompt": "the", "max_tokens": 2, "temperature": 1, "top_p": 0.9}
    assert http.post(COMPLETE, json=asked | {field: number}).status_code in (200, 400)
    assert http.post(COMPLETE, json=asked).status_code == 200


@pytest.mark.parametrize("cut", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
def test_each_cut_reaches_the_engine(http: httpx2.Client, cut: dict[str, float]) -> None:
    """One that leaves only the best token is greedy, whatever the seed and however hot."""

    def said(**fields: Any) -> str:
        text: str = http.post(COMPLETE, json={"prompt": "the", **fields}).json()["choices"][0][
            "text"
        ]
        return text

    hot = [{"temperature": 2, "seed": seed} for seed in range(4)]
    assert len({said(**each) for each in hot}) > 1
    assert {said(**each, **cut) for each in hot} == {said(temperature=0)}


def test_repetition_and_length_reach_the_engine(http: httpx2.Client) -> None:
    def answer(**fields: Any) -> dict[str, Any]:
        asked = {"prompt": "the the", "temperature": 0, "max_tokens": 40, "min_tokens": 40}
        found: dict[str, Any] = http.post(COMPLETE, json=asked | fields).json()
        return found

    def said(penalty: float) -> str:
        text: str = answer(repetition_penalty=penalty)["choices"][0]["text"]
        return text

    assert said(1.0) != said(100.0)
    whole = http.post(CHAT, json=chat(max_tokens=9, max_completion_tokens=2, min_tokens=2)).json()
    assert whole["usage"]["completion_tokens"] == 2 and answer()["usage"]["completion_tokens"] == 40


def test_unknown_fields_are_told_of(http: httpx2.Client) -> None:
    answer = http.post(CHAT, json=chat(**{"temprature": 1, "x\r\ny: z é": 2}))
    assert answer.status_code == 200
    assert answer.headers["x-parrotlet-warning"].startswith(
        "ignored unknown fields: temprature, x??y"
    )


BODIES: list[tuple[bytes, str, int, str | None]] = [
    (b"{", "application/json", 400, "json_invalid"),
    (b"", "application/json", 400, None),
    (b"[]", "application/json", 400, None),
    (b"null", "application/json", 400, None),
    (b'{"messages": NaN}', "application/json", 400, "json_invalid"),
    (b'{"temperature": Infinity}', "application/json", 400, "json_invalid"),
    (b'{"temperature": 1e999}', "application/json", 400, None),
    (b'{"messages": "\xff"}', "application/json", 400, "json_invalid"),
    (b'{"messages": "\\ud800"}', "application/json", 400, "json_invalid"),
    (b"[" * 100_000, "application/json", 400, "json_invalid"),
    (b"[" * 100 + b"]" * 100, "application/json", 400, "json_too_deep"),
    (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", 400, None),
    (b" " * 2_000_000, "application/json", 413, "payload_too_large"),
    (b'{"messages": []}', "text/plain", 415, "unsupported_media_type"),
    (b'{"messages": []}', "", 415, "unsupported_media_type"),
    (b"messages=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
]


@pytest.mark.parametrize(("body", "kind", "status", "code"), BODIES)
def test_what_is_no_json_of_ours_is_refused(
    http: httpx2.Client, body: bytes, kind: str, status: int, code: str | None
) -> None:
    answer = http.post(CHAT, content=body, headers={"content-type": kind} if kind else {})
    error = error_of(answer)
    assert answer.status_code == status and code in (None, error["code"])


def test_a_body_without_a_length_has_the_same_limit(http: httpx2.Client) -> None:
    def endless() -> Any:
        while True:
            yield b" " * 65536

    answer = http.post(CHAT, content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/v1/nothing", 404), ("POST", "/v1/embeddings", 404),
        ("POST", "/v1/responses", 404), ("GET", CHAT, 405), ("DELETE", "/v1/models", 405),
        ("GET", "/docs", 404), ("GET", "/v1/models/..%2Ftiny", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_says_so(
    http: httpx2.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert error_of(answer)["type"] == "invalid_request_error"


def test_too_many_and_too_long_are_refused_before_any_work(http: httpx2.Client) -> None:
    many = http.post(CHAT, json={"messages": talk(*["user", "assistant"] * 300, "user")})
    assert many.status_code == 400 and error_of(many)["code"] == "too_many"
    long = http.post(COMPLETE, json={"prompt": "x" * 40_000})
    assert long.status_code == 400 and error_of(long)["code"] == "too_long"
    ids = http.post(COMPLETE, json={"prompt": [1] * CONTEXT})
    assert ids.status_code == 400 and f"{CONTEXT + 1} tokens" in error_of(ids)["message"]
    crowd = http.post(COMPLETE, json={"prompt": ["x"] * 20, "n": 8})
    assert crowd.status_code == 400 and error_of(crowd)["code"] == "too_many"


def test_a_prompt_of_ids_is_that_prompt(http: httpx2.Client) -> None:
    asked = {"model": "raw", "temperature": 0, "max_tokens": 9}
    ids = http.post("/tokenize", json={"prompt": "the dog", "add_special_tokens": True}).json()
    texts = [
        http.post(COMPLETE, json={**asked, "prompt": prompt}).json()["choices"][0]["text"]
        for prompt in ("the dog", ids["tokens"], ids["tokens"][1:])
    ]
    assert texts[0] == texts[1] == texts[2]
    far = http.post(COMPLETE, json={**asked, "prompt": [300]})
    assert far.status_code == 400 and "no token 300" in error_of(far)["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_echo_scores_the_prompt_as_the_model_does(
    http: httpx2.Client, runs: Any, stream: bool
) -> None:
    """With the request that lm-eval's local-completions makes for a log-likelihood."""
    text = "the cat sat on é the mat \U0001f600"
    ids = tokenizer().encode(text)
    asked = {
        "model": "raw", "prompt": [ids, ids[:5]], "temperature": 0, "max_tokens": 1, "logprobs": 1,
        "seed": 1234, "echo": True, "stream": stream,
    }  # fmt: skip
    answer = http.post(COMPLETE, json=asked)
    assert answer.status_code == 200
    if stream:
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        choices = [choice for line in lines for choice in json.loads(line)["choices"]]
        found: dict[str, list[Any]] = {}
        for choice in choices:
            for name, values in (choice["logprobs"] or {}).items():
                if choice["index"] == 0:
                    found[name] = found.get(name, []) + values
        said = "".join(choice["text"] for choice in choices if choice["index"] == 0)
    else:
        first, second = answer.json()["choices"]
        found, said = first["logprobs"], first["text"]
        assert second["logprobs"]["token_logprobs"][:5] == pytest.approx(
            found["token_logprobs"][:5], abs=1e-5
        )
    assert said.startswith(text)
    assert all(len(found[name]) == len(ids) + 1 for name in found)
    model = tiny_models(runs, slots=1).get("raw").lane.engine._runner.model
    with torch.inference_mode():
        rows = torch.tensor([[tokenizer().bos_id, *ids]])
        scores = model(rows, CausalContext.of(rows))[0].float().log_softmax(-1)
    expected = scores[:-1].gather(1, rows[0, 1:, None])[:, 0].tolist()
    assert found["token_logprobs"][:-1] == pytest.approx(expected, abs=1e-4)
    greedy = [score == max(top.values()) for score, top in
              zip(found["token_logprobs"], found["top_logprobs"], strict=True)]  # fmt: skip
    assert greedy[:-1] == [int(row.argmax()) == id for row, id in zip(scores, ids, strict=False)]


def test_a_text_can_be_scored_without_an_answer(http: httpx2.Client) -> None:
    asked = {"model": "raw", "prompt": "the cat", "max_tokens": 0, "logprobs": 2, "echo": True}
    answer = http.post(COMPLETE, json=asked).json()
    choice = answer["choices"][0]
    assert choice["text"] == "the cat" == "".join(choice["logprobs"]["tokens"])
    offsets = choice["logprobs"]["text_offset"]
    for offset, token in zip(offsets, choice["logprobs"]["tokens"], strict=True):
        assert choice["text"][offset:].startswith(token)
    assert answer["usage"]["completion_tokens"] == 0 and choice["finish_reason"] == "length"
    plain = http.post(COMPLETE, json={**asked, "logprobs": None}).json()["choices"][0]
    assert plain["text"] == "the cat" and plain["logprobs"] is None
    alone = http.post(COMPLETE, json={**asked, "echo": False})
    assert alone.status_code == 400 and error_of(alone)["param"] == "max_tokens"


def test_tokens_of_a_text_there_and_back(http: httpx2.Client) -> None:
    text = "the cat \U0001f600 <|end|>"
    found = http.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])
    assert found["max_model_len"] == CONTEXT
    assert max(found["tokens"]) < tokenizer().first_special
    back = http.post("/detokenize", json={"tokens": found["tokens"]}).json()
    assert back["prompt"].removeprefix(" ") == text
    asked = http.post("/tokenize", json={"messages": HELLO}).json()
    assert asked["tokens"][-1] == tokenizer().special("<|assistant|>")
    assert http.post("/tokenize", json={}).status_code == 400
    assert http.post("/detokenize", json={"tokens": [9999]}).status_code == 400


def test_health_readiness_version_and_moderation(http: httpx2.Client) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/ready").status_code == 200
    assert http.get("/version").json()["version"]
    answer = http.post("/v1/moderations", json={"input": ["fine", "also fine"]})
    assert answer.status_code == 404 and error_of(answer)["code"] == "no_filters"


def test_metrics_count_what_happened(http: httpx2.Client) -> None:
    def value(name: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = {name: value(name) for name in ("parrotlet_generation_tokens_total",
                                             "parrotlet_prompt_tokens_total",
                                             'parrotlet_requests_total{code="400"}')}  # fmt: skip
    usage = http.post(CHAT, json=chat(seed=1)).json()["usage"]
    http.post(CHAT, json={})
    after = {name: value(name) for name in before}
    assert [after[name] - before[name] for name in before] == [
        usage["completion_tokens"], usage["prompt_tokens"], 1,
    ]  # fmt: skip
    assert value("parrotlet_num_requests_running") == 0
    assert 0 <= value("parrotlet_kv_cache_usage_perc") <= 1


def test_a_look_inside(http: httpx2.Client) -> None:
    messages = [*HELLO, {"role": "assistant", "content": "the cat"}]
    found = http.post("/inspect", json={"messages": messages, "layer": 1, "top": 4}).json()
    count = len(found["tokens"])
    learned = "".join(each["text"] for each in found["tokens"] if each["learned"])
    assert learned.strip() == "the cat<|end|>"
    assert [len(each) for each in found["lens"]] == [4, 4]
    assert found["lens"][-1] == found["next"]
    attention = found["attention"]
    assert len(attention) == 2 and all(len(head) == count for head in attention)
    for row, weights in enumerate(attention[0]):
        assert sum(weights) == pytest.approx(1, abs=1e-3)
        assert all(each == 0 for each in weights[row + 1 :])
    best = http.post(COMPLETE, json={
        "model": "tiny", "prompt": [each["id"] for each in found["tokens"]][:-1],
        "max_tokens": 1, "temperature": 0, "logprobs": 4,
    }).json()["choices"][0]["logprobs"]["top_logprobs"][0]  # fmt: skip
    shorter = http.post("/inspect", json={
        "messages": messages, "position": count - 2, "top": 4}).json()  # fmt: skip
    assert [math.exp(each) for each in best.values()] == pytest.approx(
        [each["probability"] for each in shorter["next"]], abs=1e-4
    )
    far = http.post("/inspect", json={"text": "x", "layer": 2})
    assert far.status_code == 400 and error_of(far)["param"] == "layer"
