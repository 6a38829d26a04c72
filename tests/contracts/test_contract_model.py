"""What every listed architecture keeps to; a newcomer is tested by being listed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.cache import KVCache, SlotContext
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

VOCAB, CONTEXT = 61, 32
TIED = {"gpt2": (True, False), "qwen3": (True, False), "swift": (False,)}
EVERY = [(arch, tied) for arch in ARCHITECTURES for tied in TIED[arch]]
every_model = pytest.mark.parametrize(("arch", "tied"), EVERY)


def config_of(arch: str, tied: bool) -> ModelConfig:
    return ModelConfig.from_json(
        {
            "arch": arch,
            "vocab_size": VOCAB,
            "context": CONTEXT,
            "depth": 3,
            "width": 32,
            "heads": 4,
            "kv_heads": 4 if arch == "gpt2" else 2,
            "head_width": 8,
            "mlp_width": 96,
            "tied": tied,
            "bigrams": 305 if arch == "swift" else 0,
        }
    )


def lively(arch: str, tied: bool, dtype: torch.dtype = torch.float32) -> Model:
    """A model in which every parameter does something: first values of zero would hide much."""
    model = build_model(config_of(arch, tied), dtype)
    generator = torch.Generator().manual_seed(3)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def draw_ids(rows: int, time: int) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(4))


@every_model
def test_shapes_and_dtypes(arch: str, tied: bool) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = lively(arch, tied, dtype)
        ids = draw_ids(2, 9)
        hidden = model.hidden(ids, CausalContext.of(ids))
        assert hidden.shape == (2, 9, 32) and hidden.dtype == dtype
        assert model.logits(hidden).shape == (2, 9, VOCAB)
        assert model.logits(hidden[0, 3:5]).shape == (2, VOCAB), "losses call it on chunks"
        assert model.logits(hidden).dtype == dtype
        assert torch.equal(model(ids, CausalContext.of(ids)), model.logits(hidden))
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@every_model
@torch.no_grad()
def test_no_token_sees_a_later_one(arch: str, tied: bool) -> None:
    model = lively(arch, tied)
    ids = draw_ids(1, 12)
    before = model(ids, CausalContext.of(ids))
    for t in (0, 5, 11):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % VOCAB
        after = model(changed, CausalContext.of(changed))
        torch.testing.assert_close(after[:, :t], before[:, :t], atol=1e-6, rtol=0)
        assert ((after - before)[:, t:].abs().amax(-1) > 1e-5).all(), "a later token did not notice"


def run_in_chunks(
    model: Model, cache: KVCache, slots: list[int], ids: Tensor, chunks: list[list[int]]
) -> Tensor:
    """Logits of every row of `ids`, row b fed in pieces of chunks[b] tokens beside the others.

    In pass n the rows that have an n-th piece run together, grouped by its length.
    """
    out = torch.zeros(*ids.shape, VOCAB)
    done = [0] * len(slots)
    for step in range(max(map(len, chunks))):
        active = [row for row in range(len(slots)) if step < len(chunks[row])]
        for time in sorted({chunks[row][step] for row in active}):
            rows = [row for row in active if chunks[row][step] == time]
            piece = torch.stack([ids[row, done[row] : done[row] + time] for row in rows])
            starts = torch.tensor([done[row] for row in rows])
            numbers = torch.tensor([slots[row] for row in rows])
            longest = max(done[row] for row in rows) + time
            logits = model(piece, SlotContext(cache, numbers, starts, piece, longest=longest))
            for index, row in enumerate(rows):
                out[row, done[row] : done[row] + time] = logits[index]
                done[row] += time
    return out


@every_model
@torch.no_grad()
def test_cached_in_any_chunks_is_full(arch: str, tied: bool) -> None:
    """Rows of one batch in different chunkings, in scattered slots, and again in used slots."""
    model = lively(arch, tied)
    cache = KVCache(
        model.config, slots=4, length=20, dtype=torch.float32, device=torch.device("cpu")
    )
    chunkings = [
        [[20], [1] * 20, [7, 1, 1, 1, 10]],
        [[1] * 20, [1, 1, 3, 15], [1] * 20],
        [[10, 10], [10, 10], [5, 5, 5, 5]],
    ]
    ids = draw_ids(3, 20)
    for turn, (slots, chunks) in enumerate(
        zip([[0, 1, 2], [3, 1, 0], [2, 3, 1]], chunkings, strict=True)
    ):
        turned = (ids + turn) % VOCAB
        full = model(turned, CausalContext.of(turned))
        found = run_in_chunks(model, cache, slots, turned, chunks)
        torch.testing.assert_close(found, full, atol=1e-5, rtol=0)


@every_model
@torch.no_grad()
def test_packed_segments_are_each_alone(arch: str, tied: bool) -> None:
    model = lively(arch, tied)
    ids = draw_ids(2, 16)
    lengths = [[5, 11], [1, 9, 6]]
    segments = torch.stack(
        [torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in lengths]
    )
    packed = model(ids, CausalContext.of(ids, segments))
    for row in range(2):
        begin = 0
        for length in lengths[row]:
            part = ids[row : row + 1, begin : begin + length]
            alone = model(part, CausalContext.of(part))
            found = packed[row : row + 1, begin : begin + length]
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
            begin += length


@every_model
@torch.no_grad()
def test_order_matters(arch: str, tied: bool) -> None:
    """Positions do something: the same tokens before, in another order, give other logits."""
    model = lively(arch, tied)
    ids = draw_ids(1, 8)
    swapped = ids[:, [1, 0, 2, 3, 4, 5, 6, 7]]
    last = model(ids, CausalContext.of(ids))[0, -1]
    assert (model(swapped, CausalContext.of(swapped))[0, -1] - last).abs().max() > 1e-4


@every_model
@torch.no_grad()
def test_bfloat16_stays_near(arch: str, tied: bool) -> None:
    """Within 5% of the logits' spread on average: 8 bits of fraction, a few dozen roundings."""
    ids = draw_ids(4, 24)
    exact = lively(arch, tied)(ids, CausalContext.of(ids))
    rounded = lively(arch, tied, torch.bfloat16)(ids, CausalContext.of(ids)).float()
    assert (rounded - exact).abs().mean() < 0.05 * exact.std()


