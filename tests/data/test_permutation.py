"""The keyed permutation is one, for every size, and does shuffle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.data.permutation import derive_key, permute, permute_many

keys = st.integers(0, 2**64 - 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), keys)
def test_bijection(size: int, key: int) -> None:
    found = permute_many(np.arange(size), size, key)
    assert sorted(found.tolist()) == list(range(size))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 65_535, 65_537, 1_000_003])
def test_bijection_at_the_borders_of_powers(size: int) -> None:
    found = permute_many(np.arange(size), size, 12345)
    assert (np.sort(found) == np.arange(size)).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2**40), keys, st.data())
def test_one_index_is_the_same_as_many(size: int, key: int, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5))
    many = permute_many(np.array(indices), size, key).tolist()
    assert many == [permute(index, size, key) for index in indices]
    assert all(0 <= place < size for place in many)


def test_every_order_of_a_few_comes_up() -> None:
    """Of three things there are six orders, about as often each."""
    orders = [tuple(permute_many(np.arange(3), 3, derive_key(seed))) for seed in range(6000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6 and min(counts) > 800 and max(counts) < 1200


def test_it_shuffles() -> None:
    """Where an index goes says nothing of where the next goes, or the same under the next key."""
    size = 10_000
    one = permute_many(np.arange(size), size, derive_key(0))
    two = permute_many(np.arange(size), size, derive_key(1))
    for a, b in [(np.arange(size), one), (one[:-1], one[1:]), (one, two)]:
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.04  # 4 standard errors
    assert (one == two).sum() < 10 and (one == np.arange(size)).sum() < 10


def test_keys_depend_on_every_part() -> None:
    keys = {derive_key(*parts) for parts in [(1, "a", 2), (1, "b", 2), (2, "a", 1), (1, "a2")]}
    assert len(keys) == 4
