"""Fit the rules of the dial (parrotlet/stages/rules.py) on many small runs, and show the fit.

    OMP_NUM_THREADS=1 python bench/dial.py fit --data FILES... --out trials.jsonl   # an hour
    OMP_NUM_THREADS=1 python bench/dial.py check --data FILES... --out trials.jsonl
    python bench/dial.py show --out trials.jsonl

fit: for each of CASES (a shape, a batch, a length) one knob after the other is searched: three
values a factor apart, and more on the side of the best until it has neighbours on both sides.
check: a size that was not fitted, with what the rules say and with each knob moved up and down.
show: a table of all searches in --out, with the rule's value for each. Every trial is a line of
--out; what is there already is not run again. Tokenizers and tokens are kept in --work.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from parrotlet.core.runtime import keep_memory, make_runtime
from parrotlet.data.shards import Shards, tokenize
from parrotlet.data.sources import open_sources
from parrotlet.data.streams import RowStream, evaluation_batches, prefetch
from parrotlet.evals.bpb import bits_per_byte
from parrotlet.model.build import build_model
from parrotlet.model.config import Architecture
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import make_schedule
from parrotlet.stages import rules
from parrotlet.stages.config_pretrain import ShapeConfig, TokenizerConfig
from parrotlet.stages.plan import model_config
from parrotlet.stages.tokenizer import tokenizer_for
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token

CONTEXT = 256
MICRO_TOKENS = 4096
VALIDATION_TOKENS = 65_536
FACTOR = {"matrix_lr": 2.0, "embedding_lr": 3.0, "head_lr": 3.0, "scalar_lr": 3.0, "decay": 3.0,
          "batch_tokens": 2}  # fmt: skip
LEAST, MOST = 1e-4, 100_000  # no search goes beyond


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run."""

    arch: Architecture = "qwen3"
    depth: int = 2
    width: int = 128
    vocab_size: int = 2048
    batch_tokens: int = 4096
    tokens: int = 2**18
    matrix_lr: float = 0.03
    embedding_lr: float = 0.03
    head_lr: float = 0.01
    scalar_lr: float = 0.01
    decay: float = 0.0  # over the whole run: rate x decay x steps
    seed: int = 0

    @property
    def steps(self) -> int:
        """Of the run."""
        return self.tokens // self.batch_tokens


SWIFT = Trial(arch="swift", embedding_lr=0.1)
CASES: tuple[tuple[Trial, tuple[str, ...]], ...] = (
    (Trial(), ("embedding_lr", "matrix_lr")),
    (Trial(batch_tokens=1024), ("matrix_lr", "embedding_lr")),
    (Trial(width=256), ("embedding_lr",)),
    (SWIFT, ("head_lr",)),
    (Trial(batch_tokens=1024, matrix_lr=0.015, embedding_lr=0.09), ("batch_tokens",)),
    (Trial(tokens=2**19, matrix_lr=0.02, embedding_lr=0.08), ("batch_tokens", "matrix_lr")),
    (Trial(batch_tokens=1024, matrix_lr=0.015, embedding_lr=0.09), ("decay",)),
    (replace(SWIFT, width=256), ("head_lr",)),
    (Trial(vocab_size=8192), ("embedding_lr",)),
    (Trial(batch_tokens=16384, embedding_lr=0.08), ("matrix_lr",)),
    (SWIFT, ("matrix_lr", "embedding_lr")),
)
HELD_OUT = Trial(depth=3, width=192, tokens=2**17)
BEFORE = replace(HELD_OUT, embedding_lr=0.02)  # the constants that the rules have replaced
SEEDS = tuple(Trial(seed=seed) for seed in (1, 2))  # how much a loss says


class Trials:
    """The trials that were run, in a file, and the running of more."""

    def __init__(self, out: Path, data: list[Path], work: Path) -> None:
        self.out, self.data, self.work = out, data, work
        lines = out.read_text().splitlines() if out.exists() else []
        self.done: dict[Trial, dict[str, float]] = {}
        for line in lines:
            record = json.loads(line)
            self.done[Trial(**record["trial"])] = record["result"]

    def loss(self, trial: Trial) -> float:
        """Of a trial, which is run where it was not yet."""
        if trial not in self.done:
            result = run(trial, self._shards(trial.vocab_size))
            self.done[trial] = result
            record = {"trial": asdict(trial), "result": result}
            with self.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            loss, seconds = result["validation_loss"], result["seconds"]
            print(f"{loss:.4f} {seconds:5.0f} s  {changed(trial)}", flush=True)
        return self.done[trial]["validation_loss"]

    def _shards(self, vocab_size: int) -> Shards:
        folder = self.work / str(vocab_size)
        source = open_sources(self.data)
        tokenizer = tokenizer_for(TokenizerConfig(vocab_size=vocab_size), source, folder, Quiet())
        return tokenize(source, tokenizer, folder / "data", validation_fraction=0.02, seed=0)


