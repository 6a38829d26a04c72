"""Invariant 2 (a split step is the whole step), and what the loop promises on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from parrotlet.core.errors import TrainingError
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import IGNORE, Batch, Step
from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Rates
from parrotlet.train.loop import MAX_SKIPPED, Learner, TrainState, train
from parrotlet.train.losses import next_token

CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)


def state_of(arch: str, optimizer: str = "adamw") -> TrainState:
    config = ModelConfig(
        arch=arch, vocab_size=40, context=16, depth=2, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32, tied=arch != "swift",
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():  # projections that start at zero would hide the gradients before them
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    settings = OptimizerConfig(optimizer=optimizer)  # type: ignore[arg-type]
    return TrainState(
        model=model,
        learner=Learner(model, next_token),
        optimizers=build_optimizers(model.named_parameters(), settings, fast_bfloat16=False),
        runtime=CPU,
    )


def rows(count: int, *, segments: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 40, (count, 12), generator=generator)
    targets = torch.randint(0, 40, (count, 12), generator=generator)
    for row in range(count):  # rows learn from 12, 11, 10, ... of their tokens
        targets[row, : min(row, 12)] = IGNORE
    cut = torch.arange(12).expand(count, 12) // 5 + 1
    return Batch(
        tokens=tokens,
        targets=targets,
        segments=cut.clone() if segments else None,
        count=int((targets != IGNORE).sum()),
    )


def part(batch: Batch, begin: int, end: int) -> Batch:
    targets = batch.targets[begin:end]
    return Batch(
        tokens=batch.tokens[begin:end],
        targets=targets,
        segments=None if batch.segments is None else batch.segments[begin:end],
        count=int((targets != IGNORE).sum()),
    )


def gradients(state: TrainState, step: Step) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Gradients as the optimizer would see them, and the reported loss."""
    found: dict[str, torch.Tensor] = {}

    def keep() -> None:
        for name, parameter in state.model.named_parameters():
            assert parameter.grad is not None
            found[name] = parameter.grad.detach().clone()

    state.optimizers.step = keep  # type: ignore[method-assign]
    report = next(train(state, iter([step]), schedule=lambda _: Rates(1.0, 0.9), clip=None))
    return found, report.loss


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_split_step_is_the_whole_step(arch: str, segments: bool) -> None:
    batch = rows(8, segments=segments)
    whole, loss = gradients(state_of(arch), [batch])
    split, split_loss = gradients(
        state_of(arch), [part(batch, 0, 1), part(batch, 1, 6), part(batch, 6, 8)]
    )
    assert torch.allclose(loss, split_loss, atol=1e-6)
    for name, value in whole.items():
        assert value.abs().max() > 0, name
        assert torch.allclose(value, split[name], atol=1e-5, rtol=1e-4), name


def test_the_loss_is_the_mean_over_learned_tokens() -> None:
    state, batch = state_of("gpt2"), rows(3)
    loss = gradients(state, [batch])[1]
    losses = []
    with torch.no_grad():
        from_model = next_token(state.model, batch)
        for row in range(3):
            one = part(batch, row, row + 1)
            losses.append(next_token(state.model, one))
    assert torch.allclose(from_model, torch.stack(losses).sum(), rtol=1e-5)
    assert torch.allclose(loss, from_model / batch.count, rtol=1e-5)


def test_the_next_step_is_pulled_after_the_weights_changed() -> None:
    state = state_of("qwen3")
    seen: list[torch.Tensor] = []

    def stream() -> Iterator[Step]:
        while True:
            seen.append(state.model.get_parameter("embed.weight").detach().clone())
            yield [rows(2)]

    reports = train(state, stream(), schedule=lambda _: Rates(1.0, 0.9), clip=None)
    next(reports)
    next(reports)
    assert len(seen) == 2
    assert not torch.equal(seen[0], seen[1])


def test_a_step_without_units_changes_no_direction() -> None:
    """A batch from which nothing is learned has no gradient, and divides by nothing."""
    state = state_of("qwen3")
    empty = Batch(
        tokens=torch.zeros(1, 4, dtype=torch.long),
        targets=torch.full((1, 4), IGNORE),
        count=0,
    )
    found, loss = gradients(state, [empty])
    assert float(loss) == 0.0
    assert all(not value.any() for value in found.values())


def dropped(rank: int, step: int, random: int) -> torch.Tensor:
    """The loss of one step with dropout, on a rank whose generator stands anywhere."""
    state = state_of("gpt2")
    state.model.set_dropout(0.5)
    state.runtime = replace(CPU, rank=rank)
    state.step = step
    torch.manual_seed(random)
    return gradients(state, [rows(4)])[1]


