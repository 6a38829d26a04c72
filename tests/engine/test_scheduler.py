"""Who runs when: the bookkeeping without a model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.core.errors import UsageError
from parrotlet.engine.job import Job
from parrotlet.engine.request import Request
from parrotlet.engine.scheduler import Scheduler


def request(length: int, max_tokens: int = 3, **more: frozenset[int]) -> Request:
    return Request(prompt=tuple(range(length)), max_tokens=max_tokens, **more)


def fed(scheduler: Scheduler) -> list[tuple[int, list[int]]]:
    """Plan a step, carry it out, and tell (ids each, which jobs)."""
    plan = scheduler.plan()
    for feed in plan:
        for job in feed.jobs:
            job.fed += feed.count
    return [(feed.count, [job.id for job in feed.jobs]) for feed in plan]


def test_too_long_is_told_with_both_numbers() -> None:
    scheduler = Scheduler(slots=1, length=10, chunk=4)
    scheduler.add(request(7, 3))
    with pytest.raises(UsageError, match=r"8 tokens and max_tokens 3 need 11 places.* has 10"):
        scheduler.add(request(8, 3))
    assert scheduler.waiting == 1


@pytest.mark.parametrize("wrong", ["slots", "length", "chunk"])
def test_nothing_is_not_enough(wrong: str) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Scheduler(**{"slots": 1, "length": 1, "chunk": 1, wrong: 0})


def test_first_come_first_served() -> None:
    scheduler = Scheduler(slots=2, length=10, chunk=4)
    jobs = [scheduler.add(request(2)) for _ in range(4)]
    assert scheduler.admit() == jobs[:2]
    assert scheduler.admit() == []
    scheduler.remove(jobs[0])
    assert scheduler.admit() == [jobs[2]]
    assert (jobs[0].slot, jobs[2].slot) == (None, 0)
    scheduler.remove(jobs[3])  # cancelled in the queue
    scheduler.remove(jobs[1])
    assert scheduler.admit() == []
    assert (scheduler.running, scheduler.waiting) == (1, 0)


def test_prompts_share_one_chunk_and_decoding_never_waits() -> None:
    scheduler = Scheduler(slots=4, length=40, chunk=8)
    talking = scheduler.add(request(1))
    scheduler.admit()
    assert fed(scheduler) == [(1, [0])]
    talking.accept(5, 0.0, 40)
    short = scheduler.add(request(6))
    scheduler.add(request(12))
    scheduler.add(request(3))
    scheduler.admit()
    # 8 ids of prompts: 3 for each, and what the shortest leaves for the others
    assert fed(scheduler) == [(1, [0]), (3, [1, 3]), (2, [2])]
    talking.accept(5, 0.0, 40)
    last = scheduler.find(3)
    assert last is not None and not last.pending
    last.accept(5, 0.0, 40)
    scheduler.remove(short)
    assert fed(scheduler) == [(1, [0, 3]), (8, [2])], "the whole chunk is the longest prompt's"


def test_equal_lengths_go_together() -> None:
    scheduler = Scheduler(slots=3, length=40, chunk=15)
    for _ in range(3):
        scheduler.add(request(5))
    scheduler.admit()
    assert fed(scheduler) == [(5, [0, 1, 2])]
    for id in (0, 1):
        job = scheduler.find(id)
        assert job is not None
        job.accept(1, 0.0, 40)


def test_rows_of_a_pass_are_in_order_of_slots() -> None:
    """Whoever joins late in a low slot: neighbours are read together."""
    scheduler = Scheduler(slots=3, length=40, chunk=10)
    jobs = [scheduler.add(request(1)) for _ in range(5)]
    scheduler.admit()
    scheduler.remove(jobs[1])
    scheduler.remove(jobs[0])
    scheduler.admit()
    [feed] = scheduler.plan()
    assert [job.slot for job in feed.jobs] == [0, 1, 2]
    assert feed.jobs == [jobs[3], jobs[4], jobs[2]]


def test_why_a_request_ends() -> None:
    asked = request(2, 2, stop_ids=frozenset({8}), pause_ids=frozenset({8, 9}))
    assert Job(0, asked, [0, 1]).accept(8, -1.0, 10).finish == "stop"
    job = Job(0, asked, [0, 1])
    event = job.accept(9, -1.5, 10)
    assert (event.token, event.logprob, event.paused, event.finish) == (9, -1.5, True, None)
    assert job.paused
    assert job.accept(9, -1.0, 10).finish == "length", "the last token ends, whatever it is"
    assert Job(0, request(2, 8), [0, 1]).accept(5, 0.0, 3).finish == "length", "the slot is full"


def test_paused_is_idle_until_forced() -> None:
    scheduler = Scheduler(slots=1, length=8, chunk=8)
    job = scheduler.add(request(2, 4, pause_ids=frozenset({9})))
    assert not scheduler.idle
    scheduler.admit()
    fed(scheduler)
    job.accept(9, 0.0, 8)
    assert scheduler.idle and fed(scheduler) == []
    with pytest.raises(UsageError, match="5 forced tokens after 3 leave no room"):
        scheduler.force(job, [1] * 5)
    assert job.paused
    scheduler.force(job, [1] * 4)
    assert not scheduler.idle
    assert fed(scheduler) == [(5, [0])], "the token it paused at, and those that were forced"


def test_a_paused_request_lends_its_slot() -> None:
    """To who waits for one; forced to go on, it is the next to get one, and is fed again."""
    scheduler = Scheduler(slots=1, length=20, chunk=20)
    job = scheduler.add(request(2, 4, pause_ids=frozenset({9})))
    scheduler.admit()
    fed(scheduler)
    job.accept(9, 0.0, 20)
    assert scheduler.admit() == [] and job.slot == 0, "nobody waits"
    other, third = scheduler.add(request(3)), scheduler.add(request(3))
    assert scheduler.admit() == [other]
    assert (job.slot, job.fed, scheduler.load.preemptions) == (None, 0, 1)
    scheduler.force(job, [1, 1])
    fed(scheduler)
    scheduler.remove(other)
    assert scheduler.admit() == [job], "before those who came later"
    assert (job.ids, job.pending, job.said) == ([0, 1, 9, 1, 1], 5, [9])
    scheduler.remove(job)
    assert scheduler.admit() == [third]


def test_a_paused_request_without_a_slot_can_be_cancelled() -> None:
    scheduler = Scheduler(slots=1, length=20, chunk=20)
    job = scheduler.add(request(2, 4, pause_ids=frozenset({9})))
    scheduler.admit()
    fed(scheduler)
    job.accept(9, 0.0, 20)
    other = scheduler.add(request(3))
    scheduler.admit()
    scheduler.remove(job)
    scheduler.remove(other)
    assert scheduler.idle and scheduler.find(job.id) is None
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_restart_feeds_all_again() -> None:
    scheduler = Scheduler(slots=1, length=20, chunk=4)
    job = scheduler.add(request(4))
    scheduler.admit()
    fed(scheduler)
    job.accept(3, 0.0, 20)
    scheduler.restart()
    assert [fed(scheduler), fed(scheduler)] == [[(4, [0])], [(1, [0])]]
    assert job.pending == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 20),
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(1, 10), st.integers(0, 20)),
        min_size=1,
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
def test_every_request_ends_and_slots_come_back(slots, chunk, wanted, random) -> None:
    """Requests of any length, some cancelled after some steps: all end, in bounded steps."""
    scheduler = Scheduler(slots=slots, length=40, chunk=chunk)
    jobs = [scheduler.add(request(length, tokens)) for length, tokens, _ in wanted]
    steps = 0
    while not scheduler.idle:
        scheduler.admit()
        assert scheduler.running <= slots
        plan = scheduler.plan()
        assert plan, "a step in which nothing moves"
        prompts = sum(feed.count * len(feed.jobs) for feed in plan if feed.count > 1)
        assert prompts <= chunk
        for feed in plan:
            for job in feed.jobs:
                job.fed += feed.count
                if not job.pending and job.accept(0, 0.0, 40).finish:
                    scheduler.remove(job)
        for job, (_, _, after) in zip(jobs, wanted, strict=True):
            if after == steps and random.random() < 0.3 and scheduler.find(job.id):
                scheduler.remove(job)
        steps += 1
        assert steps <= sum(length + tokens for length, tokens, _ in wanted)
    assert (scheduler.running, scheduler.waiting) == (0, 0)
    full = [scheduler.add(request(1)) for _ in range(slots)]
    assert scheduler.admit() == full, "a slot was lost"
    assert len({job.slot for job in full}) == slots, "a slot was given twice"
