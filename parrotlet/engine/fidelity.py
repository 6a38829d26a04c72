"""How far packed matrices move a model: measured on a text that the packed model writes itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Request
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

TOKENS = 64


def packing_error(engine: Engine, model: Model, start: Sequence[int]) -> float:
    """The mean difference, in nats, of the log-probabilities of the engine's own next tokens from
    those of `model`, whose weights it has packed.

    The engine must be idle; the text has at most TOKENS sampled tokens after the ids of `start`.
    """
    asked = Request(prompt=tuple(start), max_tokens=min(TOKENS, engine.length - len(start)))
    engine.add(asked)
    said, found = list(start), []
    while not engine.idle:
        for event in engine.step():
            assert event.token is not None and event.logprob is not None
            said.append(event.token)
            found.append(event.logprob)
    row = torch.tensor([said], device=next(model.parameters()).device)
    with torch.inference_mode():
        logits = model(row[:, :-1], CausalContext.of(row[:, :-1]))[0, -len(found) :].float()
        exact = logits.log_softmax(-1).gather(1, row[0, -len(found) :, None])[:, 0]
    packed = torch.tensor(found, device=exact.device)
    return float((packed - exact).abs().mean())
