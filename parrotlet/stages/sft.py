"""Supervised fine-tuning: packed conversations, and the assistant's words as the objective."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from parrotlet.core.errors import DataError, UsageError
from parrotlet.core.runtime import Runtime
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.conversations import OPENINGS, Notes, Rules, opening, read_conversations
from parrotlet.data.packing import PackedRows, pack_rows
from parrotlet.data.permutation import derive_key, permute_many
from parrotlet.evals.bpb import mean_loss
from parrotlet.evals.show import say_notes, show_conversation
from parrotlet.model.model import Model
from parrotlet.stages.config import learned_from
from parrotlet.stages.config_json import with_absolute_paths
from parrotlet.stages.config_sft import SftConfig, SftDataConfig
from parrotlet.stages.opening import check_budget, tuning
from parrotlet.stages.plan import Plan, row_length
from parrotlet.stages.record import gone, key_of
from parrotlet.stages.run import Display, Stage, packed, run_stage
from parrotlet.stages.samples import answers
from parrotlet.text.chat import Conversation, Rendered, render
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.drive import StopFlag
from parrotlet.train.losses import next_token
from parrotlet.train.parallel import on_main
from parrotlet.world.entities import World
from parrotlet.world.records import conversations, documents, general_conversations

MANY = 10**6  # times that the data may be read in an epoch
SHOWN = 3  # conversations shown before people's files are learned from


def sft(config: SftConfig, display: Display) -> Path | None:
    """Fine-tune; the run's directory when done, None when a signal asked to stop.

    What cannot work is refused before anything is read or written.
    """
    config = with_absolute_paths(config)
    with tuning("sft", config, lambda start: check_budget(config, start)) as ground:
        start, tokenizer, runtime = ground.start, ground.tokenizer, ground.runtime
        context = row_length(config.context, start.config)
        data = ground.directory / "data"
        made_from = [tokenizer.fingerprint, context, config.run.seed]
        key = key_of(data / "validation" / MANIFEST, made_from, config.data)
        on_main(lambda: prepare_rows(config, tokenizer, context, data, key, display), runtime)
        train, held = (PackedRows.open(data / side, key) for side in ("train", "validation"))
        plan = ground.plan(config.budget, context, len(train))
        stage = Stage(
            name="sft",
            tokenizer=tokenizer,
            stream=packed(train, config.run, runtime),
            objective=next_token,
            plan=plan,
            optim=config.optim,
            lora=config.lora,
            evaluate=lambda model, stop: validation(model, held, plan, runtime, stop),
            sample=lambda model: answers(model, tokenizer, config.prompts),
            start=start,
        )
        done = run_stage(stage, config.run, runtime, ground.directory, display)
    return ground.directory if done else None


def prepare_rows(
    config: SftConfig,
    tokenizer: Tokenizer,
    context: int,
    directory: Path,
    key: str,
    display: Display,
) -> None:
    """Render, split and pack the conversations, once; what is there already is kept."""
    if (directory / "validation" / MANIFEST).exists():
        for path in gone(config.data.data)[:1]:
            display.say(f"{path} is gone; going on with its rows in {directory}")
        return
    display.say(f"learning from {learned_from(config.data.data, config.run.seed)}")
    notes = Notes()
    talk, weights = _conversations(config.data, config.run.seed, notes)
    say_notes(notes, display.say)
    if len(talk) < 2:
        raise DataError(f"{len(talk)} conversations are too few to learn from and to validate on")
    train, held = _split(talk, config.data, config.run.seed)
    for name, members in (("train", train), ("validation", held)):
        if name == "train":
            members = _weighed(members, weights, config.run.seed)
        items, cut, dropped = fit([talk[index] for index in members], tokenizer, context)
        if name == "train" and config.data.data:
            for item in items[:SHOWN]:
                display.say(show_conversation(item, tokenizer))
        if name == "train" and not config.data.data and config.data.world_talk == "all":
            items += document_items(config, tokenizer, context)
        packed = pack_rows(items, context)
        packed.save(directory / name, key)
        kept = len(members) - dropped
        display.say(
            f"{name}: {kept:,} conversations in {len(packed):,} rows of {context} tokens"
            + (f"; {cut} cut at a turn to fit" if cut else "")
            + (f"; {dropped} left out, whose first answer is too long" if dropped else "")
        )


def _conversations(
    data: SftDataConfig, seed: int, notes: Notes
) -> tuple[list[Conversation], list[float]]:
    """All conversations, and how often each is read in an epoch."""
    given = data.weights
    if given and not (len(given) == len(data.data) and min(given) >= 0 and 0 < sum(given) < MANY):
        raise UsageError(
            f"--weights {' '.join(map(str, given))}: give a number of 0 or more, some of them more "
            f"than 0, for each of the {len(data.data)} of --data"
        )
    if data.data:
        rules = Rules(merge=data.same_role == "merge", skip=data.bad_records == "skip")
        talk, weights = [], []
        for path, weight in zip(data.data, data.weights or [1.0] * len(data.data), strict=True):
            if not weight:
                continue
            found = list(read_conversations([path], data.errors, rules, notes))
            talk += found
            weights += [weight] * len(found)
        return talk, weights
    some = general_conversations if data.world_talk == "general" else conversations
    talk = list(some(World(seed), data.world_conversations))
    return talk, [1.0] * len(talk)


def _split(
    talk: Sequence[Conversation], data: SftDataConfig, seed: int
) -> tuple[list[int], list[int]]:
    """Numbers of the conversations to learn from, and of those to validate on.

    People's conversations that begin with the same question are on one side, where such beginnings
    are many.
    """
    groups: dict[Conversation, list[int]] = {}
    for index, conversation in enumerate(talk if data.data else ()):
        groups.setdefault(opening(conversation), []).append(index)
    members = list(groups.values())
    if len(members) < OPENINGS:
        members = [[each] for each in range(len(talk))]
    count = len(members)
    held = min(count - 1, max(1, round(count * data.validation_fraction)))
    order = permute_many(np.arange(count), count, derive_key(seed, "sft split")).tolist()
    sides = (order[held:], order[:held])
    train, validated = ([index for each in side for index in members[each]] for side in sides)
    return train, validated


def _weighed(members: Sequence[int], weights: Sequence[float], seed: int) -> list[int]:
    """The members, each as often as its weight says; of a fraction, a fixed share of them."""
    times = {}
    for member in members:
        whole, fraction = divmod(weights[member], 1.0)
        times[member] = int(whole) + (derive_key(seed, "weight", member) / 2**64 < fraction)
    passes = range(max(times.values()))  # one after the other, so that copies lie apart
    if not passes:
        raise UsageError("--weights leave no conversation to learn from; choose larger ones")
    return [member for each in passes for member in members if times[member] > each]


def fit(
    talk: Sequence[Conversation], tokenizer: Tokenizer, context: int
) -> tuple[list[Rendered], int, int]:
    """Rendered conversations of at most context + 1 tokens.

    Longer ones lose turns from the end; those whose first answer does not fit are left out.
    Returns the items, how many were cut and how many were left out.
    """
    items, cut, dropped = [], 0, 0
    for conversation in talk:
        rendered = render(conversation, tokenizer)
        messages = conversation.messages
        while len(rendered.ids) > context + 1:
            shorter = messages[:-2] if messages[-1].role == "assistant" else messages[:-1]
            if not any(message.role == "assistant" for message in shorter):
                break
            messages = shorter
            rendered = render(Conversation(messages), tokenizer)
        if len(rendered.ids) > context + 1 or not any(rendered.mask):
            dropped += 1
            continue
        cut += len(messages) < len(conversation.messages)
        items.append(rendered)
    if not items:
        raise DataError(
            f"none of {len(talk)} conversations fits into {context} tokens; use a longer "
            "--context, or a model that was trained with one"
        )
    return items, cut, dropped


def document_items(config: SftConfig, tokenizer: Tokenizer, context: int) -> list[Rendered]:
    """Documents of the world as items that are learned whole, cut into pieces that fit."""
    items = []
    for document in documents(World(config.run.seed), config.data.world_documents):
        ids = tokenizer.encode_document(document.text)
        for begin in range(0, len(ids) - 1, context):  # one id alone teaches nothing
            piece = ids[begin : begin + context + 1]
            items.append(Rendered(piece, [begin > 0] + [True] * (len(piece) - 1)))
    return items


def validation(
    model: Model, rows: PackedRows, plan: Plan, runtime: Runtime, stop: StopFlag
) -> Mapping[str, float]:
    """Mean loss in nats over the words to be learned, and its exponential."""
    loss = mean_loss(model, stop.watch(rows.batches(plan.micro_rows)), runtime.device)
    return {"validation_loss": loss, "perplexity": math.exp(min(loss, 50.0))}