def test_ranks_drop_other_values_and_need_no_generator_kept() -> None:
    """The main rank's stream on a CPU is the checkpoint's; the others' follow from the step."""
    assert dropped(1, 7, random=1) == dropped(1, 7, random=2)
    assert len({float(dropped(rank, 7, random=1)) for rank in range(4)}) == 4
    assert dropped(1, 7, random=1) != dropped(1, 8, random=1)
    assert dropped(0, 7, random=1) == dropped(0, 8, random=1) != dropped(0, 7, random=2)


def test_clipping_scales_to_the_norm() -> None:
    free, _ = gradients(state_of("gpt2"), [rows(4)])
    norm = torch.sqrt(sum(value.square().sum() for value in free.values()))  # type: ignore[arg-type]
    state = state_of("gpt2")
    found: dict[str, torch.Tensor] = {}

    def keep() -> None:
        found.update({n: p.grad.clone() for n, p in state.model.named_parameters()})  # type: ignore[union-attr]

    state.optimizers.step = keep  # type: ignore[method-assign]
    limit = float(norm) / 4
    report = next(train(state, iter([[rows(4)]]), schedule=lambda _: Rates(1.0, 0.9), clip=limit))
    assert float(report.gradient_norm) == pytest.approx(float(norm), rel=1e-5)
    clipped = torch.sqrt(sum(value.square().sum() for value in found.values()))  # type: ignore[arg-type]
    assert float(clipped) == pytest.approx(limit, rel=1e-4)


def poison(model: Model) -> None:
    """Make every gradient NaN."""
    model.get_parameter("embed.weight").register_hook(lambda gradient: gradient * float("nan"))


def test_steps_without_finite_gradient_are_left_out_and_end_in_an_error() -> None:
    state = state_of("qwen3", "muon")
    poison(state.model)
    before = {name: each.detach().clone() for name, each in state.model.named_parameters()}
    reports = []
    with pytest.raises(TrainingError, match="no finite gradient"):
        for report in train(
            state, iter([[rows(2)]] * 99), schedule=lambda _: Rates(1.0, 0.9), clip=None
        ):
            reports.append(report)
    assert [report.skipped for report in reports] == [True] * (MAX_SKIPPED - 1)
    assert state.skipped == MAX_SKIPPED
    for name, parameter in state.model.named_parameters():
        assert torch.equal(parameter, before[name])


class Forgetful(nn.Module):
    """A learner for which more than so many rows at a time are out of memory."""

    def __init__(self, learner: nn.Module, rows: int, error: Exception) -> None:
        super().__init__()
        self.learner, self.rows, self.error = learner, rows, error
        self.seen: list[int] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        loss: torch.Tensor = self.learner(batch)
        self.seen.append(len(batch.tokens))
        if len(batch.tokens) > self.rows:
            raise self.error
        return loss


REFUSALS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", REFUSALS, ids=["cuda", "cpu", "python"])
def test_f14_out_of_memory_halves_the_microbatch_and_keeps_the_step(error: Exception) -> None:
    batch = rows(8, segments=True)
    whole, loss = gradients(state_of("qwen3"), [batch])
    state = state_of("qwen3")
    forgetful = Forgetful(state.learner, 3, error)
    state.learner = forgetful
    cut, cut_loss = gradients(state, [batch])
    assert torch.allclose(loss, cut_loss, atol=1e-6)
    for name, value in whole.items():
        assert torch.allclose(value, cut[name], atol=1e-5, rtol=1e-4), name
    assert forgetful.seen == [8, 4, 2, 2, 2, 2]
    gradients(state, [batch])  # what was learned about memory stays
    assert forgetful.seen[6:] == [2, 2, 2, 2]
    assert state.units == 2 * batch.count


def test_f14_a_row_too_large_ends_with_advice_and_weights_as_they_were() -> None:
    state = state_of("qwen3")
    state.learner = Forgetful(state.learner, 0, REFUSALS[0])
    before = {name: each.detach().clone() for name, each in state.model.named_parameters()}
    with pytest.raises(TrainingError, match=r"out of memory with 1 rows.*--context"):
        next(train(state, iter([[rows(4)]]), schedule=lambda _: Rates(1.0, 0.9), clip=None))
    assert state.step == 0
    for name, parameter in state.model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_f14_other_errors_are_not_taken_for_it() -> None:
    state = state_of("qwen3")
    state.learner = Forgetful(state.learner, 0, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        next(train(state, iter([[rows(4)]]), schedule=lambda _: Rates(1.0, 0.9), clip=None))
