"""Rollouts: a task's questions answered several times each, graded, and turned into Batches.

Replies are sampled by the engine in one running batch, tools included, from the weights as they are
now. Nothing but ids that the tokenizer has not is banned: what samples is what is trained. Tool
results are read, never learned from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from parrotlet.chat.call_runner import CallRunner
from parrotlet.chat.reply import MOST_CALLS
from parrotlet.data.batch import IGNORE, Batch
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Event, Request, RequestId, SamplingSettings
from parrotlet.tasks.task import Example, Task, graded
from parrotlet.text.chat import Message, parse_reply, render_prompt, render_result
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.table import Tool

EMPTY = Message("assistant", ())


@dataclass(kw_only=True)
class Rollout:
    """One reply to one question, as it was sampled."""

    example: Example
    group: int  # which of the round's questions
    prompt: Sequence[int]
    calls: CallRunner | None
    ids: list[int] = field(default_factory=list)  # of the reply
    logprobs: list[float | None] = field(default_factory=list)  # None: forced, not sampled
    finish: str = ""
    reply: Message = EMPTY
    grade: float = 0.0
    formed: bool = False
    advantage: float = 0.0


def roll(
    engine: Engine,
    tokenizer: Tokenizer,
    examples: Sequence[tuple[int, Example]],
    *,
    samples: int,
    max_tokens: int,
    sampling: SamplingSettings,
    tools: Mapping[str, Tool],
) -> list[Rollout]:
    """`samples` replies to each example, all in one running batch.

    An example comes with the seed of its replies. One whose prompt leaves no room is left out.
    """
    around = tokenizer.template.call
    running: dict[RequestId, Rollout] = {}
    made: list[Rollout] = []
    for group, (seed, example) in enumerate(examples):
        prompt = render_prompt(example.prompt, tokenizer)
        room = min(max_tokens, engine.length - len(prompt))
        for choice in range(samples if room > 0 else 0):
            calls = CallRunner(tokenizer, around, tools, MOST_CALLS) if tools and around else None
            request = Request(
                prompt=tuple(prompt),
                max_tokens=room,
                sampling=_seeded(sampling, seed),
                stop_ids=frozenset({tokenizer.stop_id}),
                pause_ids=frozenset() if calls is None else frozenset({calls.closing}),
                banned_ids=frozenset(range(tokenizer.vocab_size, engine.vocab_size)),
                choice=choice,
            )
            made.append(Rollout(example=example, group=group, prompt=prompt, calls=calls))
            running[engine.add(request)] = made[-1]
    while running:
        for event in engine.step():
            if event.request in running:
                _take(engine, tokenizer, running[event.request], event)
                if event.finish is not None:
                    running.pop(event.request).finish = event.finish
    for each in made:
        each.reply = parse_reply(each.ids, tokenizer)
    return made


def _seeded(sampling: SamplingSettings, seed: int) -> SamplingSettings:
    return SamplingSettings(
        temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p, seed=seed
    )


def _take(engine: Engine, tokenizer: Tokenizer, rollout: Rollout, event: Event) -> None:
    """Keep the token of an event; run the tool that is called with it."""
    if event.token is None:
        return
    rollout.ids.append(event.token)
    rollout.logprobs.append(None if event.forced else event.logprob)
    if not event.paused:
        return
    calls = rollout.calls
    assert calls is not None, "without tools there is nothing to pause after"
    said = rollout.ids[:-1]
    controls = [place for place, id in enumerate(said) if id >= tokenizer.first_special]
    if not controls or said[controls[-1]] != calls.opening:
        engine.force(event.request, ())  # the end of a call that never began: go on
        return
    begin = controls[-1] + 1
    result = render_result(calls.run(said[begin:])[1], tokenizer) if calls.left else []
    held = len(rollout.prompt) + len(rollout.ids) + len(result)
    if not result or held >= engine.length:
        engine.cancel(event.request)
    else:
        engine.force(event.request, result)


def grade(task: Task, rollouts: Sequence[Rollout]) -> None:
    """Grade every reply. Raises TrainingError as `graded`."""
    found = graded(task, [(each.example, each.reply) for each in rollouts])
    for each, (value, form) in zip(rollouts, found, strict=True):
        each.grade, each.formed = value, each.finish == "stop" and form


def set_advantages(
    rollouts: Sequence[Rollout], *, format_reward: float, baseline: bool, scale: bool
) -> float:
    """How much better each reply is than its group; returns the share of groups without any
    difference, from which nothing is learned.
    """
    groups: dict[int, list[Rollout]] = {}
    for each in rollouts:
        groups.setdefault(each.group, []).append(each)
    flat = 0
    for members in groups.values():
        rewards = [each.grade + format_reward * each.formed for each in members]
        mean = sum(rewards) / len(rewards)
        deviation = math.sqrt(sum((each - mean) ** 2 for each in rewards) / len(rewards))
        if max(rewards) == min(rewards):  # whatever rounding makes of the mean
            mean, flat = rewards[0], flat + 1
        for each, reward in zip(members, rewards, strict=True):
            each.advantage = reward - mean if baseline else reward
            if scale:
                each.advantage /= deviation + 1e-4
    return flat / max(1, len(groups))


def batch_of(rollouts: Sequence[Rollout]) -> Batch:
    """Rows of one length: each a prompt and its reply, of which the sampled tokens are learned."""
    longest = max(len(each.prompt) + len(each.ids) for each in rollouts) - 1
    tokens = torch.zeros(len(rollouts), longest, dtype=torch.int64)
    targets = torch.full_like(tokens, IGNORE)
    old, advantage = torch.zeros(tokens.shape), torch.zeros(tokens.shape)
    for row, each in enumerate(rollouts):
        ids = torch.tensor([*each.prompt, *each.ids])
        tokens[row, : len(ids) - 1] = ids[:-1]
        first = len(each.prompt) - 1
        for place, (id, logprob) in enumerate(zip(each.ids, each.logprobs, strict=True), first):
            if logprob is not None:
                targets[row, place], old[row, place] = id, logprob
                advantage[row, place] = each.advantage
    learned = targets != IGNORE
    return Batch(
        tokens=tokens,
        targets=targets,
        count=int(learned.sum()),
        extra={"old": old, "advantage": advantage, "weight": learned.float()},
    )


def batches_of(rollouts: Sequence[Rollout], micro_tokens: int) -> list[Batch]:
    """The rollouts in Batches of at most about `micro_tokens`, those of like length together."""
    ordered = sorted(rollouts, key=lambda each: len(each.prompt) + len(each.ids))
    batches: list[Batch] = []
    while ordered:
        longest = len(ordered[-1].prompt) + len(ordered[-1].ids)
        rows = max(1, micro_tokens // longest)
        batches.append(batch_of(ordered[-rows:]))
        del ordered[-rows:]
    return batches


def sampled_tokens(rollouts: Sequence[Rollout]) -> Tensor:
    """How many tokens of each reply were sampled."""
    counts = [sum(each is not None for each in rollout.logprobs) for rollout in rollouts]
    return torch.tensor(counts, dtype=torch.float32)
