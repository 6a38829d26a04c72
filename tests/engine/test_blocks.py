"""What is found again: the longest beginning that any slot holds."""

from __future__ import annotations

import random

import pytest

from parrotlet.engine import blocks as module
from parrotlet.engine.blocks import BLOCK, Blocks
from parrotlet.engine.job import Job
from parrotlet.engine.request import Request
from parrotlet.engine.scheduler import Copy, Feed, Scheduler


def common(one: list[int], other: list[int]) -> int:
    """The plain definition."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


@pytest.mark.parametrize("colliding", [False, True])
def test_lookups_find_the_longest_to_the_id(
    colliding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Families of sequences that part anywhere; hashes that say nothing do no harm."""
    chooser = random.Random(2)
    if colliding:
        monkeypatch.setattr(module, "hash", lambda _: 7, raising=False)
    stems = [[chooser.randrange(3) for _ in range(90)] for _ in range(3)]
    held: list[list[int]] = [[] for _ in range(6)]
    blocks = Blocks(6)
    for _ in range(400):
        stem = chooser.choice(stems)
        sequence = stem[: chooser.randrange(90)] + [chooser.randrange(3) for _ in range(20)]
        slot, count = blocks.longest(sequence)
        assert count == common(sequence, held[slot])
        if not colliding:
            assert count == max(common(sequence, each) for each in held)
        changed = chooser.randrange(6)
        held[changed] = sequence if chooser.random() < 0.9 else []
        blocks.hold(changed, held[changed])
    for slot in range(6):
        blocks.hold(slot, [])
    assert not blocks._holders, "keys that nobody holds are forgotten"


def scheduler(slots: int = 3, chunk: int = 64) -> Scheduler:
    return Scheduler(slots=slots, length=200, chunk=chunk, reuse=True)


def ask(prompt: list[int], **more: int) -> Request:
    return Request(prompt=tuple(prompt), max_tokens=4, **more)


def step(one: Scheduler) -> tuple[list[tuple[int, list[int]]], list[Copy]]:
    """Admit and plan and carry out: ([(ids each, jobs)], copies)."""
    one.admit()
    plan = one.plan()
    copies = list(one.copies)
    one.copies.clear()
    for feed in plan:
        for job in feed.jobs:
            job.fed += feed.count
            if not job.pending and job.accept(99, 0.0, 200).finish:
                one.remove(job)
    return [(feed.count, [job.id for job in feed.jobs]) for feed in plan], copies


def finish(one: Scheduler) -> None:
    while not one.idle:
        step(one)


LONG = list(range(100, 140))


def test_answers_to_one_prompt_share_its_reading() -> None:
    one = scheduler(chunk=16)
    for choice in range(3):
        one.add(ask(LONG, choice=choice))
    assert step(one) == ([(16, [0])], [])
    assert step(one) == ([(16, [0])], [])
    assert step(one) == ([(8, [0])], []), "39 of 40 ids are not there before"
    assert step(one) == ([(1, [0, 1, 2])], [Copy(0, 1, 39), Copy(0, 2, 39)])
    assert (one.load.prompt_tokens, one.load.reused_tokens) == (120, 78)


def test_who_waits_for_a_reader_that_leaves_reads_itself() -> None:
    one = scheduler(chunk=16)
    reader = one.add(ask(LONG))
    second, third = one.add(ask(LONG, choice=1)), one.add(ask(LONG, choice=2))
    step(one)
    one.remove(reader)
    assert step(one) == ([(8, [1, 2])], []), "each on its own: their reader was gone"
    finish(one)
    assert (second.said, third.said) == ([99] * 4, [99] * 4)


def test_two_with_one_prompt_never_wait_for_each_other() -> None:
    """One comes back after giving up its slot, while the other still waits for what it read."""
    one = scheduler(slots=2, chunk=32)
    first, second = one.add(ask(list(range(100)))), one.add(ask(list(range(100))))
    step(one)
    one.preempt(first)
    for _ in range(20):
        step(one)
    assert first.fed and second.fed


def test_a_conversation_goes_on_in_its_slot() -> None:
    one = scheduler()
    first = one.add(ask(LONG))
    finish(one)
    one.add(ask([1, 2, 3]))
    finish(one)
    more = one.add(ask([*first.ids, 7, 8]))
    assert step(one) == ([(3, [more.id])], []), "the last id said was not fed, and two are new"
    assert more.slot == 0


