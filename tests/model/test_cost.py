"""cost.py against what is really there: parameters, counted FLOPs, saved tensors, cache bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.cache import KVCache
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.cost import (
    STATE_BYTES,
    flops_per_token,
    forward_flops_per_token,
    kv_cache_bytes,
    num_matrix_parameters,
    num_parameters,
    training_bytes,
)

SMALL = ModelConfig(
    arch="qwen3",
    vocab_size=53,
    context=24,
    depth=2,
    width=40,
    heads=4,
    kv_heads=2,
    head_width=16,
    mlp_width=72,
)


def configs() -> list[ModelConfig]:
    found = []
    for depth in (1, 3):
        for tied in (True, False):
            shape = replace(SMALL, depth=depth, tied=tied)
            found.append(shape)
            found.append(replace(shape, arch="gpt2", kv_heads=4, head_width=10))
            if not tied:
                found.append(replace(shape, arch="swift"))
                found.append(replace(shape, arch="swift", bigrams=265))
    assert {config.arch for config in found} == set(ARCHITECTURES)
    return found


every_config = pytest.mark.parametrize(
    "config",
    configs(),
    ids=lambda config: f"{config.arch}-{config.depth}-{config.tied}-{config.bigrams}",
)


@every_config
def test_parameters(config: ModelConfig) -> None:
    model = build_model(config)
    assert num_parameters(config) == sum(each.numel() for each in model.parameters())
    matrices = sum(
        each.numel()
        for name, each in model.blocks.named_parameters()  # type: ignore[union-attr,operator]
        if each.ndim == 2 and not name.endswith("_embed.weight")
    )
    head = config.vocab_size * config.width
    assert num_matrix_parameters(config) == matrices + head


def test_gpt2_small_is_the_published_124_million() -> None:
    config = ModelConfig(
        arch="gpt2",
        vocab_size=50257,
        context=1024,
        depth=12,
        width=768,
        heads=12,
        kv_heads=12,
        head_width=64,
        mlp_width=3072,
    )
    assert num_parameters(config) == 124_439_808


@every_config
def test_flops(config: ModelConfig) -> None:
    """Plain attention is counted: the fused one's backward pass computes its scores again."""
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    ids = torch.zeros(2, 24, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH):
        forward = FlopCounterMode(display=False)
        with forward, torch.no_grad():
            model(ids, CausalContext.of(ids))
        both = FlopCounterMode(display=False)
        with both:
            model(ids, CausalContext.of(ids)).sum().backward()
    assert forward.get_total_flops() == 48 * forward_flops_per_token(config, 24)
    assert both.get_total_flops() == 48 * flops_per_token(config, 24)


def kept_bytes(config: ModelConfig, dtype: torch.dtype, rows: int, time: int) -> int:
    """Bytes autograd holds after the blocks of a forward pass, parameters aside."""
    model = build_model(config, dtype)
    parameters = {each.untyped_storage().data_ptr() for each in model.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(rows, time, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = model.hidden(ids, CausalContext.of(ids))
    assert states.grad_fn is not None
    return sum(held.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize("heads", [4, 8])
def test_training_bytes_are_near_what_autograd_keeps(
    heads: int, arch: str, dtype: torch.dtype
) -> None:
    """Per block (what two more of them add), at shapes of usual proportions: within 10%."""
    shape = {**SMALL.to_json(), "arch": arch, "tied": arch != "swift", "width": 32 * heads}
    shape |= {
        "heads": heads,
        "kv_heads": heads if arch == "gpt2" else heads // 2,
        "head_width": 32,
        "mlp_width": 96 * heads,
        "context": 128,
    }
    small, large = (ModelConfig.from_json({**shape, "depth": depth}) for depth in (2, 4))
    size = {"rows": 2, "context": 128, "bytes_per_number": dtype.itemsize}
    estimate = training_bytes(large, **size) - training_bytes(small, **size)
    estimate -= STATE_BYTES * (num_parameters(large) - num_parameters(small))
    measured = kept_bytes(large, dtype, 2, 128) - kept_bytes(small, dtype, 2, 128)
    assert abs(estimate / measured - 1) < 0.1, f"{estimate} estimated, {measured} measured"


def test_training_bytes_count_state_and_bounded_logits() -> None:
    queries_keys_values = SMALL.depth * 40 * (64 + 32 + 32)  # put together, a copy in float32
    by_hand = 16 * num_parameters(SMALL) + 4 * queries_keys_values
    assert training_bytes(SMALL, 0, 24) == by_hand
    free = training_bytes(SMALL, 4, 24, logits_at_once=0)
    assert training_bytes(SMALL, 4, 24) - free == 4 * 24 * 53 * 12
    assert training_bytes(SMALL, 4, 24, logits_at_once=100) - free == 100 * 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cache_bytes(dtype: torch.dtype) -> None:
    cache = KVCache(SMALL, slots=3, length=20, dtype=dtype, device=torch.device("cpu"))
    real = sum(tensor.nbytes for tensor in (*cache.keys, *cache.values))
    assert kv_cache_bytes(SMALL, 3 * 20, dtype.itemsize) == real
