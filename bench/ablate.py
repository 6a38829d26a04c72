"""Which pieces of swift and of Muon earn their place: each taken out or put in, on real text.

    python bench/ablate.py train DATA... --seeds 0 1 2 [--only NAME...]    a run of each, by seed
    python bench/ablate.py cost [--only NAME...]                           what a step costs
    python bench/ablate.py table                                           all that is known so far
    python bench/ablate.py names                                           the variants there are

A run is a small model and a fixed number of tokens; what counts is the loss on held-out text after
the last step. Variants with one seed share their first weights and the order of the text, so they
are compared seed by seed. The cost of a step is processor time, taken in turn with the base (A B B
A) in one process. Every result is a line of --out, and nothing that is there is computed again.
Use OMP_NUM_THREADS=1: then processor time is fair on a busy machine.

The last column weighs both. The base's loss at other lengths says how many steps a difference in
loss is worth; that share of steps, times the cost of one, is the time to the base's loss.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ablated import BASE, VARIANTS, Ablated, OtherMuon, Variant

from parrotlet.core.runtime import Runtime, has_fast_bfloat16, keep_memory, make_runtime
from parrotlet.data.sources import open_sources
from parrotlet.data.streams import RowStream, evaluation_batches
from parrotlet.data.tokens import TokenArray
from parrotlet.evals.bpb import mean_loss
from parrotlet.model.config import ModelConfig
from parrotlet.model.swift import Swift
from parrotlet.optim.build import Optimizers, build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.muon import Muon
from parrotlet.optim.schedule import Rates, make_schedule
from parrotlet.optim.shared import begin_alike
from parrotlet.stages.plan import pair_table
from parrotlet.text.forms import Forms, forms_of
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token

CONTEXT, STEP_TOKENS = 256, 2048
DEPTH, WIDTH, HEADS = 4, 96, 3
STRETCH = 4_000  # characters of one piece of text; every HELD_OUT-th is for validation
HELD_OUT = 40
FOLDER_CHARACTERS = 4_000_000  # of each --data, so that the largest is not nearly all
OPTIM = OptimizerConfig(matrix_lr=0.02, head_lr=0.02)


@dataclass(frozen=True)
class Text:
    """Tokens to learn from and held-out ones."""

    train: TokenArray
    validation: TokenArray
    vocabulary: int
    forms: Forms


def read_text(paths: list[Path], vocabulary: int) -> Text:
    """Some of each path's text, cut into stretches, and a vocabulary of its own."""
    stretches: list[str] = []
    for path in paths:
        text, wanted = "", FOLDER_CHARACTERS
        for document in open_sources([path]).documents():
            text += document.text[: wanted - len(text)] + "\n"
            if len(text) >= wanted:
                break
        stretches += [text[at : at + STRETCH] for at in range(0, len(text), STRETCH)]
    learned = [text for index, text in enumerate(stretches) if index % HELD_OUT]
    tokenizer = train_bpe(learned, vocabulary)
    sides = [_tokens(side, tokenizer) for side in (learned, stretches[::HELD_OUT])]
    return Text(*sides, vocabulary, forms_of(tokenizer))


def _tokens(texts: list[str], tokenizer: Tokenizer) -> TokenArray:
    ids = [torch.tensor(tokenizer.encode_document(text)).numpy() for text in texts]
    num_bytes = sum(len(text.encode()) for text in texts)
    return TokenArray(ids, num_bytes=num_bytes, num_documents=len(texts))


@dataclass(frozen=True)
class Trial:
    """A variant ready to learn: `steps` trains one more step at each pull."""

    variant: Variant
    state: TrainState
    steps: Iterator[Any]


