"""Sampling against a plain reference, and its draws against exact probabilities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parrotlet.core.errors import CheckpointError, UsageError
from parrotlet.engine import cuts
from parrotlet.engine.cuts import best, choose, draw, first_best
from parrotlet.engine.randomness import random_key, uniform
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.engine.sampling import Sampled, Sampler, score

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
some_settings = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.3, 0.7, 1.0, 1.9]),
        "top_k": st.sampled_from([None, 1, 2, 3, 7, 50]),
        "top_p": st.sampled_from([1.0, 0.9137, 0.5123, 0.0871]),
        "min_p": st.sampled_from([0.0, 0.0517, 0.4139, 1.0]),
    }
)  # not yet settings: checking their types takes random numbers, which hypothesis forbids


GRID = 1000


def shares(row: list[float], asked: SamplingSettings) -> Tensor:
    """How often each id is chosen when the uniform numbers are a grid: its probability, but for
    one or two parts in GRID.
    """
    uniforms = (torch.arange(GRID) + 0.5) / GRID
    found = choose(torch.tensor(row).expand(GRID, -1), [asked] * GRID, uniforms)
    return torch.bincount(found, minlength=len(row)) / GRID


@settings(max_examples=150, deadline=None)
@given(st.lists(numbers, min_size=8, max_size=8), some_settings, st.sampled_from([1, 2, 5, 128]))
def test_cuts_equal_the_plain_reference(
    row: list[float], values: dict[str, Any], candidates: int
) -> None:
    """With few candidates too, where top-p needs more of them."""
    asked = SamplingSettings(**values)
    expected = torch.tensor(plain_distribution(row, asked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "CANDIDATES", candidates)
        found = shares(row, asked)
    torch.testing.assert_close(found, expected, atol=2 / GRID, rtol=0)
    assert (found[expected == 0] == 0).all(), "a token that was cut off was drawn"


def test_by_hand() -> None:
    row = torch.tensor([0.1, 0.4, 0.2, 0.3]).log().tolist()

    def of(**asked: float) -> list[float]:
        values = shares(row, SamplingSettings(**asked))  # type: ignore[arg-type]
        return [round(value, 2) for value in values.tolist()]

    assert of() == [0.1, 0.4, 0.2, 0.3]
    assert of(top_k=2) == [0.0, 0.57, 0.0, 0.43]
    assert of(top_p=0.65) == [0.0, 0.57, 0.0, 0.43]
    assert of(top_p=0.75) == [0.0, 0.44, 0.22, 0.33]
    assert of(min_p=0.6) == [0.0, 0.57, 0.0, 0.43]
    assert of(temperature=0.5) == [0.03, 0.53, 0.13, 0.3]
    assert of(temperature=1e-40) == [0.0, 1.0, 0.0, 0.0]
    # top-p counts what top-k has left: 0.4 and 0.3 of 0.7
    assert of(top_k=2, top_p=0.5) == [0.0, 1.0, 0.0, 0.0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(numbers, min_size=9, max_size=9), min_size=1, max_size=4), st.integers(1, 12)
)
def test_best_are_the_first_of_a_stable_sort(rows: list[list[float]], count: int) -> None:
    scores = torch.tensor(rows)
    values, ids = best(scores, count)
    expected = scores.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(ids, expected.indices[:, :count])
    assert torch.equal(values, expected.values[:, :count])


def test_a_nucleus_of_a_large_vocabulary() -> None:
    """A flat distribution needs more than the candidates, a peaked one fewer; both in a batch."""
    scores = torch.stack((torch.arange(1000) * -1e-4, torch.arange(1000) * -1.0))
    asked = [SamplingSettings(top_p=0.9)] * 2
    for number in (0.05, 0.5, 0.95):
        found = choose(scores, asked, torch.tensor([number, number])).tolist()
        wide = (torch.exp(scores[0].double()) / torch.exp(scores[0].double()).sum()).cumsum(0)
        kept = int((wide < 0.9).sum()) + 1
        assert abs(found[0] - number * kept) < 30 and kept > cuts.CANDIDATES
        assert found[1] <= 2


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
    """Thousands of draws, over positions of one seed, over seeds, over choices."""
    row = torch.tensor([1.2, 0.3, -0.5, 2.0, 1.9, 0.0, -1.0, 0.8])
    prompt, banned = (3, 5), frozenset({1})
    penalised = row.tolist()
    penalised[3] = penalised[3] / asked.repetition_penalty
    penalised[5] = penalised[5] * asked.repetition_penalty
    allowed = [value for index, value in enumerate(penalised) if index not in banned]
    expected = plain_distribution(allowed, replace(asked, repetition_penalty=1.0))
    expected.insert(1, 0.0)

    total, rows = 5_000, 500
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
        counts += torch.bincount(torch.tensor([each.token for each in found]), minlength=8)
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


def sample_alone(row: Tensor, request: Request, slot: int, position: int) -> Sampled:
    sampler = Sampler(slot + 1, row.shape[0], CPU)
    sampler.join(slot, request, request.prompt)
    return sampler.sample(row[None], [slot], [position])[0]


@pytest.mark.parametrize("most", [2**62, 2**63, 2**70])
def test_a_top_k_of_any_size_is_all(most: int) -> None:
    row = torch.randn(300, generator=torch.Generator().manual_seed(1))
    for rest in ({}, {"top_p": 0.9}):
        plain, huge = (SamplingSettings(seed=5, top_k=top_k, **rest) for top_k in (None, most))  # type: ignore[arg-type]
        found = [
            sample_alone(row, Request(prompt=(0,), max_tokens=1, sampling=each), 0, 1)
            for each in (plain, huge)
        ]
        assert found[0] == found[1]


def test_a_row_does_not_see_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(12, 300, generator=generator) * 3
    kinds = [
        SamplingSettings(temperature=0.0),
        SamplingSettings(seed=5),
        SamplingSettings(seed=5, top_k=20, repetition_penalty=1.4),
        SamplingSettings(seed=5, top_p=0.8, temperature=1.3),
        SamplingSettings(seed=9, top_k=50, top_p=0.9, min_p=0.05),
        SamplingSettings(seed=9, min_p=0.1, presence_penalty=0.5, logit_bias=((7, 3.0),)),
    ]
    requests = [
        Request(
            prompt=(row, 2 * row),
            max_tokens=4,
            sampling=kinds[row % 6],
            banned_ids=frozenset(range(row, 300, 7)) if row % 2 else frozenset(),
            alternatives=row % 3,
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
        found = sample_alone(row, Request(prompt=(0,), max_tokens=1, sampling=asked), 0, 1)
        assert found.token == 1


def test_logprob_is_the_models_own() -> None:
    """Before penalty, bans, temperature and cuts."""
    row = torch.tensor([2.0, 1.0, 0.0, -1.0])
    asked = SamplingSettings(temperature=0.2, top_k=1, repetition_penalty=3.0)
    request = Request(
        prompt=(1,), max_tokens=1, sampling=asked, banned_ids=frozenset({0}), alternatives=3
    )
    found = sample_alone(row, request, 0, 1)
    assert found.token == 1
    total = math.log(math.e**2 + math.e + 1 + 1 / math.e)
    assert found.logprob == pytest.approx(1 - total, abs=1e-6)
    assert [id for id, _ in found.alternatives] == [0, 1, 2]
    for (_, logprob), logit in zip(found.alternatives, (2, 1, 0), strict=True):
        assert logprob == pytest.approx(logit - total, abs=1e-6)
    assert sample_alone(row, replace(request, alternatives=0), 0, 1).alternatives == ()


def test_penalty_counts_prompt_sampled_and_observed_ids() -> None:
    row = torch.tensor([[1.0, 0.9, 0.8, -0.1]])
    asked = SamplingSettings(temperature=0.0, repetition_penalty=2.0)
    sampler = Sampler(1, 4, CPU)
    sampler.join(0, Request(prompt=(0,), max_tokens=9, sampling=asked), (0,))
    assert [sampler.sample(row, [0], [n])[0][0] for n in (1, 2)] == [1, 2]
    sampler.join(0, Request(prompt=(3,), max_tokens=9, sampling=asked), (3,))
    sampler.observe(0, (0, 1))
    assert sampler.sample(row, [0], [1])[0][0] == 2, "a slot remembers who had it before"


def said(row: list[float], request: Request, count: int) -> list[int]:
    """`count` tokens one after the other, from the same logits."""
    sampler = Sampler(1, len(row), CPU)
    sampler.join(0, request, request.prompt)
    return [sampler.sample(torch.tensor([row]), [0], [n])[0].token for n in range(count)]


def test_presence_and_frequency_count_what_the_answer_said() -> None:
    """Not the prompt, not what was forced: OpenAI's definition, worked out by hand."""
    row = [1.0, 0.9, 0.4]

    def of(**asked: float) -> list[int]:
        settings = SamplingSettings(temperature=0.0, **asked)  # type: ignore[arg-type]
        return said(row, Request(prompt=(0,), max_tokens=9, sampling=settings), 5)

    assert of() == [0] * 5
    assert of(presence_penalty=0.25) == [0, 1, 0, 0, 0]  # 0.75 and 0.65 from then on
    # 1, .9, .4 -> .75, .9, .4 -> .75, .65, .4 -> .5, .65, .4 -> .5, .4, .4
    assert of(frequency_penalty=0.25) == [0, 1, 0, 1, 0]
    assert of(presence_penalty=-0.2) == [0] * 5
    assert of(presence_penalty=0.5, frequency_penalty=0.25) == [0, 1, 2, 0, 1]
    sampler = Sampler(1, 3, CPU)
    asked = SamplingSettings(temperature=0.0, frequency_penalty=0.25)
    request = Request(prompt=(0,), max_tokens=9, sampling=asked)
    sampler.join(0, request, (0, 0, 1, 0), sampled=(0, 1, 0))  # comes back: .5, .65
    sampler.observe(0, (1, 1, 1))
    assert sampler.sample(torch.tensor([row]), [0], [4])[0].token == 1