@every_model
@torch.no_grad()
def test_weights_cast_once_give_the_same_as_cast_on_the_way(arch: str, tied: bool) -> None:
    """The engine casts a model; the trainer keeps float32 masters."""
    ids = draw_ids(2, 10)
    masters = lively(arch, tied, torch.bfloat16)
    cast = lively(arch, tied, torch.bfloat16).to(torch.bfloat16)
    found = cast(ids, CausalContext.of(ids)).float()
    expected = masters(ids, CausalContext.of(ids)).float()
    assert (found - expected).abs().mean() < 0.02 * expected.std()


@every_model
def test_every_parameter_learns(arch: str, tied: bool) -> None:
    model = lively(arch, tied)
    ids = draw_ids(2, CONTEXT)
    logits = model(ids, CausalContext.of(ids))
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every_model
@pytest.mark.parametrize("places", [[0, 5, 19, 31], [17], [], list(range(32))])
def test_places_that_are_wanted_alone(arch: str, tied: bool, places: list[int]) -> None:
    """Their states and all gradients are as if every place had been computed."""
    model = lively(arch, tied)
    ids, wanted = draw_ids(2, 16), torch.tensor(places, dtype=torch.long)
    segments = (torch.arange(16) // 7).expand(2, 16)
    found = model.hidden(ids, CausalContext.of(ids, segments), wanted)
    expected = model.hidden(ids, CausalContext.of(ids, segments)).flatten(0, 1)[wanted]
    assert found.shape == (len(places), 32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    parameters = [each for name, each in model.named_parameters() if "head" not in name]
    pairs = zip(
        *(torch.autograd.grad(each.square().sum(), parameters) for each in (found, expected)),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@every_model
def test_first_values_come_from_the_generator(arch: str, tied: bool) -> None:
    def first_values(seed: int) -> dict[str, Tensor]:
        model = build_model(config_of(arch, tied))
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, float("nan"))  # all must be given a value
        model.init_weights(torch.Generator().manual_seed(seed))
        return dict(model.state_dict())

    torch.manual_seed(0)
    one = first_values(1)
    torch.manual_seed(1)
    again, other = first_values(1), first_values(2)
    assert all(value.isfinite().all() for value in one.values())
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["embed.weight"], other["embed.weight"])


@every_model
@torch.no_grad()
def test_first_guess_is_nearly_uniform(arch: str, tied: bool) -> None:
    """An untrained model knows nothing: its loss is about ln(V)."""
    model = build_model(config_of(arch, tied))
    model.init_weights(torch.Generator().manual_seed(0))
    ids = draw_ids(8, CONTEXT)
    log_probs = model(ids, CausalContext.of(ids)).log_softmax(-1)
    uniform = -torch.log(torch.tensor(float(VOCAB)))
    assert (log_probs[:, :-1].gather(-1, ids[:, 1:, None]).mean() - uniform).abs() < 0.1


@every_model
def test_names_and_the_tied_head(arch: str, tied: bool) -> None:
    model = lively(arch, tied)
    names = list(model.state_dict())
    assert names == [name for name, _ in model.named_parameters()], "a buffer, or a name twice"
    assert "embed.weight" in names
    assert ("head.weight" in names) != tied
    ids = draw_ids(1, 4)
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    before = model.logits(hidden)
    with torch.no_grad():
        model.get_parameter("embed.weight")[7] += 1.0
    assert (before != model.logits(hidden)).any(0).nonzero().flatten().tolist() == (
        [7] if tied else []
    )
    assert model(ids, CausalContext.of(ids)).isfinite().all()
