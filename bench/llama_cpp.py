"""The engine beside llama.cpp and transformers on GPT-2's 124M shape: prompt and generation apart.

    python bench/llama_cpp.py [--llama PYTHON] [--kinds f32 f16 q8_0] [--threads 2] [--repeats 3]

One model with random weights is exported to gguf for each kind and to transformers. llama.cpp reads
the file in a process of its own, of the Python that has llama-cpp-python (--llama); transformers,
in float32, runs here. They work in turn on the same random prompts, greedy, with as many threads
each, and the others wait. Generation is counted from the first new token on, which ends the prompt.
A ratio is the median of the pairs' ratios. Weights in the engine: as they are beside f32, packed as
float16 or int8 beside f16 and q8_0; activations and cache keep each program's own default. On a
busy machine --clock cpu with --threads 1 counts each program's processor time.
Prints a card, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from parrotlet.core.runtime import Runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.exchange.export import export
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.text import bpe
from parrotlet.text.gpt2_vocab import GPT2_PATTERN, GPT2_PLAIN
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, load_model, save_weights, verify

GPT2 = ModelConfig(
    arch="gpt2", vocab_size=50257, context=1024, depth=12, width=768, heads=12, kv_heads=12,
    head_width=64, mlp_width=3072, tied=True,
)  # fmt: skip
PACKED = {"f32": None, "f16": "float16", "q8_0": "int8"}
CPU = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)

# Reads lines {"prompt": [ids], "new": n}; answers {"prompt": seconds, "rest": seconds, "ids": [..]}
LLAMA = """
import json, sys, time
import llama_cpp, numpy
path, threads, length, clock = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
clock = time.perf_counter if clock == "wall" else time.process_time
llama = llama_cpp.Llama(path, n_ctx=length, n_batch=length, n_ubatch=length, n_threads=threads,
                        n_threads_batch=threads, verbose=False)
def best(ids):
    llama.eval(ids)
    return int(numpy.ctypeslib.as_array(llama._ctx.get_logits_ith(-1), (llama.n_vocab(),)).argmax())