def test_penalties_of_sampled_tokens_reach_exact_probabilities() -> None:
    row = torch.tensor([0.5, 0.0, -0.5])
    asked = SamplingSettings(
        presence_penalty=0.7, frequency_penalty=-0.3, repetition_penalty=1.5, seed=3
    )
    counts = torch.zeros(3)
    sampler = Sampler(500, 3, CPU)
    for start in range(0, 3_000, 500):
        for slot in range(500):
            request = Request(prompt=(1,), max_tokens=9, sampling=asked)
            sampler.join(slot, request, (1, 0, 2, 2), sampled=(0, 2, 2))
        positions = range(start, start + 500)
        found = sampler.sample(row.expand(500, -1), range(500), positions)
        counts += torch.bincount(torch.tensor([each.token for each in found]), minlength=3)
    adjusted = torch.tensor([0.5 / 1.5 - 0.7 + 0.3, 0.0, -0.5 * 1.5 - 0.7 + 0.6])
    distance, freedom = chi_square(counts, adjusted.softmax(0))
    assert distance < CHI_SQUARE[freedom]


def test_bias_is_added_and_lifts_no_ban() -> None:
    row = [1.0, 0.5, 0.0]
    asked = SamplingSettings(temperature=0.0, logit_bias=((1, 0.4), (2, 100.0)))
    request = Request(prompt=(0,), max_tokens=9, sampling=asked, banned_ids=frozenset({2}))
    assert said(row, request, 1) == [0]
    more = replace(asked, logit_bias=((1, 0.6), (2, 100.0)))
    assert said(row, replace(request, sampling=more), 1) == [1]
    assert said(row, replace(request, banned_ids=frozenset()), 1) == [2]
    settings = SamplingSettings(temperature=1.0, logit_bias=((0, -100.0),))
    assert 0 not in said(row, Request(prompt=(0,), max_tokens=9, sampling=settings), 100)


