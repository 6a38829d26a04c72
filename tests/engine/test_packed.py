"""Packed matrices: how far from the exact ones, and the same for a row in every batch."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional as F

from parrotlet.core.errors import UsageError
from parrotlet.engine import packed
from parrotlet.engine.engine import Engine
from parrotlet.engine.fidelity import packing_error
from parrotlet.engine.packed import LARGE, Float16Map, Int8Map, Weights, can_pack, make_map
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

needs_float16 = pytest.mark.skipif(not can_pack("float16"), reason="no FBGEMM on this processor")
needs_int8 = pytest.mark.skipif(not can_pack("int8"), reason="no avx512_vnni on this processor")
both = pytest.mark.parametrize(
    "weights",
    [pytest.param("float16", marks=needs_float16), pytest.param("int8", marks=needs_int8)],
)
# relative, root mean square: 2**-11 / sqrt(3) of one rounding; 1/127 of the largest for the other
ERROR = {"float16": 4e-4, "int8": 2e-2}


@both
@pytest.mark.parametrize("biased", [False, True])
@torch.inference_mode()
def test_a_map_is_near_the_exact_one(weights: Weights, biased: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(size, 512, generator=generator) for size in (512, 256)]
    biases = [torch.randn(len(each), generator=generator) if biased else None for each in parts]
    x = torch.randn(2, 3, 512, generator=generator)
    made = make_map(parts, biases, torch.float32, weights)
    assert isinstance(made, Float16Map if weights == "float16" else Int8Map)
    found = made(x)
    exact = torch.cat([F.linear(x, one, bias) for one, bias in zip(parts, biases, strict=True)], -1)
    assert found.shape == exact.shape
    error = float((found - exact).square().mean().sqrt() / exact.std())
    assert 0 < error < ERROR[weights], "packed, and near"
    plain = make_map(parts, biases, torch.float32, None)(x)
    torch.testing.assert_close(plain, exact)


@pytest.mark.parametrize("outputs", [1024, 1027])
@pytest.mark.parametrize("biased", [False, True])
@torch.inference_mode()
def test_one_row_in_parts_is_that_row(outputs: int, biased: bool) -> None:
    """Every thread has a part of a large matrix; some of its outputs may be left over."""
    generator = torch.Generator().manual_seed(6)
    weight = torch.randn(outputs, LARGE // 1024, generator=generator)
    bias = torch.randn(outputs, generator=generator) if biased else None
    x = torch.randn(1, 1, weight.shape[1], generator=generator)
    threads = torch.get_num_threads()
    try:
        for torch_threads in (1, 2, 3):
            torch.set_num_threads(torch_threads)
            found = make_map([weight], [bias], torch.float32, None)(x)
            torch.testing.assert_close(found, F.linear(x, weight, bias), atol=1e-4, rtol=1e-5)
    finally:
        torch.set_num_threads(threads)


@needs_int8
@torch.inference_mode()
def test_small_matrices_are_not_int8() -> None:
    assert isinstance(make_map([torch.ones(8, 8)], [None], torch.float32, "int8"), Float16Map)


@both
@torch.inference_mode()
def test_a_row_is_the_same_in_every_batch(weights: Weights) -> None:
    generator = torch.Generator().manual_seed(2)
    made = make_map([torch.randn(600, 500, generator=generator)], [None], torch.float32, weights)
    x = torch.randn(40, 500, generator=generator) * torch.logspace(-3, 3, 40)[:, None]
    alone = torch.cat([made(row) for row in x.split(1)])
    tolerance = 0.0 if weights == "int8" else 1e-5
    torch.testing.assert_close(made(x), alone, atol=0, rtol=tolerance)
    assert not made(torch.zeros(1, 500)).any(), "a row of zeros has no scale"


def small(arch: str) -> Model:
    shape = {
        "arch": arch,
        "vocab_size": 2000,
        "context": 64,
        "depth": 2,
        "width": 256,
        "heads": 4,
        "kv_heads": 4 if arch == "gpt2" else 2,
        "head_width": 64,
        "mlp_width": 1024,
        "tied": arch != "swift",
        "bigrams": 450 if arch == "swift" else 0,
    }
    model = build_model(ModelConfig.from_json(shape))
    generator = torch.Generator().manual_seed(3)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.03)
    return model


@both
@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_a_packed_model_says_nearly_the_same(arch: str, weights: Weights) -> None:
    """Log-probabilities of given ids, the model left as it was, and answers free of the batch."""
    model = small(arch)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chooser = random.Random(4)
    prompts = [tuple(chooser.randrange(2000) for _ in range(20)) for _ in range(5)]
    engine = Engine(model, slots=3, quantize=weights)
    asked = Request(prompt=prompts[0], max_tokens=0, prompt_logprobs=True)
    engine.add(asked)
    [event] = engine.step()
    row = torch.tensor([prompts[0]])
    with torch.no_grad():
        exact = model(row, CausalContext.of(row)).log_softmax(-1)[0]
    differences = [
        abs(float(exact[place, each.token]) - (each.logprob or 0.0))
        for place, each in enumerate(event.prompt[1:])
    ]
    assert 0 < max(differences) < (0.02 if weights == "float16" else 0.6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    settings = SamplingSettings(seed=5)
    wanted = [Request(prompt=each, max_tokens=8, sampling=settings) for each in prompts]
    together = answers(engine, wanted)
    engine.load_weights(model)
    assert together == [answers(engine, [each])[0] for each in wanted]


@both
def test_the_error_that_is_reported(weights: Weights) -> None:
    """Nothing for exact weights, and what the kind of packing costs for others."""
    model = small("qwen3")
    assert packing_error(Engine(model), model, [5, 6]) < 1e-5
    engine = Engine(model, quantize=weights)
    error = packing_error(engine, model, [5, 6])
    assert 1e-6 < error < (0.01 if weights == "float16" else 0.3)
    assert engine.idle and packing_error(engine, model, [5, 6]) == pytest.approx(error, abs=1e-5)


def answers(engine: Engine, wanted: list[Request]) -> list[list[int | None]]:
    said: dict[int, list[int | None]] = {engine.add(each): [] for each in wanted}
    while not engine.idle:
        for event in engine.step():
            said[event.request].append(event.token)
    return list(said.values())


def test_a_machine_that_cannot_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "can_pack", lambda _: False)
    with pytest.raises(UsageError, match="quantize int8 needs a CPU with the instructions"):
        Engine(small("qwen3"), quantize="int8")