def test_a_slot_that_mostly_holds_something_else_is_copied_from() -> None:
    """And the copy goes to the free slot that was unused for longest."""
    one = scheduler()
    for prompt in ([1] * 20, LONG + list(range(60)), [2] * 20):
        one.add(ask(prompt))
        finish(one)
    late = one.add(ask([*LONG, 5]))
    assert step(one) == ([(1, [late.id])], [Copy(1, 0, 40)])


def test_free_slots_are_given_away_by_age() -> None:
    one = scheduler()
    jobs = [one.add(ask([base] * 20)) for base in (1, 2, 3)]
    one.admit()
    slots = {job.id: job.slot for job in jobs}
    for id in (1, 0, 2):
        one.remove(jobs[id])
    fresh = [one.add(ask([base] * 20)) for base in (4, 5, 6)]
    one.admit()
    assert [job.slot for job in fresh] == [slots[id] for id in (1, 0, 2)]


def test_little_is_not_worth_a_copy() -> None:
    one = scheduler()
    one.add(ask(LONG))
    finish(one)
    one.add(ask([*LONG[: BLOCK - 1], *range(30)]))
    assert step(one)[1] == []
    short = [5, 6, 7]
    one.add(ask(short))
    step(one)
    one.add(ask(short, choice=1))
    planned, copies = step(one)
    assert len(copies) == 1 and copies[0].count == 2, "unless it is all"
    assert planned[0][0] == 1


def test_log_probabilities_of_a_prompt_need_it_all() -> None:
    one = scheduler()
    one.add(ask(LONG))
    finish(one)
    job = one.add(Request(prompt=tuple(LONG), max_tokens=1, prompt_logprobs=True))
    assert step(one) == ([(40, [job.id])], [])


def test_a_restart_forgets_and_nobody_waits_for_ever() -> None:
    one = scheduler(chunk=16)
    jobs = [one.add(ask(LONG, choice=choice)) for choice in range(2)]
    step(one)
    one.restart()
    assert all(job.shares is None and job.fed == 0 for job in jobs)
    assert step(one) == ([(8, [0, 1])], [])
    finish(one)
    one.restart()
    one.add(ask(LONG))
    assert step(one) == ([(16, [2])], []), "what old weights made is not used"


def test_work_is_bounded_whatever_happens() -> None:
    """Random families of prompts, cancelled, paused, forced and preempted: all end, no slot is
    lost, and what a job counts as fed its slot does hold.
    """
    chooser = random.Random(5)
    for _ in range(60):
        slots = chooser.randint(1, 4)
        one = scheduler(slots, chooser.randint(1, 30))
        stored: list[list[int]] = [[] for _ in range(slots)]
        stems = [[chooser.randrange(5) for _ in range(60)] for _ in range(2)]
        jobs: list[Job] = []
        for _ in range(12):
            stem = chooser.choice(stems)[: chooser.randint(0, 60)]
            prompt = [*stem, *(chooser.randrange(5) for _ in range(chooser.randint(1, 5)))]
            pause = frozenset({99}) if chooser.random() < 0.3 else frozenset()
            asked = Request(prompt=tuple(prompt), max_tokens=chooser.randint(1, 6), pause_ids=pause)
            jobs.append(one.add(asked))
        for _ in range(2000):
            one.admit()
            plan = one.plan()
            while one.copies:
                copy = one.copies.popleft()
                stored[copy.target][: copy.count] = stored[copy.source][: copy.count]
            carry_out(one, plan, stored)
            disturb(one, chooser.choice(jobs), chooser)
            if one.idle and not any(job.paused for job in jobs if one.find(job.id)):
                break
        assert (one.running, one.waiting) == (0, 0)
        assert sorted(one._free) == list(range(slots))


def carry_out(one: Scheduler, plan: list[Feed], stored: list[list[int]]) -> None:
    for feed in plan:
        for job in feed.jobs:
            place = stored[job.held_slot]
            assert place[: job.fed] == job.ids[: job.fed], "the slot holds something else"
            place[job.fed :] = job.ids[job.fed : job.fed + feed.count]
            job.fed += feed.count
            if not job.pending and job.accept(99, 0.0, 200).finish:
                one.remove(job)


def disturb(one: Scheduler, job: Job, chooser: random.Random) -> None:
    """Something happens to one of the jobs, where it has not ended."""
    if one.find(job.id) is None:
        return
    event = chooser.random()
    if event < 0.02:
        one.remove(job)
    elif event < 0.1 and job.slot is not None:
        one.preempt(job)
    elif event < 0.6 and job.paused:
        one.force(job, [3] * chooser.randint(0, 3))
    elif event < 0.11:
        one.restart()
