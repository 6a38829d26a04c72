"""The engine's promises, on every architecture: an answer is the model's own, whoever else runs.

Tiny random models in float32 on the CPU. Every request is compared with the plainest decoding
there is: the whole sequence through the model again for each token.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch

from parrotlet.core.errors import UsageError
from parrotlet.engine import recorded
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Event, Request, RequestId, SamplingSettings
from parrotlet.engine.sampling import Sampler
from parrotlet.model.build import ARCHITECTURES, build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

VOCAB, CONTEXT = 53, 96
MARGIN = 1e-4  # where the two best logits are nearer than this, rounding may choose
every_architecture = pytest.mark.parametrize("arch", list(ARCHITECTURES))
GREEDY = SamplingSettings(temperature=0.0)


@cache
def tiny(arch: str, seed: int = 3) -> Model:
    """Weights so large that every position matters and greedy answers do not soon repeat."""
    shape = {
        "arch": arch,
        "vocab_size": VOCAB,
        "context": CONTEXT,
        "depth": 2,
        "width": 24,
        "heads": 4,
        "kv_heads": 4 if arch == "gpt2" else 2,
        "head_width": 6,
        "mlp_width": 48,
        "tied": arch != "swift",
        "bigrams": 5 * VOCAB if arch == "swift" else 0,
    }
    model = build_model(ModelConfig.from_json(shape))
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def requests(count: int, sampling: SamplingSettings, seed: int = 0) -> list[Request]:
    """Prompts of 1 to 30 ids, some with bans, answers of 1 to 15."""
    chooser = random.Random(seed)
    return [
        Request(
            prompt=tuple(chooser.randrange(VOCAB) for _ in range(chooser.randint(1, 30))),
            max_tokens=chooser.randint(1, 15),
            sampling=replace(sampling, seed=index // 2),
            choice=index % 2,
            banned_ids=frozenset(range(40, 45)) if index % 3 == 0 else frozenset(),
        )
        for index in range(count)
    ]


def mixed(count: int) -> list[Request]:
    kinds = [
        GREEDY,
        SamplingSettings(),
        SamplingSettings(temperature=0.8, top_k=10, repetition_penalty=1.3),
        SamplingSettings(top_p=0.8),
        SamplingSettings(top_k=30, top_p=0.9, min_p=0.05),
    ]
    plain = requests(count, GREEDY, seed=4)
    return [
        replace(each, sampling=replace(kinds[index % 5], seed=index))
        for index, each in enumerate(plain)
    ]


@torch.no_grad()
def decode_plainly(model: Model, request: Request) -> tuple[list[int], bool]:
    """The answer without cache or batch, and whether every best logit stood clear of the next."""
    sampler = Sampler(1, VOCAB, torch.device("cpu"))
    sampler.join(0, request, request.prompt)
    ids, clear = list(request.prompt), True
    for _ in range(request.max_tokens):
        row = torch.tensor([ids])
        logits = model(row, CausalContext.of(row))[:, -1]
        token = sampler.sample(logits, [0], [len(ids)])[0].token
        logits[0, list(request.banned_ids)] = float("-inf")
        first, second = logits[0].topk(2).values
        clear = clear and bool(first - second > MARGIN)
        ids.append(token)
    return ids[len(request.prompt) :], clear


def run(engine: Engine, wanted: Sequence[Request], late: int = 0) -> list[list[int]]:
    """The answers; the last `late` requests join one by one while others run."""
    early = len(wanted) - late
    ids = [engine.add(each) for each in wanted[:early]]
    answers: dict[RequestId, list[int]] = defaultdict(list)
    while not engine.idle or len(ids) < len(wanted):
        if len(ids) < len(wanted):
            ids.append(engine.add(wanted[len(ids)]))
        for event in engine.step():
            assert event.token is not None
            answers[event.request].append(event.token)
    return [answers[id] for id in ids]


@cache
def plain_answers(arch: str) -> tuple[list[list[int]], list[Request]]:
    """Greedy requests whose answers do not hang on rounding, and those answers."""
    kept = [
        (answer, each)
        for each in requests(16, GREEDY)
        for answer, clear in [decode_plainly(tiny(arch), each)]
        if clear
    ]
    assert len(kept) >= 12, "too many ties to prove anything"
    answers = [answer for answer, _ in kept]
    assert len({tuple(each) for each in answers}) > 8, "the model says always the same"
    return answers, [each for _, each in kept]


@every_architecture
@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_greedy_is_the_models_own_whatever_the_chunk(arch: str, chunk: int) -> None:
    expected, wanted = plain_answers(arch)
    engine = Engine(tiny(arch), slots=5, prefill_chunk=chunk)
    assert run(engine, wanted) == expected, "more requests than slots: slots are used again"


@every_architecture
@pytest.mark.parametrize("slots", [1, 2, 16])
def test_greedy_does_not_depend_on_batch_mates_or_order(arch: str, slots: int) -> None:
    expected, wanted = plain_answers(arch)
    order = list(range(len(wanted)))
    random.Random(slots).shuffle(order)
    engine = Engine(tiny(arch), slots=slots, length=64)
    found = run(engine, [wanted[index] for index in order], late=len(order) // 2)
    assert found == [expected[index] for index in order]


@every_architecture
def test_seeded_sampling_neither(arch: str) -> None:
    wanted = mixed(10)
    expected = [decode_plainly(tiny(arch), each)[0] for each in wanted]
    for slots, chunk in ((1, 64), (3, 5), (10, 1)):
        order = list(range(10))
        random.Random(slots).shuffle(order)
        engine = Engine(tiny(arch), slots=slots, prefill_chunk=chunk)
        found = run(engine, [wanted[index] for index in order], late=4)
        assert found == [expected[index] for index in order]


def relatives(count: int) -> list[Request]:
    """Prompts that begin alike, some with several choices; greedy and sampled."""
    chooser = random.Random(8)
    stems = [[chooser.randrange(VOCAB) for _ in range(50)] for _ in range(3)]
    kinds = [GREEDY, SamplingSettings(), SamplingSettings(top_k=8, frequency_penalty=0.7)]
    found = []
    while len(found) < count:
        stem = chooser.choice(stems)[: chooser.randint(0, 50)]
        prompt = (*stem, *(chooser.randrange(VOCAB) for _ in range(chooser.randint(1, 4))))
        settings = replace(chooser.choice(kinds), seed=len(found))
        asked = Request(prompt=prompt, max_tokens=chooser.randint(1, 12), sampling=settings)
        found += [replace(asked, choice=choice) for choice in range(chooser.randint(1, 3))]
    return found[:count]


@every_architecture
@pytest.mark.parametrize(("slots", "chunk"), [(1, 64), (4, 7)])
def test_what_is_reused_changes_nothing(arch: str, slots: int, chunk: int) -> None:
    """Answers with prefixes from the cache, shared reading and preemption are the plain ones."""
    wanted = relatives(24)
    plainly = [decode_plainly(tiny(arch), each) for each in wanted]
    engine = Engine(tiny(arch), slots=slots, prefill_chunk=chunk)
    chooser = random.Random(slots)
    ids = [engine.add(each) for each in wanted]
    answers: dict[RequestId, list[int]] = {id: [] for id in ids}
    while not engine.idle:
        for event in engine.step():
            assert event.token is not None
            answers[event.request].append(event.token)
        if chooser.random() < 0.2:
            for id in chooser.sample(ids, 12):
                engine.preempt(id)
    clear = [id for id, (_, is_clear) in zip(ids, plainly, strict=True) if is_clear]
    assert len(clear) > 16
    assert [answers[id] for id in clear] == [plainly[ids.index(id)][0] for id in clear]
    load = engine.load
    assert load.preemptions > 2 and load.reused_tokens > 100
    assert load.blocks_used == load.running == load.waiting == 0


@every_architecture
def test_several_answers_to_one_prompt(arch: str) -> None:
    """Each is what it is alone; the prompt is read once."""
    base = Request(prompt=tuple(range(40)), max_tokens=8)
    wanted = [replace(base, choice=choice) for choice in range(4)]
    engine = Engine(tiny(arch), slots=4)
    found = run(engine, wanted)
    assert found == [decode_plainly(tiny(arch), each)[0] for each in wanted]
    assert len({tuple(each) for each in found}) == 4
    assert (engine.load.prompt_tokens, engine.load.reused_tokens) == (160, 3 * 39)


@every_architecture
def test_log_probabilities_of_a_prompt(arch: str) -> None:
    """With alternatives, in chunks, also where nothing is to be sampled and all is cached."""
    model = tiny(arch)
    prompt = tuple(random.Random(3).randrange(VOCAB) for _ in range(40))
    row = torch.tensor([prompt])
    with torch.no_grad():
        expected = model(row, CausalContext.of(row)).log_softmax(-1)[0]
    engine = Engine(model, slots=2, prefill_chunk=7)
    asked = Request(prompt=prompt, max_tokens=0, alternatives=3, prompt_logprobs=True)
    for max_tokens in (2, 0):
        engine.add(replace(asked, max_tokens=max_tokens))
        events: list[Event] = []
        while not engine.idle:
            events += engine.step()
        assert len(events) == max(max_tokens, 1) and events[-1].finish == "length"
        assert [each.token for each in events[0].prompt] == list(prompt)
        assert events[0].prompt[0].logprob is None
        for before, each in zip(expected, events[0].prompt[1:], strict=False):
            assert each.logprob == pytest.approx(float(before[each.token]), abs=1e-5)
            assert [one for _, one in each.alternatives] == pytest.approx(
                before.topk(3).values.tolist(), abs=1e-5
            )
        if max_tokens:
            assert len(events[0].alternatives) == 3 and events[1].prompt == ()
            assert events[0].alternatives[0][1] >= (events[0].logprob or 0.0)
        else:
            assert events[0].token is None


@every_architecture
def test_logprobs_are_the_trainers(arch: str) -> None:
    """Of sampled answers, against what a policy gradient would compute with the same weights."""
    model = tiny(arch)
    wanted = [replace(each, max_tokens=15) for each in mixed(6)]
    engine = Engine(model, slots=3, prefill_chunk=5)
    ids = [engine.add(each) for each in wanted]
    found: dict[RequestId, list[Event]] = defaultdict(list)
    while not engine.idle:
        for event in engine.step():
            found[event.request].append(event)
    for id, request in zip(ids, wanted, strict=True):
        answer = [event.token for event in found[id]]
        row = torch.tensor([[*request.prompt, *answer]])
        hidden = model.hidden(row[:, :-1], CausalContext.of(row[:, :-1]))
        logprobs = model.logits(hidden)[0].log_softmax(-1)
        assert logprobs.requires_grad, "this is how the trainer computes them"
        trainers = logprobs.gather(1, row[0, 1:, None])[-len(answer) :, 0]
        for one, event in zip(trainers.tolist(), found[id], strict=True):
            assert event.logprob == pytest.approx(one, abs=1e-4)


@every_architecture
def test_logprobs_are_the_models_own(arch: str) -> None:
    model = tiny(arch)
    request = replace(mixed(5)[2], max_tokens=12)
    engine = Engine(model)
    engine.add(request)
    events: list[Event] = []
    while not engine.idle:
        events += engine.step()
    row = torch.tensor([[*request.prompt, *(event.token for event in events)]])
    with torch.no_grad():
        expected = model(row, CausalContext.of(row)).log_softmax(-1)[0]
    start = len(request.prompt) - 1
    for offset, event in enumerate(events):
        value = expected[start + offset, event.token]
        assert event.logprob == pytest.approx(float(value), abs=1e-5)


@every_architecture
def test_cancelled_requests_leave_no_trace(arch: str) -> None:
    """At any time: in the queue, while the prompt is read, between tokens."""
    expected, wanted = plain_answers(arch)
    engine = Engine(tiny(arch), slots=3, prefill_chunk=4)
    chooser = random.Random(1)
    answers: dict[RequestId, list[int]] = defaultdict(list)
    doomed = [engine.add(each) for each in mixed(6)]
    ids = [engine.add(each) for each in wanted]
    doomed += [engine.add(each) for each in mixed(6)]
    ended = set()
    while not engine.idle:
        for event in engine.step():
            if event.token is not None:
                answers[event.request].append(event.token)
            if event.finish == "cancelled":
                ended.add(event.request)
                assert event.token is None
        if doomed and chooser.random() < 0.4:
            engine.cancel(doomed.pop(chooser.randrange(len(doomed))))
    assert [answers[id] for id in ids] == expected
    assert ended, "nothing was cancelled in time"
    assert (engine.running, engine.waiting) == (0, 0)


@every_architecture
def test_forced_tokens_are_as_if_they_had_been_in_the_prompt(arch: str) -> None:
    """A paused request goes on after a tool's result; its neighbours do not wait for it."""
    _, wanted = plain_answers(arch)
    base = next(each for each in wanted if each.max_tokens > 8)
    answer, _ = decode_plainly(tiny(arch), base)
    pause = answer[3]
    at = answer.index(pause) + 1
    forced = [7, 11, 13, 17, 19]
    continued = replace(base, prompt=(*base.prompt, *answer[:at], *forced), max_tokens=6)
    expected, clear = decode_plainly(tiny(arch), continued)
    assert clear

    engine = Engine(tiny(arch), slots=2, prefill_chunk=3)
    id = engine.add(replace(base, pause_ids=frozenset({pause}), max_tokens=at + 6))
    neighbour = engine.add(replace(base, max_tokens=20))
    events: list[Event] = []
    while not engine.idle:
        events += engine.step()
    assert [event.token for event in events if event.request == id] == answer[:at]
    assert len([event for event in events if event.request == neighbour]) == 20
    assert [event.paused for event in events if event.request == id] == [False] * (at - 1) + [True]
    assert engine.running == 1, "it holds its slot while it waits"

    engine.force(id, forced)
    events = []
    while not engine.idle:
        events += engine.step()
    assert [event.token for event in events[:5]] == forced
    assert all(event.forced and event.logprob is None for event in events[:5])
    rest = [event.token for event in events[5:]]
    assert rest and rest == expected[: len(rest)]
    assert not any(event.forced for event in events[5:])
    assert events[-1].finish == ("length" if len(rest) == 6 else None), "forced ones were counted"
    assert len(rest) == 6 or events[-1].paused