print(json.dumps({"version": llama_cpp.__version__}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    llama.reset()
    begin = clock()
    ids = [best(asked["prompt"])]
    first = clock()
    while len(ids) < asked["new"]:
        ids.append(best(ids[-1:]))
    end = clock()
    print(json.dumps({"prompt": first - begin, "rest": end - first, "ids": ids}), flush=True)
"""
Clock = Callable[[], float]
# (prompt, new tokens) -> seconds of the prompt, seconds of the rest, ids
Answer = Callable[[Sequence[int], int], tuple[float, float, list[int]]]


def random_gpt2(folder: Path) -> Checkpoint:
    """The shape with random weights, and a tokenizer of bytes; its other ids are padding."""
    model = build_model(GPT2)
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    for value in weights.values():
        value.add_(torch.randn(value.shape, generator=generator) * 0.02)
    tokenizer = Tokenizer("bpe", tuple(bpe.vocabulary([(b" ", b"a")])), GPT2_PLAIN, GPT2_PATTERN)
    return verify(save_weights(folder, GPT2, weights, tokenizer, stage="base"))


def parrotlet(checkpoint: Checkpoint, kind: str, length: int, clock: Clock) -> Answer:
    """The engine; a prompt that it has not seen is read whole."""
    engine = Engine(
        load_model(checkpoint, CPU), slots=1, length=length, quantize=PACKED[kind], reuse=False
    )
    greedy = SamplingSettings(temperature=0.0)

    def answer(prompt: Sequence[int], new: int) -> tuple[float, float, list[int]]:
        ids: list[int] = []
        begin = first = clock()
        engine.add(Request(prompt=tuple(prompt), max_tokens=new, sampling=greedy))
        while not engine.idle:
            ids += [event.token for event in engine.step() if event.token is not None]
            if len(ids) == 1:
                first = clock()
        return first - begin, clock() - first, ids

    return answer


def llama_cpp(process: subprocess.Popen[str]) -> Answer:
    """llama.cpp behind two pipes."""

    def answer(prompt: Sequence[int], new: int) -> tuple[float, float, list[int]]:
        found = ask(process, json.dumps({"prompt": list(prompt), "new": new}))
        return found["prompt"], found["rest"], found["ids"]

    return answer


def ask(process: subprocess.Popen[str], line: str = "") -> dict[str, Any]:
    """What the process says next, after `line`."""
    assert process.stdin is not None and process.stdout is not None
    if line:
        print(line, file=process.stdin, flush=True)
    said = process.stdout.readline()
    if not said:
        raise SystemExit("llama.cpp ended; has the Python of --llama the package llama_cpp?")
    found: dict[str, Any] = json.loads(said)
    return found


def transformers(folder: Path, clock: Clock) -> Answer:
    """transformers' GPT-2 and its cache, without the overhead of generate."""
    import transformers as library

    model = library.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def answer(prompt: Sequence[int], new: int) -> tuple[float, float, list[int]]:
        begin = clock()
        found = model(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        ids = [int(found.logits[0, -1].argmax())]
        first = clock()
        while len(ids) < new:
            found = model(torch.tensor([ids[-1:]]), past_key_values=found.past_key_values)
            ids.append(int(found.logits[0, -1].argmax()))
        return first - begin, clock() - first, ids

    return answer


def compare(name: str, ours: Answer, theirs: Answer, asked: argparse.Namespace) -> dict[str, Any]:
    """Both in turn on the same prompts, once to warm up; speeds in tokens per second."""
    source = random.Random(1)
    speeds: dict[str, list[list[float]]] = {"prompt": [[], []], "generation": [[], []]}
    same = 0
    for repeat in range(asked.repeats + 1):
        prompt = source.choices(range(GPT2.vocab_size), k=asked.prompt)
        answers = [answer(prompt, asked.tokens) for answer in (ours, theirs)]
        if repeat == 0:
            continue
        same += sum(a == b for a, b in zip(answers[0][2], answers[1][2], strict=True))
        for index, (first, rest, ids) in enumerate(answers):
            speeds["prompt"][index].append(len(prompt) / first)
            speeds["generation"][index].append((len(ids) - 1) / rest)
    result: dict[str, Any] = {"name": name, "same": same / asked.repeats / asked.tokens}
    for part, (one, other) in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(one, other, strict=True))
        medians = f"{statistics.median(one):9.1f} {statistics.median(other):9.1f} tok/s"
        print(f"  {name:22s} {part:10s} {medians}   ratio {ratio:5.2f}", flush=True)
        result[part] = {"parrotlet": one, "peer": other, "ratio": ratio}
    return result


def run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All pairs."""
    checkpoint, length = random_gpt2(folder / "run"), asked.prompt + asked.tokens
    clock = time.perf_counter if asked.clock == "wall" else time.process_time
    results, version = [], ""
    for kind in asked.kinds:
        export(checkpoint, "gguf", folder / kind, kind=kind)
        file = folder / kind / "model.gguf"
        settings = [str(file), str(asked.threads), str(length), asked.clock]
        with subprocess.Popen(
            [asked.llama, "-P", "-c", LLAMA, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            version = ask(process)["version"]
            ours = parrotlet(checkpoint, kind, length, clock)
            results.append(compare(f"llama.cpp {kind}", ours, llama_cpp(process), asked))
    export(checkpoint, "hf", folder / "hf")
    ours = parrotlet(checkpoint, "f32", length, clock)
    results.append(compare("transformers f32", ours, transformers(folder / "hf", clock), asked))
    return {"llama_cpp_python": version, "pairs": results}


def main() -> None:
    """Run the pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama", default=sys.executable, help="a Python with llama_cpp")
    parser.add_argument("--kinds", nargs="+", choices=list(PACKED), default=list(PACKED))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    processor = platform.processor() or platform.machine()
    print(f"GPT-2 124M, {asked.prompt} + {asked.tokens} tokens, {processor}, {asked.threads} "
          f"threads, {asked.clock} time: parrotlet, peer")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = run(asked, Path(folder))
    known = {
        name: getattr(asked, name) for name in ("threads", "clock", "prompt", "tokens", "repeats")
    }
    print(json.dumps({"bench": "llama_cpp", "processor": processor, "torch": torch.__version__,
                      **known, **found}))  # fmt: skip


if __name__ == "__main__":
    main()