def test_no_stop_before_min_tokens() -> None:
    row = [1.0, 0.5, 0.0]
    greedy = SamplingSettings(temperature=0.0)
    request = Request(
        prompt=(0,), max_tokens=9, sampling=greedy, stop_ids=frozenset({0, 1}), min_tokens=2
    )
    assert said(row, request, 4) == [2, 2, 0, 0]
    sampler = Sampler(2, 3, CPU)
    sampler.join(0, request, (0, 2), sampled=(2,))
    sampler.join(1, replace(request, min_tokens=0), (0,))
    logits = torch.tensor([row, row])
    assert [each.token for each in sampler.sample(logits, [0, 1], [1, 1])] == [2, 0]
    assert torch.equal(logits, torch.tensor([row, row])), "the logits are the caller's"
    assert [each.token for each in sampler.sample(logits, [0, 1], [2, 2])] == [0, 0]


def test_scores_of_given_ids() -> None:
    logits = torch.randn(70, 9, generator=torch.Generator().manual_seed(1))
    ids = [(3 * n) % 9 for n in range(70)]
    expected = logits.log_softmax(-1)
    found = score(logits, ids, 2)
    assert [each.token for each in found] == ids
    for row, each in zip(expected, found, strict=True):
        assert each.logprob == pytest.approx(float(row[each.token]), abs=1e-6)
        values, top = row.topk(2)
        assert [id for id, _ in each.alternatives] == top.tolist()
        assert [one for _, one in each.alternatives] == pytest.approx(values.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("presence_penalty is 2.5", {"presence_penalty": 2.5}),
        ("frequency_penalty is nan", {"frequency_penalty": math.nan}),
        ("logit_bias of token 4 is 101", {"logit_bias": ((4, 101.0),)}),
        ("logit_bias of token 4 is nan", {"logit_bias": ((4, math.nan),)}),
        ("names token 3 twice", {"logit_bias": ((3, 1.0), (4, 1.0), (3, 2.0))}),
        ("temperature is -1", {"temperature": -1.0}),
        ("top_k is 0", {"top_k": 0}),
        ("top_p is 0", {"top_p": 0.0}),
    ],
)
def test_settings_out_of_bounds(words: str, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=words):
        SamplingSettings(**asked)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("min_tokens is 4; it must be from 0 to max_tokens, 3", {"min_tokens": 4}),
        ("min_tokens is -1", {"min_tokens": -1}),
        ("alternatives is 21; it must be from 0 to 20", {"alternatives": 21}),
        ("max_tokens is 0; it must be at least 1", {"max_tokens": 0}),
        ("max_tokens is -1; it must be at least 0", {"max_tokens": -1, "prompt_logprobs": True}),
    ],
)
def test_requests_out_of_bounds(words: str, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=words):
        Request(**{"prompt": (1,), "max_tokens": 3, **asked})


