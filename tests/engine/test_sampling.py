"""Sampling against a plain reference, and its draws against exact probabilities."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parrotlet.core.errors import CheckpointError
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.engine.sampling import Sampler, distribution, draw, random_key, uniform

CPU = torch.device("cpu")
# chi-square quantiles at 0.9999 by degrees of freedom: a right sampler fails one seed in 10,000
CHI_SQUARE = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 7: 29.88, 15: 44.26, 99: 161.3}


def plain_distribution(row: list[float], asked: SamplingSettings) -> list[float]:
    """One row, one rule after the other, by Python's own sort: the reference."""
    best = max(row)
    weights = [math.exp((value - best) / asked.temperature) for value in row]
    total = sum(weights)
    order = sorted(range(len(row)), key=lambda index: (-row[index], index))
    kept = order[: asked.top_k] if asked.top_k is not None else order
    mass = sum(weights[index] for index in kept)
    nucleus: list[int] = []
    reached = 0.0
    for index in kept:
        if reached >= asked.top_p:
            break
        nucleus.append(index)
        reached += weights[index] / mass
    final = [index for index in nucleus if weights[index] >= asked.min_p * weights[nucleus[0]]]
    total = sum(weights[index] for index in final)
    return [weights[index] / total if index in final else 0.0 for index in range(len(row))]


# steps of 0.5 give many ties; top_p and min_p lie between what sums of such probabilities can be
numbers = st.integers(-10, 10).map(lambda value: value / 2)
some_settings = st.builds(
    SamplingSettings,
    temperature=st.sampled_from([0.3, 0.7, 1.0, 1.9]),
    top_k=st.sampled_from([None, 1, 2, 3, 7, 50]),
    top_p=st.sampled_from([1.0, 0.9137, 0.5123, 0.0871]),
    min_p=st.sampled_from([0.0, 0.0517, 0.4139, 1.0]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(numbers, min_size=8, max_size=8), some_settings),
        min_size=1,
        max_size=5,
    )
)
def test_cuts_equal_the_plain_reference(rows: list[tuple[list[float], SamplingSettings]]) -> None:
    found = distribution(torch.tensor([row for row, _ in rows]), [asked for _, asked in rows])
    for index, (row, asked) in enumerate(rows):
        expected = torch.tensor(plain_distribution(row, asked))
        torch.testing.assert_close(found[index], expected, atol=1e-6, rtol=1e-4)
        assert torch.equal(found[index] > 0, expected > 0)


def test_by_hand() -> None:
    row = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()

    def of(**asked: float) -> list[float]:
        values = distribution(row, [SamplingSettings(**asked)])  # type: ignore[arg-type]
        return [round(value, 5) for value in values[0].tolist()]

    assert of() == [0.1, 0.4, 0.2, 0.3]
    assert of(top_k=2) == [0.0, 0.57143, 0.0, 0.42857]
    assert of(top_p=0.65) == [0.0, 0.57143, 0.0, 0.42857]
    assert of(top_p=0.75) == [0.0, 0.44444, 0.22222, 0.33333]
    assert of(min_p=0.6) == [0.0, 0.57143, 0.0, 0.42857]
    assert of(temperature=0.5) == [0.03333, 0.53333, 0.13333, 0.3]
    assert of(temperature=1e-40) == [0.0, 1.0, 0.0, 0.0]
    # top-p counts what top-k has left: 0.4 and 0.3 of 0.7
    assert of(top_k=2, top_p=0.5) == [0.0, 1.0, 0.0, 0.0]


def test_draw_is_the_inverse_of_the_cumulative_distribution() -> None:
    row = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    for number, expected in [
        (0.0, 1),
        (0.2499, 1),
        (0.25, 3),
        (0.7499, 3),
        (0.75, 4),
        (1 - 2**-24, 4),
    ]:
        assert draw(row[None], torch.tensor([number])).tolist() == [expected], number


def chi_square(counts: Tensor, probabilities: Tensor) -> tuple[float, int]:
    expected = probabilities * counts.sum()
    assert (counts[expected == 0] == 0).all(), "a token of probability 0 was drawn"
    live = expected > 0
    distance = ((counts - expected)[live] ** 2 / expected[live]).sum()
    return float(distance), int(live.sum()) - 1