def test_forced_tokens_count_for_the_repetition_penalty() -> None:
    """With an enormous penalty nothing that was said or read comes again."""
    engine = Engine(tiny("qwen3"))
    greedy = SamplingSettings(temperature=0.0, repetition_penalty=100.0)
    prompt, forced = (1, 2, 3), list(range(10, 40))
    everything = frozenset(range(VOCAB))
    id = engine.add(Request(prompt=prompt, max_tokens=6, sampling=greedy, pause_ids=everything))
    said = list(prompt)
    for ids in (forced, (), (), ()):
        [event] = [each for each in engine.step() if not each.forced]
        assert event.token is not None and event.token not in said
        said += [event.token, *ids]
        engine.force(id, [each for each in ids if each not in said[:4]])


@every_architecture
def test_new_weights_forget_the_old(arch: str) -> None:
    """In the middle of answers: what follows is what the new model says after the same ids."""
    _, wanted = plain_answers(arch)
    request = replace(wanted[0], max_tokens=12)
    engine = Engine(tiny(arch))
    engine.add(request)
    said: list[int] = []
    while len(said) < 4:
        said += [event.token for event in engine.step() if event.token is not None]
    engine.load_weights(tiny(arch, seed=8))
    while not engine.idle:
        said += [event.token for event in engine.step() if event.token is not None]
    after = replace(request, prompt=(*request.prompt, *said[:4]), max_tokens=8)
    expected, clear = decode_plainly(tiny(arch, seed=8), after)
    assert clear and said[4:] == expected
    assert expected != decode_plainly(tiny(arch), after)[0]


