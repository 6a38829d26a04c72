"""--dry-run: the plan and a forecast, without torch and without touching anything.

The forecast of time rests on the speed of a float32 matrix product here and now, in NumPy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from parrotlet.core.errors import UsageError
from parrotlet.data.sources import find_files
from parrotlet.exchange.config import ExportConfig, ImportConfig
from parrotlet.files.compression import COMPRESSIONS
from parrotlet.files.formats import READERS
from parrotlet.files.records import RECORD_READERS
from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import (
    flops_per_token,
    forward_flops_per_token,
    kv_cache_bytes,
    num_parameters,
    training_bytes,
)
from parrotlet.serve.config import ServeConfig
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_pretrain import DataConfig, PretrainConfig, TokenizeConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.plan import (
    Plan,
    check_start,
    make_plan,
    missing_rates,
    model_config,
    row_length,
    with_batch,
)
from parrotlet.terminal.config import ChatConfig, DemoConfig, ResumeConfig, SampleConfig
from parrotlet.terminal.config_runs import (
    DoctorConfig,
    EvalConfig,
    PlanConfig,
    PlotConfig,
    WorldConfig,
)
from parrotlet.terminal.demo_stages import StageConfig, stages_of
from parrotlet.terminal.duration import duration
from parrotlet.terminal.forecast import GPUS, forecast
from parrotlet.terminal.stored import stored_config, stored_model

BYTES_PER_TOKEN = 3.5  # of English in a vocabulary of some thousands; counted exactly by the run
CHAR_VOCABULARY = 100
WORLD_DOCUMENT_BYTES = 180
CONVERSATION_TOKENS = 80
FLOAT32_BYTES = 4
RENTED = "h100"
EFFICIENCY = 0.35  # of the matrix-product speed, seen in training small models on two cores
AMX_EFFICIENCY = 1.0  # the same where training multiplies in bfloat16 by AMX: of the float32 speed
COMPRESSED = 3  # times a compressed file is longer when it is read, as English is
TOKENIZER_MOST_BYTES = 50_000_000  # more text is not looked at
TOKENIZER_BYTES_PER_SECOND = 6_000_000  # measured on one core, English: 6 to 15 million


def dry_run(config: Any) -> int:
    """Print what the verb would do; 0."""
    if isinstance(config, PretrainConfig):
        print(_plan_of(config, _pretrain_plan(config).model, _about(config)))
    elif isinstance(config, SftConfig | DpoConfig | RlConfig):
        print(_plan_of(config, stored_model(config.start)))
    elif isinstance(config, ServeConfig):
        for run in config.runs:
            print(_generation_report(Path(run.rpartition("=")[2])))
        print(f"would serve on {config.host} port {config.port}")
    elif isinstance(config, SampleConfig | ChatConfig) and config.api_url is not None:
        print(f"would ask {config.api_url} for the model {config.model}")
    elif isinstance(config, SampleConfig | ChatConfig):
        print(_generation_report(config.model))
    elif isinstance(config, EvalConfig):
        print(_generation_report(config.run))
    elif isinstance(config, WorldConfig | PlotConfig | PlanConfig | DoctorConfig):
        print("would read and show; it trains nothing")
    elif isinstance(config, ResumeConfig):
        return _resume(config.run)
    elif isinstance(config, TokenizeConfig):
        print(_tokenizer_report(config))
    elif isinstance(config, ImportConfig):
        print(f"would make a run under {config.runs} of the model {config.source}")
    elif isinstance(config, ExportConfig):
        print(f"would write {config.out} for {config.to} and prove that it says the same")
    else:
        assert isinstance(config, DemoConfig)
        base = stages_of(config)["base"]
        assert isinstance(base, PretrainConfig)
        model = _pretrain_plan(base).model
        for stage in stages_of(config).values():
            print(_plan_of(stage, model, _about(base)))
    return 0


def _plan_of(config: StageConfig, model: ModelConfig, about: str = "") -> str:
    """The plan of any stage, on a model of this shape."""
    if isinstance(config, PretrainConfig):
        return _report("pretrain", _pretrain_plan(config), config, about)
    if isinstance(config, RlConfig):
        return _rl_report(config, model)
    verb = "sft" if isinstance(config, SftConfig) else "dpo"
    return _report(verb, _tuning_plan(config, model), config, about)


def _resume(run: Path) -> int:
    """The plan that the run was started with."""
    _, stored = stored_config(run)
    print(f"would go on with {run}; what it was started with:")
    return dry_run(stored)


def _tokenizer_report(config: TokenizeConfig) -> str:
    """What training a tokenizer, or taking one, takes."""
    if config.text.tokenizer is not None:
        return f"would take the tokenizer of {config.text.tokenizer}; no time to speak of"
    size = _data_bytes(config.data)
    seconds = min(size, TOKENIZER_MOST_BYTES) / TOKENIZER_BYTES_PER_SECOND
    rows = [
        ("kind", config.text.kind),
        ("text", f"about {size:,} bytes"),
        ("time", f"about {duration(max(1.0, seconds))}, give or take a factor of two"),
    ]
    return _aligned("tokenizer", rows)


def _generation_report(path: Path) -> str:
    """What generating with a model takes."""
    model = stored_model(path)
    parameters = num_parameters(model)
    cache = kv_cache_bytes(model, model.context, FLOAT32_BYTES)
    memory = (FLOAT32_BYTES * parameters + cache) / 2**20
    speed = measured_flops() * EFFICIENCY / forward_flops_per_token(model, model.context)
    rows = [
        ("model", f"{model.arch}, {model.depth} blocks, width {model.width}, {model.heads} heads"),
        ("parameters", f"{parameters:,}"),
        ("context", f"{model.context:,} tokens"),
        ("FLOPs", f"{forward_flops_per_token(model, model.context):.3g} a token"),
        ("memory", f"{memory:,.0f} MiB in float32, {cache / 2**20:,.0f} of them for a conversation "
         "as long as the context"),
        ("time", f"at most {speed:,.0f} tokens a second by arithmetic; small models reach less"),
    ]  # fmt: skip
    return _aligned("generate", rows)


def _aligned(title: str, rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(label) for label, _ in rows)
    return "\n".join([f"{title}:"] + [f"  {label:<{width}}  {value}" for label, value in rows])


def _pretrain_plan(config: PretrainConfig) -> Plan:
    vocabulary = CHAR_VOCABULARY if config.text.kind == "char" else config.text.vocab_size
    per_token = 1.0 if config.text.kind == "char" else BYTES_PER_TOKEN
    if config.start is None:
        model = model_config(config.shape, vocabulary)
    else:
        model = stored_model(config.start)
        check_start(config, model)
    tokens = int(_data_bytes(config.data) * (1 - config.data.validation_fraction) / per_token)
    return make_plan(model, config.budget, context=config.shape.context, tokens_per_epoch=tokens)


def _about(config: PretrainConfig) -> str:
    """ "about " where the vocabulary is known only when the text is read."""
    return "about " if config.text.kind == "char" or config.text.tokenizer else ""


def _tuning_plan(config: SftConfig | DpoConfig, model: ModelConfig) -> Plan:
    context = row_length(config.context, model)
    if isinstance(config, SftConfig):
        row, tokens = context, config.data.world_conversations * CONVERSATION_TOKENS
    else:
        row, tokens = 2 * context, 2 * config.data.world_pairs * CONVERSATION_TOKENS
    if config.data.data:
        tokens = int(_paths_bytes(config.data.data, RECORD_READERS) / BYTES_PER_TOKEN)
    return make_plan(model, config.budget, context=context, row=row, tokens_per_epoch=tokens)


def _rl_report(config: RlConfig, model: ModelConfig) -> str:
    rollout, budget = config.rollout, config.budget
    length = f"{budget.minutes:g} minutes" if budget.minutes else f"{budget.steps or 'many'} steps"
    rows = [
        ("model", f"{model.arch}, {model.depth} blocks, width {model.width}"),
        ("task", f"{config.goal.task}, {config.goal.held_out} cases held out"),
        ("a round", f"{rollout.questions} questions, {rollout.samples} replies to each, of at most "
         f"{rollout.max_tokens} tokens; {config.policy.updates} optimizer steps"),
        ("length", length),
    ]  # fmt: skip
    return _aligned("rl", rows)


def _data_bytes(data: DataConfig) -> int:
    if not data.data:
        return data.world_documents * WORLD_DOCUMENT_BYTES
    return _paths_bytes(data.data)


def _paths_bytes(paths: tuple[Path, ...], formats: Collection[str] = READERS) -> int:
    """About the bytes of text in the files meant; DataError where there are none."""
    files, _ = find_files(paths, formats)
    return sum(
        file.stat().st_size * (COMPRESSED if file.suffix.lower() in COMPRESSIONS else 1)
        for file in files
    )


def measured_flops() -> float:
    """Floating-point operations a second of a float32 matrix product, the best of a few."""
    size = 768
    a = np.ones((size, size), dtype=np.float32)
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        a @ a
        best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


def _efficiency(dtype: str) -> float:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    return AMX_EFFICIENCY if "amx_bf16" in flags and dtype != "float32" else EFFICIENCY


def _money(plan: Plan) -> str:
    """What the plan would cost on one rented GPU, on paper."""
    gpu = GPUS[RENTED]
    try:
        found = forecast(plan, gpu, 1)
    except UsageError as error:
        return f"more than one {RENTED}: {error}"
    money = f"{found.money:,.2f} dollars" if found.money >= 0.01 else "less than a cent"
    return (
        f"none here; {money} for {duration(max(1, 3600 * found.hours))} of a rented {RENTED} at "
        f"{gpu.price:g} dollars an hour, on paper (parrotlet plan says more)"
    )


def _report(
    name: str, plan: Plan, config: PretrainConfig | SftConfig | DpoConfig, about: str = ""
) -> str:
    """The plan of a stage; `about` goes before what the vocabulary decides, where it is a guess."""
    flops, budget = measured_flops(), config.budget
    flops_each = flops_per_token(plan.model, plan.context)
    speed = flops * _efficiency(config.run.dtype) / flops_each  # a third to thrice is usual
    if plan.steps is None:
        assert budget.minutes is not None
        plan = with_batch(plan, budget.minutes * 60 * speed)
        steps = max(1, int(budget.minutes * 60 * speed / plan.tokens_per_step))
        plan = replace(plan, steps=steps)
    assert plan.tokens is not None
    model = plan.model
    needed = training_bytes(model, plan.micro_rows, plan.context)
    optim = replace(
        config.optim, **missing_rates(config.optim, plan, tuning=config.start is not None)
    )
    speed_here = f"at {flops / 1e9:,.0f} GFLOP/s, on {os.cpu_count()} cores"
    if budget.minutes is None:
        guess, unsure = "", ""
        took = f"about {duration(plan.tokens / speed)} {speed_here}, give or take a factor of two"
    else:
        guess, unsure = "about ", f" {speed_here}, within a factor of two; measured at the start"
        took = f"{duration(60 * budget.minutes)}, as asked for"
    rows = [
        ("model", f"{model.arch}, {model.depth} blocks, width {model.width}, {model.heads} heads"),
        ("parameters", f"{about}{num_parameters(model):,}"),
        ("vocabulary", f"{about}{model.vocab_size:,}"),
        (
            "a step",
            f"{plan.rows_per_step} rows of {plan.context} tokens, {plan.micro_rows} at a time",
        ),
        (
            "rates",
            f"matrices {optim.matrix_lr:g}, embeddings {optim.embedding_lr:g}, head "
            f"{optim.head_lr:g}, scalars {optim.scalar_lr:g}; decay {optim.weight_decay:g}",
        ),
        ("steps", f"{guess}{plan.steps:,}{unsure}"),
        ("tokens", f"{guess}{plan.tokens:,}"),
        ("FLOPs", f"{guess}{plan.tokens * flops_each:.3g}"),
        ("memory", f"{needed / 2**20:,.0f} MiB for training"),
        ("time", took),
        ("money", _money(plan)),
    ]
    return _aligned(name, rows)
