"""Tokens per second beside the engines of others, in turn (A B A B), on the same cores.

    python bench/infer.py --nanochat CHECKOUT --nanogpt CHECKOUT --transformers [--quantize int8]

Each pair has one shape (depth, width, heads, vocabulary, prompt, new tokens) and random weights of
its own architecture, which cost what trained ones cost. Everything is warmed up first and greedy,
but for rollouts, which are sampled as in nanochat's RL. A ratio is the median of the pairs' ratios.
NANOCHAT_DTYPE=bfloat16 has nanochat compute in that.
--clock cpu counts processor time; with --threads 1 that is fair on a busy machine.
Prints a card, and one JSON line last.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from parrotlet.engine.engine import Engine
from parrotlet.engine.packed import Weights
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model
from parrotlet.stages.plan import pair_table

GREEDY = SamplingSettings(temperature=0.0)
PROMPT = 32
WARM = 16  # tokens of an answer that is not measured
Run = Callable[[int], int]  # generates answers of so many tokens and says how many in all


def shape(arch: str, depth: int, width: int, head: int, vocab: int, context: int) -> ModelConfig:
    """A config with one key-value head for each head and an MLP of about the peer's size."""
    return ModelConfig.from_json(
        {
            "arch": arch,
            "vocab_size": vocab,
            "context": context,
            "depth": depth,
            "width": width,
            "heads": width // head,
            "kv_heads": width // head,
            "head_width": head,
            "mlp_width": 4 * width,
            "tied": arch == "gpt2",
            "bigrams": pair_table(vocab) if arch == "swift" else 0,
            "norm_eps": 1e-5 if arch == "gpt2" else 1e-6,
        }
    )


def make(config: ModelConfig, dtype: str) -> Model:
    """A model with random weights; what a fresh one has of zeros is filled too."""
    model = build_model(config, getattr(torch, dtype))
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.01)
    return model


def ours(model: Model, rows: int, new: int, quantize: Weights | None, prompts: int = 1) -> Run:
    """`prompts` x `rows` answers of the engine; sampled where there are several prompts."""
    engine = Engine(
        model, slots=rows * prompts, length=PROMPT + new, quantize=quantize, reuse=prompts > 1
    )
    sampling = GREEDY if prompts == 1 else SamplingSettings(top_k=50)
    base = Request(prompt=tuple(range(PROMPT)), max_tokens=new, sampling=sampling)

    def run(new: int) -> int:
        for prompt in range(prompts):
            ids = tuple(range(prompt, prompt + PROMPT))
            for choice in range(rows):
                asked = {**base.__dict__, "prompt": ids, "choice": choice, "max_tokens": new}
                engine.add(Request(**asked))
        count = 0
        while not engine.idle:
            count += len(engine.step())
        return count

    return run


class NoSpecials:
    """All that nanochat's engine wants of a tokenizer: ids that never come."""

    def encode_special(self, name: str) -> int:
        return -1

    def get_bos_token_id(self) -> int:
        return -1


def nanochat(checkout: Path, depth: int, rows: int, prompts: int = 1) -> Run:
    """nanochat's Engine on its own model of the depth, prompt after prompt as in its RL."""
    sys.path.insert(0, str(checkout))
    gpt = importlib.import_module("nanochat.gpt")
    their_engine = importlib.import_module("nanochat.engine").Engine

    width = depth * 64 if depth % 2 == 0 else (depth + 1) * 64
    heads = width // 128
    config = gpt.GPTConfig(n_layer=depth, n_embd=width, n_head=heads, n_kv_head=heads)
    model = gpt.GPT(config)
    model.init_weights()
    engine = their_engine(model.eval(), NoSpecials())
    how = {"temperature": 0.0} if prompts == 1 else {"temperature": 1.0, "top_k": 50}

    def run(new: int) -> int:
        count = 0
        for prompt in range(prompts):
            ids = list(range(prompt, prompt + PROMPT))
            for column, _ in engine.generate(ids, num_samples=rows, max_tokens=new, **how):
                count += len(column)
        return count

    return run


def nanogpt(checkout: Path) -> Run:
    """nanoGPT's generate, as sample.py calls it, on its character model (6 x 384)."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", checkout / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    settings = module.GPTConfig(
        block_size=256, vocab_size=65, n_layer=6, n_head=6, n_embd=384, dropout=0.0, bias=False
    )
    model = module.GPT(settings).eval()
    prompt = torch.arange(PROMPT)[None]

    def run(new: int) -> int:
        with torch.no_grad():
            return int(model.generate(prompt, new, top_k=1).shape[1]) - PROMPT

    return run


def hugging_face(dtype: str) -> Run:
    """transformers' generate with its cache, for GPT-2 of 124M parameters."""
    import transformers

    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).to(getattr(torch, dtype)).eval()
    prompt = torch.arange(PROMPT)[None]
    mask = torch.ones_like(prompt)

    def run(new: int) -> int:
        found = model.generate(
            prompt,
            attention_mask=mask,
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )
        return int(found.shape[1]) - PROMPT

    return run