def test_bans_leave_with_the_request() -> None:
    row = torch.tensor([[1.0, 0.5]])
    sampler = Sampler(1, 2, CPU)
    greedy = SamplingSettings(temperature=0.0)
    banned = Request(prompt=(0,), max_tokens=1, sampling=greedy, banned_ids=frozenset({0}))
    sampler.join(0, banned, (0,))
    assert sampler.sample(row, [0], [1])[0][0] == 1
    sampler.join(0, replace(banned, banned_ids=frozenset()), (0,))
    assert sampler.sample(row, [0], [1])[0].token == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_is_an_error_in_words(temperature: float) -> None:
    row = torch.tensor([math.nan, 0.0, math.nan])
    asked = SamplingSettings(temperature=temperature)
    with pytest.raises(CheckpointError, match="damaged"):
        sample_alone(row, Request(prompt=(0,), max_tokens=1, sampling=asked), 0, 1)


@pytest.mark.parametrize("size", [40, 300, 9000, 50257])
def test_the_best_are_found_as_a_sort_finds_them(size: int) -> None:
    """Of a whole vocabulary in blocks and columns; of equals the first."""
    generator = torch.Generator().manual_seed(9)
    scores = torch.randn(5, size, generator=generator)
    scores[1] = scores[1].round()  # many equals
    scores[2, : size // 2] = float("-inf")
    scores[3] = 0.0
    scores[4, -1] = 9.0
    values, order = scores.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(first_best(scores), order[:, 0])
    for count in (1, 20, 128):
        found = best(scores, count)
        assert torch.equal(found[0], values[:, :count]) and torch.equal(found[1], order[:, :count])