@every_architecture
def test_stop_ids_and_bans(arch: str) -> None:
    answers, wanted = plain_answers(arch)
    at = next(index for index, each in enumerate(answers) if len(set(each)) > 1)
    answer, base = answers[at], wanted[at]
    stop = next(token for token in answer if token != answer[0])
    engine = Engine(tiny(arch))
    engine.add(replace(base, stop_ids=frozenset({stop})))
    events: list[Event] = []
    while not engine.idle:
        events += engine.step()
    assert [event.token for event in events] == answer[: answer.index(stop) + 1]
    assert events[-1].finish == "stop" and events[-2].finish is None
    hot = replace(base, sampling=SamplingSettings(temperature=5.0), max_tokens=40)
    [found] = run(engine, [replace(hot, banned_ids=frozenset(range(0, VOCAB, 2)))])
    assert len(found) == 40 and all(token % 2 for token in found)


@every_architecture
def test_weights_are_cast_once_and_the_trainers_stay(arch: str) -> None:
    """A private copy in bfloat16; in float32 the model itself, untouched."""
    shared = tiny(arch)
    halved = build_model(shared.config, torch.bfloat16)
    halved.load_state_dict(shared.state_dict())
    halved.train()
    engine = Engine(halved)
    [answer] = run(engine, [replace(requests(1, GREEDY)[0], max_tokens=5)])
    assert len(answer) == 5
    assert halved.training
    assert all(parameter.dtype == torch.float32 for parameter in halved.parameters())
    assert all(parameter.requires_grad for parameter in halved.parameters())
    before = {name: value.clone() for name, value in shared.state_dict().items()}
    run(Engine(shared), requests(3, GREEDY))
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())