def begin(variant: Variant, text: Text, seed: int, total: int, runtime: Runtime) -> Trial:
    """A fresh model of the variant and its endless training."""
    config = ModelConfig(
        arch="swift", vocab_size=text.vocabulary, context=CONTEXT, depth=DEPTH, width=WIDTH,
        heads=HEADS, kv_heads=HEADS, head_width=WIDTH // HEADS, mlp_width=4 * WIDTH, tied=False,
        bigrams=pair_table(text.vocabulary),
    )  # fmt: skip
    model = Ablated(config, runtime.compute_dtype, variant.pieces)
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator)
    optim = replace(OPTIM, **variant.optim)
    forms = text.forms if optim.share_forms else None
    if forms is not None:
        begin_alike(model.named_parameters(), forms, generator)
    optimizers = _optimizers(model, optim, variant, runtime, forms)
    rows = STEP_TOKENS // CONTEXT
    stream = RowStream(
        tokens=text.train, context=CONTEXT, rows_per_step=rows, micro_rows=rows, seed=seed
    )
    ours = make_schedule(optim, total)

    def schedule(step: int) -> Rates:
        found = ours(step)
        if variant.momentum is None:
            return found
        return replace(found, momentum=variant.momentum(step / total, found))

    state = TrainState(model, Learner(model, next_token), optimizers, runtime)
    return Trial(variant, state, train(state, stream(0), schedule=schedule, clip=None))


def _optimizers(
    model: Swift,
    optim: OptimizerConfig,
    variant: Variant,
    runtime: Runtime,
    forms: Forms | None,
) -> Optimizers:
    fast = has_fast_bfloat16(runtime.device)
    made = build_optimizers(model.named_parameters(), optim, fast_bfloat16=fast, forms=forms)
    if variant.steps is None:
        return made
    plain = made.parts[0]
    assert isinstance(plain, Muon)
    options = {"lr": optim.matrix_lr, "weight_decay": optim.weight_decay, "dtype": plain.dtype}
    other = OtherMuon(plain.param_groups[0]["params"], variant.steps, **options)
    return Optimizers([other, *made.parts[1:]], made.names)


def run(variant: Variant, text: Text, seed: int, total: int, runtime: Runtime) -> float:
    """Nats a token on held-out text after `total` steps."""
    trial = begin(variant, text, seed, total, runtime)
    model = trial.state.model
    mean = {name: torch.zeros_like(each) for name, each in model.state_dict().items()}
    averaged = round(total * variant.average)
    for step in range(1, total + 1):
        next(trial.steps)
        if step > total - averaged:
            for name, each in model.state_dict().items():
                mean[name] += each / averaged
    if averaged:
        model.load_state_dict(mean)
    return mean_loss(model, evaluation_batches(text.validation, CONTEXT, 16), runtime.device)


