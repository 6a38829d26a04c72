"""A look inside a model: tokens, what is learned, attention, what each layer would say.

The logit lens (nostalgebraist, "interpreting GPT: the logit lens", 2020) reads every layer's state
with the last norm and the head, as if there were no more layers. One pass over the whole text, in
the engines' thread, without their caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from parrotlet.model.context import CausalContext
from parrotlet.model.layers import rms_norm
from parrotlet.model.model import Model
from parrotlet.serve.errors import ApiError
from parrotlet.serve.models import Served
from parrotlet.serve.schema import Body, ChatMessage
from parrotlet.text.chat import Conversation, render
from parrotlet.text.tokenizer import Tokenizer

MOST_TOKENS = 512  # attention maps grow with their square
DIGITS = 5


class InspectBody(Body):
    """POST /inspect: a text, or a conversation with the model's answer or without."""

    text: str | None = None
    messages: list[ChatMessage] | None = None
    position: int | None = Field(None, ge=0)  # where to look; the last token where it is left out
    layer: int | None = Field(None, ge=0)  # whose attention to show
    top: int = Field(10, ge=1, le=100)  # likeliest tokens


class WatchingContext(CausalContext):
    """Whole rows in one pass, keeping the attention of one layer: [H, T, T], rows sum to 1."""

    def __init__(self, ids: Tensor, layer: int | None) -> None:
        super().__init__(ids, None)
        self.weights: Tensor | None = None
        self._layer = layer

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
        """As without watching."""
        if layer == self._layer:
            keys = k.repeat_interleave(q.shape[2] // k.shape[2], dim=2)
            scores = torch.einsum("bqhc,bkhc->bhqk", q.float(), keys.float()) / q.shape[3] ** 0.5
            index = torch.arange(q.shape[1], device=q.device)
            hidden = index > index[:, None]
            if window is not None:
                hidden |= index <= index[:, None] - window
            self.weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)[0]
        return super().attend(layer, q, k, v, window)


@torch.inference_mode()
def look(model: Served, body: InspectBody) -> dict[str, Any]:
    """Everything the body asks for; ApiError where it asks for what is not there."""
    assert model.model is not None, "models are kept where they may be looked into"
    ids, learned = _ids(model.tokenizer, body)
    position = len(ids) - 1 if body.position is None else body.position
    depth = model.model.config.depth
    _check("text", len(ids), min(MOST_TOKENS, model.engine.length) + 1)
    _check("position", position, len(ids))
    _check("layer", body.layer or 0, depth)
    rows = torch.tensor([ids], device=next(model.model.parameters()).device)
    context = WatchingContext(rows, body.layer)
    states = _states(model.model, rows, context)
    logprobs = model.model.logits(states[-1])[0].float().log_softmax(-1)
    own = [None, *logprobs[:-1].gather(1, rows[0, 1:, None])[:, 0].tolist()]
    lens = [
        _best(model, model.model.logits(state[0, position]).float().log_softmax(-1), body.top)
        for state in states
    ]
    return {
        "tokens": [
            {**_token(model.tokenizer, id), "learned": each, "logprob": logprob}
            for id, each, logprob in zip(ids, learned, own, strict=True)
        ],
        "position": position,
        "layers": depth,
        "next": lens[-1],
        "lens": lens,
        "attention": None if context.weights is None else _rounded(context.weights),
    }


def _ids(tokenizer: Tokenizer, body: InspectBody) -> tuple[Sequence[int], Sequence[bool | None]]:
    """The tokens, and for each of a conversation whether a model would learn to say it."""
    if (body.text is None) == (body.messages is None):
        raise ApiError(400, "give a text or messages, one of them", param="text")
    if body.messages is None:
        ids = tokenizer.encode_document(body.text or "")
        return ids, [None] * len(ids)
    conversation = Conversation(tuple(each.message() for each in body.messages))
    rendered = render(conversation, tokenizer)
    if conversation.messages[-1].role == "assistant":
        return rendered.ids, rendered.mask
    begin = tokenizer.encode_pieces(tokenizer.template.assistant.before)
    return [*rendered.ids, *begin], [*rendered.mask, *[False] * len(begin)]


def _states(model: Model, rows: Tensor, context: WatchingContext) -> list[Tensor]:
    """The stream after each block, normed as the head is used to; the last is the model's own."""
    states: list[Tensor] = []

    def keep(_: Any, __: Any, output: Tensor) -> None:
        states.append(output)

    hooks = [
        block.register_forward_hook(keep) for block in model.get_submodule("blocks").children()
    ]
    try:
        last = model.hidden(rows, context)
    finally:
        for hook in hooks:
            hook.remove()
    norm = getattr(model, "norm", None)
    eps = model.config.norm_eps
    return [rms_norm(x, eps) if norm is None else norm(x) for x in states[:-1]] + [last]


def _best(model: Served, logprobs: Tensor, top: int) -> list[dict[str, Any]]:
    size = min(top, model.tokenizer.vocab_size)
    values, ids = logprobs[: model.tokenizer.vocab_size].topk(size)
    return [
        {**_token(model.tokenizer, id), "probability": round(value, DIGITS)}
        for id, value in zip(ids.tolist(), values.exp().tolist(), strict=True)
    ]


def _token(tokenizer: Tokenizer, id: int) -> dict[str, Any]:
    control = id >= tokenizer.first_special
    data = tokenizer.token_bytes(id)
    name = tokenizer.template.specials[id - tokenizer.first_special] if control else None
    text = name or data.decode(errors="replace")
    return {"id": id, "text": text, "bytes": list(data), "control": control}


def _rounded(values: Tensor) -> Any:
    return (values * 10**DIGITS).round().div(10**DIGITS).tolist()


def _check(name: str, value: int, limit: int) -> None:
    if value >= limit:
        raise ApiError(400, f"{name} is {value}; it must be below {limit}", param=name)