@pytest.mark.parametrize(
    ("asked", "along"),
    [
        (SamplingSettings(), "positions"),
        (SamplingSettings(), "seeds"),
        (SamplingSettings(temperature=1.2), "choices"),
        (SamplingSettings(temperature=0.6, top_k=5), "positions"),
        (SamplingSettings(temperature=1.5, top_p=0.7), "positions"),
        (SamplingSettings(min_p=0.3, repetition_penalty=1.7), "positions"),
    ],
)
def test_draws_follow_the_exact_distribution(asked: SamplingSettings, along: str) -> None:
    """10,000 draws, over positions of one seed, over seeds, over choices."""
    row = torch.tensor([1.2, 0.3, -0.5, 2.0, 1.9, 0.0, -1.0, 0.8])
    prompt, banned = (3, 5), frozenset({1})
    penalised = row.tolist()
    penalised[3] = penalised[3] / asked.repetition_penalty
    penalised[5] = penalised[5] * asked.repetition_penalty
    allowed = [value for index, value in enumerate(penalised) if index not in banned]
    expected = plain_distribution(allowed, replace(asked, repetition_penalty=1.0))
    expected.insert(1, 0.0)

    total, rows = 10_000, 500
    counts = torch.zeros(8)
    sampler = Sampler(rows, 8, CPU)
    for start in range(0, total, rows):
        numbers = range(start, start + rows)
        for slot, number in enumerate(numbers):
            request = Request(
                prompt=prompt,
                max_tokens=1,
                banned_ids=banned,
                sampling=replace(asked, seed=number if along == "seeds" else 7),
                choice=number if along == "choices" else 0,
            )
            sampler.join(slot, request, prompt)
        positions = list(numbers) if along == "positions" else [40] * rows
        found = sampler.sample(row.expand(rows, -1), range(rows), positions)
        counts += torch.bincount(torch.tensor([token for token, _ in found]), minlength=8)
    distance, freedom = chi_square(counts, torch.tensor(expected))
    assert distance < CHI_SQUARE.get(freedom, 40.0), (distance, freedom, counts)


def test_uniform_numbers_are_uniform_and_independent() -> None:
    """Bins of one number, and of pairs of neighbours in position, seed and choice."""
    key = random_key(0, 0)
    values = torch.tensor([uniform(key, position) for position in range(8_000)])
    assert ((values >= 0) & (values < 1)).all()
    counts = torch.bincount((values * 100).long(), minlength=100).float()
    distance, freedom = chi_square(counts, torch.full((100,), 0.01))
    assert freedom == 99 and distance < CHI_SQUARE[99]
    neighbours = {
        "position": [(uniform(key, n), uniform(key, n + 1)) for n in range(0, 16_000, 2)],
        "seed": [
            (uniform(random_key(n, 0), 9), uniform(random_key(n + 1, 0), 9))
            for n in range(0, 16_000, 2)
        ],
        "choice": [
            (uniform(random_key(n, 0), 9), uniform(random_key(n, 1), 9)) for n in range(8_000)
        ],
        "seed and choice": [
            (uniform(random_key(n, 1), 9), uniform(random_key(n + 1, 0), 9)) for n in range(8_000)
        ],
    }
    for name, pairs in neighbours.items():
        cells = torch.tensor([int(one * 4) * 4 + int(two * 4) for one, two in pairs])
        counts = torch.bincount(cells, minlength=16).float()
        distance, _ = chi_square(counts, torch.full((16,), 1 / 16))
        assert distance < CHI_SQUARE[15], name


def test_random_numbers_stay_what_they_are() -> None:
    """A seeded answer is a promise over versions; any integer is a seed."""
    state = 0x9E3779B97F4A7C15
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = ((state ^ (state >> shift)) * factor) % 2**64
    assert state ^ (state >> 31) == 0xE220A8397B1DCDAF  # SplitMix64's first output from seed 0
    assert uniform(0, 0) == (0xE220A8397B1DCDAF >> 40) / 2**24
    seeds = [0, 1, -1, 2**63 - 1, -(2**63)]
    assert len({random_key(seed, choice) for seed in seeds for choice in range(8)}) == 40