class Quiet:
    """A display that shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def show(self, progress: object) -> None:
        """Nothing."""


def run(trial: Trial, shards: Shards) -> dict[str, float]:
    """Train; loss and bits per byte on held-out text, and processor seconds of training."""
    runtime = make_runtime("cpu")
    shape = ShapeConfig(
        arch=trial.arch,
        depth=trial.depth,
        width=trial.width,
        context=CONTEXT,
    )
    model = build_model(model_config(shape, trial.vocab_size), runtime.compute_dtype)
    model.init_weights(torch.Generator().manual_seed(trial.seed))
    optim = OptimizerConfig(
        matrix_lr=trial.matrix_lr,
        embedding_lr=trial.embedding_lr,
        head_lr=trial.head_lr,
        scalar_lr=trial.scalar_lr,
        weight_decay=trial.decay / (trial.matrix_lr * trial.steps),
    )
    optimizers = build_optimizers(
        model.named_parameters(), optim, fast_bfloat16=runtime.compute_dtype == torch.bfloat16
    )
    rows = RowStream(
        tokens=shards.train,
        context=CONTEXT,
        rows_per_step=trial.batch_tokens // CONTEXT,
        micro_rows=MICRO_TOKENS // CONTEXT,
        seed=trial.seed,
    )
    state = TrainState(model, Learner(model, next_token), optimizers, runtime)
    begin = time.process_time()
    steps = prefetch(rows(0))
    for report in train(state, steps, schedule=make_schedule(optim, trial.steps), clip=None):
        if report.step == trial.steps:
            break
    seconds = time.process_time() - begin
    steps.close()
    held = shards.validation.head(VALIDATION_TOKENS)
    batches = evaluation_batches(held, CONTEXT, 16)
    found = bits_per_byte(model, batches, held.num_bytes, runtime.device)
    finite = {name: value if math.isfinite(value) else 99.0 for name, value in found.items()}
    return {**finite, "seconds": round(seconds, 1)}


def search(trials: Trials, trial: Trial, knob: str) -> Trial:
    """The trial with the best value of a knob that a ladder of factors finds."""
    factor, start = FACTOR[knob], getattr(trial, knob) or 1.0
    tried: dict[int, float] = {}
    if knob == "decay":
        trials.loss(trial)

    def at(rung: int) -> Trial:
        value: dict[str, Any] = {knob: type(start)(float(f"{start * factor**rung:.5g}"))}
        return replace(trial, **value)

    wanted = [0, 1, -1]
    while wanted:
        for rung in wanted:
            tried[rung] = trials.loss(at(rung))
        best = min(tried, key=lambda rung: tried[rung])
        wanted = [
            rung
            for rung in (best - 1, best + 1)
            if rung not in tried and LEAST <= getattr(at(rung), knob) <= MOST
        ]
    return at(best)


def changed(trial: Trial, *but: str) -> str:
    """What differs from the default trial."""
    usual = asdict(Trial())
    return " ".join(
        f"{name} {value}"
        for name, value in asdict(trial).items()
        if value != usual[name] and name not in but
    )


def ruled(trial: Trial) -> Trial:
    """The trial with the batch and the rates that the rules give."""
    shape = ShapeConfig(arch=trial.arch, depth=trial.depth, width=trial.width)
    model = model_config(shape, trial.vocab_size)
    sized = replace(trial, batch_tokens=rules.batch_tokens(model, trial.tokens))
    rates: dict[str, Any] = rules.rates(model, sized.steps, epochs=1)
    decay = rates.pop("weight_decay") * rates["matrix_lr"] * sized.steps
    return replace(sized, **rates, decay=decay)


def check(trials: Trials) -> None:
    """Run what the rules say at a size that was not fitted, and with each knob moved."""
    middle = ruled(HELD_OUT)
    print("by the rules:", changed(middle), flush=True)
    trials.loss(middle)
    trials.loss(BEFORE)
    for knob in ("embedding_lr", "batch_tokens", "matrix_lr"):
        value = getattr(middle, knob)
        for factor in (FACTOR[knob], 1 / FACTOR[knob]):
            moved: dict[str, Any] = {knob: type(value)(float(f"{value * factor:.5g}"))}
            trials.loss(replace(middle, **moved))
    for decay in (1.0, 3.0):
        trials.loss(replace(middle, decay=decay))


def show(trials: Trials) -> None:
    """Every search: the losses by value, and the value of the rules for that case."""
    rows: dict[tuple[Trial, str], dict[float, float]] = {}
    for trial, result in trials.done.items():
        for knob in FACTOR:
            case = replace(trial, **{knob: getattr(Trial(), knob)})
            rows.setdefault((case, knob), {})[getattr(trial, knob)] = result["validation_loss"]
    for (case, knob), losses in rows.items():
        if len(losses) > 2 or (knob == "decay" and len(losses) > 1):
            found = ", ".join(f"{value:.4g} {loss:.3f}" for value, loss in sorted(losses.items()))
            rule = getattr(ruled(case), knob)
            print(f"| {changed(case, knob) or 'as it is'} | {knob} | {found} | {rule:.4g} |")


def fit(trials: Trials) -> None:
    """Run what CASES ask for."""
    for trial in SEEDS:
        trials.loss(trial)
    for trial, knobs in CASES:
        best = trial
        for knob in knobs:
            best = search(trials, best, knob)
        print("best:", changed(best), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("fit", "check", "show"))
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/dial"))
    given = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    trials = Trials(given.out, given.data, given.work)
    {"fit": fit, "check": check, "show": show}[given.action](trials)


if __name__ == "__main__":
    main()
