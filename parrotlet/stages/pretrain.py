"""Pretraining: rows of a long text, and the next token as the objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from parrotlet.core.errors import UsageError
from parrotlet.core.runtime import Runtime
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.shards import Shards, tokenize
from parrotlet.data.sources import FileSource, Source, open_sources, skipped_lines
from parrotlet.data.streams import RowStream, evaluation_batches
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.bpb import bits_per_byte
from parrotlet.model.model import Model
from parrotlet.stages.config import learned_from
from parrotlet.stages.config_json import with_absolute_paths
from parrotlet.stages.config_pretrain import DataConfig, PretrainConfig
from parrotlet.stages.opening import opened, run_directory, start_of
from parrotlet.stages.plan import Plan, check_start, make_plan, model_config
from parrotlet.stages.record import gone, remember, settled
from parrotlet.stages.run import Display, Stage, run_stage, static
from parrotlet.stages.samples import continuations
from parrotlet.stages.tokenizer import (
    bytes_per_character,
    load_tokenizer,
    split_advice,
    tokenizer_for,
)
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint
from parrotlet.train.drive import StopFlag
from parrotlet.train.losses import next_token
from parrotlet.train.parallel import on_main
from parrotlet.world.source import WithTalk, WorldDocuments, WorldWords

EVALUATION_TOKENS = 262_144  # of validation text in an evaluation on the way
WORLD_WORDS = 10_000  # documents and conversations of the world that its tokenizer is trained on
SETTINGS = SamplingSettings(temperature=0.8, top_k=50)


def source_for(data: DataConfig, seed: int) -> Source:
    """The source that was asked for: files, or the embedded world."""
    if data.data:
        return open_sources(data.data, column=data.column, errors=data.errors)
    return WorldDocuments(seed, data.world_documents)


def pretrain(config: PretrainConfig, display: Display) -> Path | None:
    """Train a base model; its directory when done, None when a signal asked to stop.

    What cannot work is refused before anything is read or written.
    """
    config = with_absolute_paths(config)
    directory = run_directory(config.run, config.recipe)
    start = None if config.start is None else _start(config, config.start, directory)
    shape = start.config if start else model_config(config.shape, config.text.vocab_size)
    make_plan(shape, config.budget, context=config.shape.context, tokens_per_epoch=1)
    with opened(directory, config.run) as runtime:
        on_main(lambda: _prepare(config, start, directory, display), runtime)
        stage = _stage(config, start, runtime, directory)
        done = run_stage(stage, config.run, runtime, directory, display)
    return directory if done else None


def _start(config: PretrainConfig, path: Path, directory: Path) -> Checkpoint:
    """The checkpoint to go on with; UsageError where a knob says otherwise than it does."""
    start = start_of(path, directory)
    check_start(config, start.config)
    given = config.text.tokenizer
    if given and load_tokenizer(given).fingerprint != load_tokenizer(start.path).fingerprint:
        raise UsageError(
            f"--tokenizer {given} is another than that of --start {path}, whose ids would mean "
            "nothing then; leave it out: the model brings its own"
        )
    return start


def _prepare(
    config: PretrainConfig, start: Checkpoint | None, directory: Path, display: Display
) -> None:
    """Make tokenizer and shards, where they are not there."""
    remember(directory, "pretrain", config)
    lost = gone(config.data.data)
    if lost and (directory / "data" / MANIFEST).exists():
        display.say(f"{lost[0]} is gone; going on with its tokens in {directory / 'data'}")
        return
    source = source_for(config.data, config.run.seed)
    display.say(f"learning from {learned_from(config.data.data, config.run.seed)}")
    if isinstance(source, FileSource):
        for line in skipped_lines(source.skipped):
            display.say(line)
    words = _words(config, source)
    text = replace(config.text, tokenizer=start.path) if start else config.text
    tokenizer = tokenizer_for(text, words, directory / "tokenizer", display)
    display.say(f"tokenizing into {directory / 'data'}")
    shards = tokenize(
        source,
        tokenizer,
        directory / "data",
        validation_fraction=config.data.validation_fraction,
        seed=config.run.seed,
    )
    per_token = shards.train.num_bytes / max(1, len(shards.train))
    display.say(
        f"{len(shards.train):,} tokens to learn from ({shards.train.num_bytes:,} bytes, "
        f"{per_token:.2f} a token), {len(shards.validation):,} for validation"
    )
    if config.data.data and config.text.kind == "bpe" and start is None:
        advice = split_advice(per_token, bytes_per_character(source), tokenizer.vocab_size)
        if advice:
            display.say(advice)


def _words(config: PretrainConfig, source: Source) -> Source:
    """What the tokenizer is trained on."""
    if not config.data.data:
        return WorldWords(config.run.seed, WORLD_WORDS)
    if config.text.world_talk:
        return WithTalk(source, config.run.seed, config.text.world_talk)
    return source


def _stage(
    config: PretrainConfig, start: Checkpoint | None, runtime: Runtime, directory: Path
) -> Stage:
    tokenizer, shards = Tokenizer.load(directory / "tokenizer"), Shards.open(directory / "data")
    plan = make_plan(
        start.config if start else model_config(config.shape, tokenizer.vocab_size),
        config.budget,
        context=config.shape.context,
        tokens_per_epoch=len(shards.train),
        world_size=runtime.world_size,
        rows_per_step=settled(directory).get("rows_per_step"),
    )

    return Stage(
        name="base",
        tokenizer=tokenizer,
        stream=static(
            lambda plan: RowStream(
                tokens=shards.train,
                context=plan.context,
                rows_per_step=plan.rows_per_step,
                micro_rows=plan.micro_rows,
                seed=config.run.seed,
                rank=runtime.rank,
                world_size=runtime.world_size,
            )
        ),
        objective=next_token,
        plan=plan,
        optim=config.optim,
        evaluate=lambda model, stop: validation(model, shards, plan, runtime, stop),
        sample=lambda model: continuations(model, tokenizer, config.prompts, SETTINGS),
        start=start,
    )


def validation(
    model: Model, shards: Shards, plan: Plan, runtime: Runtime, stop: StopFlag
) -> Mapping[str, float]:
    """Loss and bits per byte on validation text, at most EVALUATION_TOKENS of it."""
    if len(shards.validation) < 2:
        return {}
    part = shards.validation.head(EVALUATION_TOKENS)
    batches = evaluation_batches(part, plan.context, max(1, 8192 // plan.context))
    return bits_per_byte(model, stop.watch(batches), part.num_bytes, runtime.device)
