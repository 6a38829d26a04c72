"""One answer for one request: alone, in any batch, in any chunks, preempted, with prefixes reused.

Every architecture, float32. The slow counts are those the project promises; the default ones are
the same test on fewer prompts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest
import torch

from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Event, Request, SamplingSettings
from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model

VOCAB, CONTEXT = 61, 80
MARGIN = 1e-4  # nearer than this, rounding may choose the best token
FEW, MANY = 20, 500
KINDS = [
    SamplingSettings(temperature=0.0),
    SamplingSettings(temperature=0.9, top_k=20),
    SamplingSettings(top_p=0.9, frequency_penalty=0.3),
]
WAYS: list[dict[str, int | bool]] = [
    {"slots": 2, "chunk": 1},
    {"slots": 8, "chunk": 7, "reuse": False},
    {"slots": 16, "chunk": 64, "preempt": True},
    {"slots": 64, "chunk": 16},
    {"slots": 3, "chunk": 3, "preempt": True},
]


@cache
def tiny(arch: str) -> Model:
    """Weights so large that answers hang on all that came before."""
    shape = {
        "arch": arch,
        "vocab_size": VOCAB,
        "context": CONTEXT,
        "depth": 2,
        "width": 16,
        "heads": 4,
        "kv_heads": 4 if arch == "gpt2" else 2,
        "head_width": 4,
        "mlp_width": 32,
        "tied": arch != "swift",
        "bigrams": 5 * VOCAB if arch == "swift" else 0,
    }
    model = build_model(ModelConfig.from_json(shape))
    generator = torch.Generator().manual_seed(6)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def requests(count: int, sampling: SamplingSettings) -> list[Request]:
    """Families of prompts with common beginnings; some ask the same with another choice."""
    chooser = random.Random(7)
    stems = [[chooser.randrange(VOCAB) for _ in range(50)] for _ in range(5)]
    found = []
    for index in range(count):
        stem = chooser.choice(stems)[: chooser.randint(0, 50)]
        prompt = (*stem, *(chooser.randrange(VOCAB) for _ in range(chooser.randint(1, 6))))
        if index % 5 == 4:
            prompt = found[-1].prompt
        asked = Request(
            prompt=prompt,
            max_tokens=chooser.randint(1, 16),
            sampling=sampling,
            choice=index % 5,
            alternatives=2,
        )
        found.append(asked)
    return found


def answer(engine: Engine, wanted: Sequence[Request], preempt: bool = False) -> list[list[Event]]:
    chooser = random.Random(8)
    ids = [engine.add(each) for each in wanted]
    found: dict[int, list[Event]] = {id: [] for id in ids}
    while not engine.idle:
        for event in engine.step():
            found[event.request].append(event)
        if preempt and chooser.random() < 0.05:
            for id in chooser.sample(ids, len(ids) // 4):
                engine.preempt(id)
    return [found[id] for id in ids]


def compare(arch: str, sampling: SamplingSettings, count: int) -> None:
    """Every way against alone; answers that hang on rounding are counted and may be few."""
    wanted = requests(count, sampling)
    alone = [answer(Engine(tiny(arch), slots=1, reuse=False), [each])[0] for each in wanted]
    clear = [
        all(event.alternatives[0][1] - event.alternatives[1][1] > MARGIN for event in events)
        or sampling.temperature > 0
        for events in alone
    ]
    close = clear.count(False)
    assert close <= count // 10, f"{close} of {count} answers have two best tokens in {MARGIN}"
    preempted = reused = 0
    for way in WAYS:
        engine = Engine(
            tiny(arch),
            slots=int(way["slots"]),
            prefill_chunk=int(way["chunk"]),
            reuse=bool(way.get("reuse", True)),
        )
        found = answer(engine, wanted, bool(way.get("preempt")))
        for is_clear, one, other in zip(clear, alone, found, strict=True):
            if is_clear:
                assert [event.token for event in one] == [event.token for event in other], way
                for left, right in zip(one, other, strict=True):
                    assert left.logprob == pytest.approx(right.logprob, abs=1e-4)
        preempted += engine.load.preemptions
        reused += engine.load.reused_tokens
    assert preempted > 3 and reused > 5 * count


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_greedy_and_seeded_answers_of_some(arch: str) -> None:
    compare(arch, KINDS[list(ARCHITECTURES).index(arch)], FEW)


@pytest.mark.slow
@pytest.mark.timeout(7200)  # the machine may be busy, or stand still for a while
@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_greedy_and_seeded_answers_of_many(arch: str, kind: int) -> None:
    compare(arch, KINDS[kind], MANY)
