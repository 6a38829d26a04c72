"""What a token costs in pretraining, fine-tuning and DPO: one shape, step by step in turn.

python bench/stages.py RUN [--tokens 4096] [--steps 10] [--repeats 6] [--threads 2] [--out FILE]

RUN: a finished demo, whose model and data are used. Tokens are those of the rows, padding too: what
is computed. A pair has two replies, so a token of a pair is two of a row; the reference of DPO was
computed before. Prints a card, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from parrotlet.core.rundir import read_json, write_json
from parrotlet.core.runtime import Runtime, make_runtime
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.packing import PackedRows
from parrotlet.data.pairs import PairRows, open_reference
from parrotlet.data.shards import Shards
from parrotlet.data.streams import PackedStream, RowStream, Stream
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import make_schedule
from parrotlet.train.checkpoint import find, load_model
from parrotlet.train.loop import Learner, Report, TrainState, train
from parrotlet.train.losses import Objective, next_token
from parrotlet.train.losses_pairs import PairObjective
from parrotlet.train.tally import Tally

RATES = OptimizerConfig(matrix_lr=1e-4, embedding_lr=1e-4, head_lr=1e-4, scalar_lr=1e-4)


def streams(run: Path, tokens: int) -> tuple[dict[str, tuple[Stream, Objective]], dict[str, int]]:
    """Steps of about `tokens` tokens, of each kind; and how many they are."""
    context = find(run / "sft").config.context
    shared: dict[str, Any] = {"seed": 0, "rank": 0, "world_size": 1}
    rows = tokens // context
    shards = Shards.open(run / "base/data")
    talk, pairs = (run / name / "data/train" for name in ("sft", "dpo"))
    talk_key, pair_key = (read_json(each / MANIFEST)["key"] for each in (talk, pairs))
    compared = PairRows(
        rows=PackedRows.open(pairs, pair_key), reference=open_reference(pairs, pair_key)
    )
    pair_rows = round(tokens / compared.rows.tokens.shape[1])
    preferred = PairObjective(kind="dpo", beta=0.1, smoothing=0.0, anchor=0.0, tally=Tally())
    made: dict[str, tuple[Stream, Objective]] = {
        "pretrain": (
            RowStream(tokens=shards.train, context=context, rows_per_step=rows,
                      micro_rows=rows, **shared),
            next_token,
        ),
        "sft": (
            PackedStream(rows=PackedRows.open(talk, talk_key), rows_per_step=rows,
                         micro_rows=rows, **shared),
            next_token,
        ),
        "dpo": (
            PackedStream(rows=compared, rows_per_step=pair_rows, micro_rows=pair_rows, **shared),
            preferred,
        ),
    }  # fmt: skip
    places = dict.fromkeys(made, rows * context)
    return made, places | {"dpo": pair_rows * compared.rows.tokens.shape[1]}


def training(run: Path, stream: Stream, objective: Objective, runtime: Runtime) -> Iterator[Report]:
    """A run of the demo's model that never ends."""
    model = load_model(find(run / "sft"), runtime)
    state = TrainState(
        model=model,
        learner=Learner(model, objective),
        optimizers=build_optimizers(model.named_parameters(), RATES, fast_bfloat16=True),
        runtime=runtime,
    )
    return train(state, stream(0), schedule=make_schedule(RATES, 1_000_000), clip=None)


def main() -> None:
    """Time them in turn; print the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    runtime = make_runtime("cpu")
    made, tokens = streams(given.run, given.tokens)
    kinds = {name: training(given.run, *parts, runtime) for name, parts in made.items()}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for repeat in range(given.repeats + 1):
        for name, reports in kinds.items():
            begin = time.perf_counter()
            for _ in range(given.steps):
                float(next(reports).loss)
            if repeat:  # the first warms up
                seconds[name].append((time.perf_counter() - begin) / given.steps)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    speeds = {name: tokens[name] / each for name, each in medians.items()}
    card = {
        "tokens": tokens,
        "threads": given.threads,
        "dtype": str(runtime.compute_dtype),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "seconds": seconds,
        "tokens_per_second": speeds,
        "sft_share_of_pretraining": speeds["sft"] / speeds["pretrain"],
        "dpo_pair_token_over_sft_token": 2 * speeds["sft"] / speeds["dpo"],
    }
    for name, speed in speeds.items():
        print(f"{name:9} {1e3 * medians[name]:7.1f} ms a step, {speed:,.0f} tokens a second")
    if given.out:
        write_json(given.out, card)
    print(json.dumps(card))


if __name__ == "__main__":
    main()