def test_what_cannot_work_is_said_at_once() -> None:
    model = tiny("qwen3")
    engine = Engine(model, length=20)
    fine = Request(prompt=(1, 2), max_tokens=3)
    wrong = {
        "need 23 places, and the context has 20": replace(fine, max_tokens=21),
        "token 53 is not in the model's vocabulary of 53": replace(fine, prompt=(53,)),
        "token -1 is not": replace(fine, prompt=(-1,)),
        "every token of the vocabulary is banned": replace(fine, banned_ids=frozenset(range(53))),
    }
    for words, request in wrong.items():
        with pytest.raises(UsageError, match=words):
            engine.add(request)
    for words, arguments in {"no tokens": ((), 3), "max_tokens is 0": ((1,), 0)}.items():
        with pytest.raises(UsageError, match=words):
            Request(prompt=arguments[0], max_tokens=arguments[1])
    with pytest.raises(UsageError, match="more than the model's context of 96"):
        Engine(model, length=97)
    with pytest.raises(UsageError, match="make a new engine"):
        engine.load_weights(tiny("gpt2"))
    with pytest.raises(UsageError, match="does not run"):
        engine.force(0, [1])
    engine.cancel(12)  # ended, or never was: nothing to do
    assert engine.idle and engine.step() == []


@every_architecture
def test_passes_of_fixed_shapes_say_the_same(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU records: rows filled up with a spare slot, places read up to a multiple."""
    monkeypatch.setattr(recorded, "READ", 8)
    expected, wanted = plain_answers(arch)
    engine = Engine(tiny(arch), slots=5, prefill_chunk=7, record=True)
    assert run(engine, wanted, late=6) == expected
    shapes = engine._runner._recorded._recordings  # type: ignore[union-attr]
    assert {rows for rows, _ in shapes} >= {4, 8}, "never filled up"
    assert len({read for _, read in shapes}) > 3
    sampled = mixed(20)
    assert run(engine, sampled) == run(Engine(tiny(arch), slots=5), sampled)
    engine.load_weights(tiny(arch, seed=4))
    assert run(engine, sampled) == run(Engine(tiny(arch, seed=4), slots=5), sampled)