def compare(
    name: str, one: Run, other: Run, new: int, repeats: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Both in turn; tokens per second of each run, and the median of the pairs' ratios."""
    speeds: list[list[float]] = [[], []]
    for run in (one, other):
        run(WARM)
    for _ in range(repeats):
        for index, run in enumerate((one, other)):
            begin = clock()
            count = run(new)
            speeds[index].append(count / (clock() - begin))
    ratio = statistics.median(a / b for a, b in zip(*speeds, strict=True))
    ours_, theirs = (statistics.median(each) for each in speeds)
    print(f"  {name:44s} {ours_:9.1f} {theirs:9.1f} tok/s   ratio {ratio:6.2f}", flush=True)
    return {"name": name, "parrotlet": speeds[0], "peer": speeds[1], "ratio": ratio}


def pairs(arguments: argparse.Namespace) -> list[tuple[str, Run, Run, int]]:
    """What is asked for, each with its name and how many new tokens."""
    new, quantize = arguments.tokens, arguments.quantize
    computed = "float32" if quantize else arguments.dtype
    dtype = "bf16" if os.environ.get("NANOCHAT_DTYPE") == "bfloat16" else "fp32"
    found = []
    if arguments.nanochat is not None:
        for depth in arguments.depths:
            model = make(shape("swift", depth, depth * 64, 128, 32768, 2048), computed)
            for rows in arguments.rows:
                name = f"nanochat depth {depth} {dtype}, batch {rows}"
                theirs = nanochat(arguments.nanochat, depth, rows)
                found.append((name, ours(model, rows, new, quantize), theirs, new))
        if arguments.rollouts:
            model = make(
                shape("swift", arguments.depths[0], arguments.depths[0] * 64, 128, 32768, 2048),
                computed,
            )
            found.append(
                (
                    f"nanochat depth {arguments.depths[0]} {dtype}, rollouts 16 x 16",
                    ours(model, 16, new, quantize, 16),
                    nanochat(arguments.nanochat, arguments.depths[0], 16, 16),
                    new,
                )
            )
    if arguments.nanogpt is not None:
        model = make(shape("gpt2", 6, 384, 64, 65, 600), "float32")
        length = arguments.nanogpt_tokens
        name = f"nanoGPT 6x384 fp32, {length} tokens"
        found.append((name, ours(model, 1, length, quantize), nanogpt(arguments.nanogpt), length))
    if arguments.transformers:
        model = make(shape("gpt2", 12, 768, 64, 50257, 1024), "bfloat16")
        name = "transformers GPT-2 124M bf16, batch 1"
        found.append((name, ours(model, 1, new, quantize), hugging_face("bfloat16"), new))
    return found


def main() -> None:
    """Run the pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanochat", type=Path, help="a checkout of nanochat")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--transformers", action="store_true", help="GPT-2 124M in transformers")
    parser.add_argument(
        "--depths", type=int, nargs="+", default=[4, 6], help="of nanochat's models"
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="answers at once")
    parser.add_argument("--rollouts", action="store_true", help="16 prompts x 16 samples too")
    parser.add_argument(
        "--quantize", choices=["float16", "int8"], help="how ours packs its weights"
    )
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], default="float32", help="ours beside nanochat"
    )
    parser.add_argument("--tokens", type=int, default=256, help="new tokens of an answer")
    parser.add_argument("--nanogpt-tokens", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of PyTorch; all cores where left out")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    asked = pairs(arguments)
    if not asked:
        parser.error("nobody to compare with: give --nanochat, --nanogpt or --transformers")
    how = f"{torch.get_num_threads()} threads, {arguments.clock} time"
    how += f", weights packed as {arguments.quantize}" if arguments.quantize else ""
    how += f", ours beside nanochat in {arguments.dtype}" if not arguments.quantize else ""
    print(f"inference, {platform.processor() or platform.machine()}, {how}: parrotlet, peer")
    results = [compare(*each, arguments.repeats, clock) for each in asked]
    print(
        json.dumps(
            {
                "bench": "infer",
                "processor": platform.processor() or platform.machine(),
                "threads": torch.get_num_threads(),
                "clock": arguments.clock,
                "torch": torch.__version__,
                "quantize": arguments.quantize,
                "dtype": "float32" if arguments.quantize else arguments.dtype,
                "tokens": arguments.tokens,
                "pairs": results,
            }
        )
    )


if __name__ == "__main__":
    main()
