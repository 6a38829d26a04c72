"""Preference learning: pairs in rows, and what makes the chosen reply likelier as the objective.

The model that is started from is the reference. What it says of every pair is computed once,
before the first step, and kept beside the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from parrotlet.core.errors import DataError, UsageError
from parrotlet.core.rundir import read_json
from parrotlet.core.runtime import Runtime
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.conversations import OPENINGS, Notes, Rules, opening
from parrotlet.data.packing import PackedRows
from parrotlet.data.pairs import (
    REFERENCE,
    PairRows,
    RenderedPair,
    fit_pair,
    open_reference,
    pack_pairs,
    save_reference,
)
from parrotlet.data.permutation import derive_key, permute_many
from parrotlet.data.preferences import Pair, read_preferences
from parrotlet.evals.bpb import summed_loss
from parrotlet.evals.show import say_notes
from parrotlet.model.model import Model
from parrotlet.stages.config import learned_from
from parrotlet.stages.config_dpo import DpoConfig, PairDataConfig
from parrotlet.stages.config_json import with_absolute_paths
from parrotlet.stages.opening import Ground, check_budget, tuning
from parrotlet.stages.plan import Plan, row_length
from parrotlet.stages.record import key_of, settled
from parrotlet.stages.run import Display, Stage, packed, run_stage
from parrotlet.stages.samples import answers
from parrotlet.tasks.world_pairs import WorldPairs
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.checkpoint import Checkpoint
from parrotlet.train.drive import StopFlag
from parrotlet.train.losses_pairs import PairObjective, reply_logprobs
from parrotlet.train.parallel import on_main
from parrotlet.train.tally import Tally
from parrotlet.world.entities import World

SIDES = ("train", "validation")
VALIDATED = ("accuracy", "preferred", "margin", "drift")  # of what the tally sees


def dpo(config: DpoConfig, display: Display) -> Path | None:
    """Learn preferences; the run's directory when done, None when a signal asked to stop.

    What cannot work is refused before anything is read or written.
    """
    config = with_absolute_paths(config)
    if config.pairs.smoothing and config.pairs.loss == "ipo":
        raise UsageError("--smoothing is for --loss dpo; leave it at 0 with ipo")
    with tuning("dpo", config, lambda start: _check(config, start)) as ground:
        start, runtime = ground.start, ground.runtime
        context = row_length(config.context, start.config)
        data = ground.directory / "data"
        key = key_of(
            data / "validation" / REFERENCE / MANIFEST,
            [context, config.run.seed],
            config.data,
            [config.start],
            (start.path / MANIFEST).read_bytes(),  # its weights and tokenizer
        )
        on_main(lambda: _prepare_pairs(config, ground, context, key, display), runtime)
        on_main(lambda: _prepare_reference(config, start, runtime, data, key, display), runtime)
        train, held = (_open(data / side, key) for side in SIDES)
        plan = ground.plan(config.budget, context, len(train), train.rows.tokens.shape[1])
        stage = _stage(config, ground, plan, train, held)
        done = run_stage(stage, config.run, runtime, ground.directory, display)
    return ground.directory if done else None


def _check(config: DpoConfig, start: Checkpoint) -> None:
    if start.stage == "base":
        raise UsageError(
            f"{config.start} has only read and never learned to answer, so it cannot prefer an "
            "answer; fine-tune it first: parrotlet sft"
        )
    check_budget(config, start)


def _stage(config: DpoConfig, ground: Ground, plan: Plan, train: PairRows, held: PairRows) -> Stage:
    """The stream of pairs and their objective."""
    tokenizer, device = ground.tokenizer, ground.runtime.device
    tally = Tally()
    return Stage(
        name="dpo",
        tokenizer=tokenizer,
        stream=packed(train, config.run, ground.runtime),
        objective=_objective(config, tally),
        plan=plan,
        optim=config.optim,
        lora=config.lora,
        evaluate=lambda model, stop: validation(config, model, held, plan.micro_rows, device, stop),
        sample=lambda model: answers(model, tokenizer, config.prompts),
        start=ground.start,
        tally=tally,
        before=True,
    )


def _objective(config: DpoConfig, tally: Tally) -> PairObjective:
    loss = config.pairs
    return PairObjective(
        kind=loss.loss, beta=loss.beta, smoothing=loss.smoothing, anchor=loss.anchor, tally=tally
    )


def validation(
    config: DpoConfig,
    model: Model,
    held: PairRows,
    micro_rows: int,
    device: torch.device,
    stop: StopFlag,
) -> Mapping[str, float]:
    """The loss a pair and what the tally saw, over all held-out pairs, on this rank alone."""
    tally = Tally()
    batches = stop.watch(held.batches(micro_rows))
    total, count = summed_loss(model, batches, device, _objective(config, tally))
    alone = Runtime(device=device, compute_dtype=model.compute_dtype)
    seen = tally.means(alone)
    return {
        "validation_loss": total / max(1, count),
        **{f"validation_{name}": seen[name] for name in VALIDATED},
    }


def _prepare_pairs(
    config: DpoConfig, ground: Ground, context: int, key: str, display: Display
) -> None:
    """Read, split, render and pack the pairs, once.

    What was made from the same is kept, and that of a run which has begun: opening it says where
    it was made from something else.
    """
    directory, tokenizer = ground.directory / "data", ground.tokenizer
    made = directory / "validation" / MANIFEST
    if made.exists() and (read_json(made).get("key") == key or settled(ground.directory)):
        return
    display.say(f"learning from {learned_from(config.data.data, config.run.seed)}")
    notes = Notes()
    try:
        sides = _split(config.data, config.run.seed, notes)
    finally:  # what was left out may be why there are too few
        say_notes(notes, display.say)
    for side, pairs in zip(SIDES, sides, strict=True):
        fitted = [fit_pair(pair, tokenizer, context) for pair in pairs]
        kept: list[RenderedPair] = [item for item, _ in fitted if item is not None]
        if not kept:
            raise DataError(
                f"none of {len(pairs)} pairs fits into {context} tokens; use a longer --context, "
                "or a model that was trained with one"
            )
        rows = pack_pairs(kept, context)
        rows.save(directory / side, key)
        cut = sum(item is not None and turns > 0 for item, turns in fitted)
        display.say(
            f"{side}: {len(kept):,} pairs in {len(rows):,} rows of {rows.tokens.shape[1]} tokens"
            + (f"; {cut} whose oldest turns were cut to fit" if cut else "")
            + (
                f"; {len(fitted) - len(kept)} left out as too long"
                if len(kept) < len(fitted)
                else ""
            )
        )


def _split(data: PairDataConfig, seed: int, notes: Notes) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """Pairs to learn from and pairs to validate on. Those that begin with the same question are on
    one side, where such beginnings are many."""
    if not data.data:
        world = World(seed)
        held = max(1, round(data.world_pairs * data.validation_fraction))
        learned = list(WorldPairs(world).pairs(data.world_pairs - held))
        return learned, list(WorldPairs(world, "test").pairs(held))
    rules = Rules(merge=data.same_role == "merge", skip=data.bad_records == "skip")
    every = list(read_preferences(data.data, data.errors, rules, notes))
    starts = {pair.prompt: opening(pair.prompt) for pair in every}
    if len(set(starts.values())) < OPENINGS:
        starts = {prompt: prompt for prompt in starts}
    prompts = list(dict.fromkeys(starts.values()))
    if len(prompts) < 2:
        raise DataError(f"{len(every)} pairs are too few to learn from and to validate on")
    shuffle = derive_key(seed, "dpo split")
    held = min(len(prompts) - 1, max(1, round(len(prompts) * data.validation_fraction)))
    places = permute_many(np.arange(len(prompts)), len(prompts), shuffle)
    kept = {prompt for prompt, place in zip(prompts, places, strict=True) if place < held}
    return [each for each in every if starts[each.prompt] not in kept], [
        each for each in every if starts[each.prompt] in kept
    ]


def _prepare_reference(
    config: DpoConfig,
    start: Checkpoint,
    runtime: Runtime,
    directory: Path,
    key: str,
    display: Display,
) -> None:
    """What the model that is started from says of every pair, once."""
    if all(_is_made(directory / side, key) for side in SIDES):
        return
    display.say("computing the reference's log-probabilities")
    model = checkpoints.load_model(start, runtime)
    for side in SIDES:
        rows = PackedRows.open(directory / side, key)
        save_reference(directory / side, reference_of(model, rows, config, runtime), key)


def _is_made(directory: Path, key: str) -> bool:
    path = directory / REFERENCE / MANIFEST
    return path.exists() and read_json(path).get("key") == key


@torch.no_grad()
def reference_of(
    model: Model, rows: PackedRows, config: DpoConfig, runtime: Runtime
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(R, 2 P) log-probabilities of the replies in every row, 0 where there is none."""
    micro_rows = max(1, config.budget.fixed_micro_tokens // rows.tokens.shape[1])
    segments = int(rows.segments.max())
    found = [
        reply_logprobs(model, batch.to(runtime.device), segments)[0].float().cpu()
        for batch in rows.batches(micro_rows)
    ]
    return torch.cat(found).numpy()


def _open(directory: Path, key: str) -> PairRows:
    return PairRows(rows=PackedRows.open(directory, key), reference=open_reference(directory, key))