def sample_alone(row: Tensor, request: Request, slot: int, position: int) -> tuple[int, float]:
    sampler = Sampler(slot + 1, row.shape[0], CPU)
    sampler.join(slot, request, request.prompt)
    return sampler.sample(row[None], [slot], [position])[0]


def test_a_row_does_not_see_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(12, 300, generator=generator) * 3
    kinds = [
        SamplingSettings(temperature=0.0),
        SamplingSettings(seed=5),
        SamplingSettings(seed=5, top_k=20, repetition_penalty=1.4),
        SamplingSettings(seed=5, top_p=0.8, temperature=1.3),
        SamplingSettings(seed=9, top_k=50, top_p=0.9, min_p=0.05),
        SamplingSettings(seed=9, min_p=0.1),
    ]
    requests = [
        Request(
            prompt=(row, 2 * row),
            max_tokens=4,
            sampling=kinds[row % 6],
            banned_ids=frozenset(range(row, 300, 7)) if row % 2 else frozenset(),
        )
        for row in range(12)
    ]
    alone = [sample_alone(logits[row], requests[row], row, 30 + row) for row in range(12)]
    order = torch.randperm(12, generator=generator).tolist()
    sampler = Sampler(12, 300, CPU)
    for row in order:
        sampler.join(row, requests[row], requests[row].prompt)
    together = sampler.sample(logits[order], order, [30 + row for row in order])
    assert together == [alone[row] for row in order]


def test_greedy_is_argmax_and_top_k_1_too() -> None:
    """Of equals the first, as bfloat16 logits often are."""
    row = torch.tensor([0.0, 3.0, -1.0, 3.0, 2.0], dtype=torch.bfloat16)
    for asked in (SamplingSettings(temperature=0.0), SamplingSettings(top_k=1, seed=3)):
        token, _ = sample_alone(row, Request(prompt=(0,), max_tokens=1, sampling=asked), 0, 1)
        assert token == 1


def test_logprob_is_the_models_own() -> None:
    """Before penalty, bans, temperature and cuts."""
    row = torch.tensor([2.0, 1.0, 0.0, -1.0])
    asked = SamplingSettings(temperature=0.2, top_k=1, repetition_penalty=3.0)
    request = Request(prompt=(1,), max_tokens=1, sampling=asked, banned_ids=frozenset({0}))
    token, logprob = sample_alone(row, request, 0, 1)
    assert token == 1
    assert logprob == pytest.approx(1 - math.log(math.e**2 + math.e + 1 + 1 / math.e), abs=1e-6)


def test_penalty_counts_prompt_sampled_and_observed_ids() -> None:
    row = torch.tensor([[1.0, 0.9, 0.8, -0.1]])
    asked = SamplingSettings(temperature=0.0, repetition_penalty=2.0)
    sampler = Sampler(1, 4, CPU)
    sampler.join(0, Request(prompt=(0,), max_tokens=9, sampling=asked), (0,))
    assert [sampler.sample(row, [0], [n])[0][0] for n in (1, 2)] == [1, 2]
    sampler.join(0, Request(prompt=(3,), max_tokens=9, sampling=asked), (3,))
    sampler.observe(0, (0, 1))
    assert sampler.sample(row, [0], [1])[0][0] == 2, "a slot remembers who had it before"


def test_bans_leave_with_the_request() -> None:
    row = torch.tensor([[1.0, 0.5]])
    sampler = Sampler(1, 2, CPU)
    greedy = SamplingSettings(temperature=0.0)
    banned = Request(prompt=(0,), max_tokens=1, sampling=greedy, banned_ids=frozenset({0}))
    sampler.join(0, banned, (0,))
    assert sampler.sample(row, [0], [1])[0][0] == 1
    sampler.join(0, replace(banned, banned_ids=frozenset()), (0,))
    assert sampler.sample(row, [0], [1])[0][0] == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_is_an_error_in_words(temperature: float) -> None:
    row = torch.tensor([math.nan, 0.0, math.nan])
    asked = SamplingSettings(temperature=temperature)
    with pytest.raises(CheckpointError, match="damaged"):
        sample_alone(row, Request(prompt=(0,), max_tokens=1, sampling=asked), 0, 1)