def cost(variant: Variant, text: Text, rounds: int, runtime: Runtime) -> float:
    """The processor time of a step as a share of the base's: the fastest of each, taken in turn.

    What else runs on the machine only ever makes a step longer.
    """
    pair = [begin(each, text, 0, 10_000, runtime) for each in (VARIANTS[BASE], variant)]
    fastest = [math.inf, math.inf]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            started = time.process_time()
            next(pair[which].steps)
            fastest[which] = min(fastest[which], time.process_time() - started)
    return fastest[1] / fastest[0]


Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """The lines of --out so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def of_text(records: list[Record], vocabulary: int) -> list[Record]:
    """Those of a vocabulary of this size."""
    return [each for each in records if each["vocabulary"] == vocabulary]


def losses(records: list[Record], name: str, steps: int) -> dict[int, float]:
    """Loss by seed."""
    return {
        each["seed"]: each["loss"]
        for each in records
        if each["variant"] == name and each.get("steps") == steps
    }


def slope(records: list[Record], steps: int) -> float | None:
    """By how much the base's loss falls when steps become e times as many, near `steps`.

    None where it was not run at another length.
    """
    base = losses(records, BASE, steps)
    found = []
    for each in records:
        if each["variant"] == BASE and each.get("steps", steps) != steps and each["seed"] in base:
            found.append((base[each["seed"]] - each["loss"]) / math.log(each["steps"] / steps))
    return statistics.mean(found) if found else None


def table(records: list[Record], steps: int) -> list[str]:
    """The table, in Markdown: differences from the base of the same seeds."""
    base, worth = losses(records, BASE, steps), slope(records, steps)
    differences: dict[str, list[float]] = {}
    for name in VARIANTS:
        found = losses(records, name, steps)
        differences[name] = [found[seed] - base[seed] for seed in found if seed in base]
    spread = pooled_deviation(list(differences.values()))
    lines = [
        "| | loss | difference | in deviations | cost of a step | time to the base's loss |",
        "|---|---|---|---|---|---|",
    ]
    for name, apart in differences.items():
        if not apart:
            continue
        values = list(losses(records, name, steps).values())
        mean, shown = statistics.mean(apart), f"{statistics.mean(values):.4f}"
        shown += f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else " (one seed)"
        share = f"{mean / spread:+.1f}" if spread else ""
        ratio = next((each["cost"] for each in records if _is_cost(each, name)), None)
        cells = [name, shown, f"{mean:+.4f}", share, f"{ratio:.3f}" if ratio else ""]
        cells.append(f"{math.exp(mean / worth) * ratio:.3f}" if worth and ratio else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"{steps} steps of {STEP_TOKENS:,} tokens; seeds of the base {sorted(base)}; one deviation "
        f"of a difference, pooled over all variants of several seeds: {spread:.4f}; e times the "
        f"steps are worth {worth or math.nan:.3f}.",
    ]


def _is_cost(record: Record, name: str) -> bool:
    return record["variant"] == name and "cost" in record


def pooled_deviation(groups: list[list[float]]) -> float:
    """The deviation within groups, all taken together; the base's differences are all zero."""
    several = [each for each in groups if len(each) > 1 and any(each)]
    squares = sum(statistics.variance(each) * (len(each) - 1) for each in several)
    return math.sqrt(squares / max(1, sum(len(each) - 1 for each in several)))


def work(options: argparse.Namespace) -> None:
    """Make what is asked for and is not there yet, a line of --out each."""
    keep_memory()
    runtime, text = make_runtime("cpu"), read_text(options.data, options.vocabulary)
    done = of_text(read_records(options.out), options.vocabulary)
    names = options.only or list(VARIANTS)
    wanted = [(name, seed) for seed in options.seeds for name in names]
    if options.verb == "cost":
        wanted = [(name, 0) for name in names]
    for name, seed in wanted:
        key: Record = {"variant": name, "vocabulary": options.vocabulary}
        if options.verb == "cost":
            known = any(_is_cost(each, name) for each in done)
        else:
            key |= {"seed": seed, "steps": options.steps}
            known = any(all(each.get(k) == v for k, v in key.items()) for each in done)
        if known:
            continue
        started = time.process_time()
        if options.verb == "cost":
            key["cost"] = cost(VARIANTS[name], text, options.rounds, runtime)
        else:
            key["loss"] = run(VARIANTS[name], text, seed, options.steps, runtime)
        key["seconds"] = round(time.process_time() - started, 1)
        with options.out.open("a") as file:
            print(json.dumps(key), file=file)
        print(json.dumps(key), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["train", "cost", "table", "names"])
    parser.add_argument("data", type=Path, nargs="*", help="folders of real text, or files")
    parser.add_argument("--out", type=Path, default=Path("ablations.jsonl"))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=20, help="pairs of steps, for the cost")
    options = parser.parse_args()
    if options.verb == "names":
        print("\n".join(VARIANTS))
    elif options.verb == "table":
        records = of_text(read_records(options.out), options.vocabulary)
        print("\n".join(table(records, options.steps)))
    elif not options.data:
        parser.error("name some text")
    else:
        work(options)


if __name__ == "__main__":
    main()
