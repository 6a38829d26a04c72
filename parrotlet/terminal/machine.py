"""`parrotlet doctor` without a run: what this machine can do, by trying, and what to change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.markup import escape
from torch import Tensor

from parrotlet.core.machine import free_memory
from parrotlet.core.runtime import Runtime, has_fast_bfloat16, keep_memory, make_runtime
from parrotlet.data.batch import Batch
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import flops_per_token, num_matrix_parameters, num_parameters
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import make_schedule
from parrotlet.stages.config_pretrain import ShapeConfig
from parrotlet.stages.plan import model_config
from parrotlet.stages.rules import TOKENS_PER_PARAMETER
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token

SIZE = 1024  # of the matrices tried
TRIALS, STEPS = 3, 4
ROWS, TIME, VOCABULARY = 8, 256, 4096  # of the model tried: the default's
LEAST_MEMORY = 2 * 2**30
DEEPEST = 48
HOUR = 3600


def examine(console: Console) -> int:
    """Say what the machine is, what runs on it how fast, what it could train; 0."""
    keep_memory()
    runtime = make_runtime()
    console.print(f"[bold]this machine[/bold]: {_described(runtime)}", highlight=False)
    kernels = probe(runtime.device)
    speed, model = measured_speed(runtime)
    depth, tokens = largest(speed * flops_per_token(model, TIME))
    lines = [
        f"{name:<24} does not run: {escape(rate)}"
        if isinstance(rate, str)
        else f"{name:<24} {rate / 1e9:,.0f} billion operations a second"
        for name, rate in kernels.items()
    ]
    lines += [
        f"training of {num_parameters(model):,} parameters: {speed:,.0f} tokens a second",
        f"an hour is worth a model of up to --depth {depth}, for {tokens:,} tokens "
        f"({TOKENS_PER_PARAMETER} for each parameter that is multiplied)",
        *(f"[yellow]![/yellow] {line}" for line in advice(runtime.device)),
    ]
    for line in lines:
        console.print(f"  {line}", highlight=False)
    return 0


def _described(runtime: Runtime) -> str:
    memory = free_memory()
    parts = [
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used",
        torch.backends.cpu.get_cpu_capability(),
        "memory unknown" if memory is None else f"{memory / 2**30:.1f} GiB free",
    ]
    if runtime.device.type == "cuda":
        parts.append(torch.cuda.get_device_name(runtime.device))
    dtype = str(runtime.compute_dtype).removeprefix("torch.")
    return ", ".join([*parts, f"--device {runtime.device.type}, --dtype {dtype}"])


def _attend(x: Tensor) -> Tensor:
    q = x.view(1, 8, -1, 64)
    return F.scaled_dot_product_attention(q, q, q)


TRIED: Mapping[str, tuple[torch.dtype, Callable[[Tensor], Tensor]]] = {
    "product, float32": (torch.float32, lambda x: x @ x),
    "product, bfloat16": (torch.bfloat16, lambda x: x @ x),
    "product, int8": (torch.int8, lambda x: torch._int_mm(x, x)),
    "attention, float32": (torch.float32, _attend),
    "attention, bfloat16": (torch.bfloat16, _attend),
}


def probe(device: torch.device) -> dict[str, float | str]:
    """Operations a second of what training and generating lean on, run here; or why it does not."""
    found: dict[str, float | str] = {}
    for name, (dtype, run) in TRIED.items():
        tokens = SIZE * SIZE / 512  # of attention with 8 heads of width 64
        operations = 2 * SIZE**3 if name.startswith("product") else 4 * 512 * tokens**2
        laps = []
        try:
            x = torch.ones(SIZE, SIZE, dtype=dtype, device=device)
            for _ in range(TRIALS + 1):  # the first sets things up
                begin = time.perf_counter()
                float(run(x).flatten()[0])  # waits for the device
                laps.append(time.perf_counter() - begin)
            found[name] = operations / min(laps[1:])
        except (RuntimeError, NotImplementedError) as error:
            found[name] = str(error).splitlines()[0][:60]
    return found


def measured_speed(runtime: Runtime) -> tuple[float, ModelConfig]:
    """Tokens a second of real training steps of the default model, and that model."""
    config = model_config(ShapeConfig(context=TIME), VOCABULARY)
    model = build_model(config, runtime.compute_dtype)
    model.init_weights(torch.Generator().manual_seed(0))
    model.to(runtime.device)
    fast, optim = has_fast_bfloat16(runtime.device), OptimizerConfig()
    optimizers = build_optimizers(model.named_parameters(), optim, fast_bfloat16=fast)
    state = TrainState(model, Learner(model, next_token), optimizers, runtime)
    ids = torch.randint(0, VOCABULARY, (ROWS, TIME + 1), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens=ids[:, :-1], targets=ids[:, 1:], count=ROWS * TIME)
    schedule, best = make_schedule(optim, STEPS), float("inf")
    begin = time.perf_counter()
    for report in train(state, iter([[batch]] * STEPS), schedule=schedule, clip=None):
        float(report.loss)
        now = time.perf_counter()
        best, begin = min(best, now - begin), now
    return ROWS * TIME / best, config


def largest(flops: float) -> tuple[int, int]:
    """(depth, tokens) of the deepest model that an hour of so many FLOPs a second is enough for."""
    found = 0, 0
    for depth in range(1, DEEPEST + 1):
        model = model_config(ShapeConfig(depth=depth, context=TIME), VOCABULARY)
        tokens = TOKENS_PER_PARAMETER * num_matrix_parameters(model)
        if tokens * flops_per_token(model, TIME) <= flops * HOUR:
            found = depth, tokens
    return found


def advice(device: torch.device) -> list[str]:
    """What to change, each with its reason."""
    found, cores, memory = [], os.cpu_count() or 1, free_memory()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if device.type == "cpu" and not has_fast_bfloat16(device):
        found.append(
            "this processor has no bfloat16 instructions and trains in float32; one that has them "
            "is about twice as fast"
        )
    if device.type == "cpu" and torch.get_num_threads() > cores:
        found.append(f"more threads than the {cores} cores: use --threads {cores}")
    if load > 1.5 * cores:
        found.append(
            f"other programs are at work (load {load:.1f} on {cores} cores): these figures are "
            "lower than a quiet machine's; with --threads 1 a run suffers less"
        )
    if memory is not None and memory < LEAST_MEMORY:
        found.append("less than 2 GiB are free: close something, or use --micro-tokens 2048")
    return found or ["nothing to change"]
