"""Run by test_parallel under torchrun: one step on this rank's share, gradients to a file."""

from __future__ import annotations

import sys

import safetensors.torch
import torch

from parrotlet.core.runtime import make_runtime
from parrotlet.data.batch import IGNORE, Batch
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Rates
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token
from parrotlet.train.parallel import any_rank, process_group, wrap


def rows(begin: int, end: int) -> Batch:
    """Rows `begin` to `end` of one fixed global batch; each learns from fewer tokens."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 40, (8, 12), generator=generator)[begin:end]
    targets = torch.randint(0, 40, (8, 12), generator=generator)
    for row in range(8):
        targets[row, :row] = IGNORE
    targets = targets[begin:end]
    return Batch(tokens=tokens, targets=targets, count=int((targets != IGNORE).sum()))


def main(path: str) -> None:
    """Learn one step; the first rank writes loss, gradients and weights."""
    torch.set_num_threads(1)
    runtime = make_runtime("cpu", "float32")
    with process_group(runtime):
        config = ModelConfig(
            arch="qwen3", vocab_size=40, context=16, depth=2, width=16, heads=2, kv_heads=2,
            head_width=8, mlp_width=32,
        )  # fmt: skip
        model = build_model(config)
        model.init_weights(torch.Generator().manual_seed(0))
        optimizers = build_optimizers(
            model.named_parameters(),
            OptimizerConfig(),
            fast_bfloat16=False,
            ranks=runtime.world_size,
        )
        state = TrainState(
            model=model,
            learner=wrap(Learner(model, next_token), runtime),
            optimizers=optimizers,
            runtime=runtime,
        )
        share = 8 // runtime.world_size
        begin = runtime.rank * share
        # microbatches of unequal size, and of unequal counts
        step = [rows(begin, begin + 1), rows(begin + 1, begin + share)]
        found: dict[str, torch.Tensor] = {}
        update = optimizers.step

        def keep_and_step() -> None:
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                found[f"gradient/{name}"] = parameter.grad.clone()
            update()

        optimizers.step = keep_and_step  # type: ignore[method-assign]
        report = next(train(state, iter([step]), schedule=lambda _: Rates(1.0, 0.9), clip=None))
        stopped = any_rank(runtime.rank == runtime.world_size - 1, runtime)
        found |= {f"weight/{name}": each.detach() for name, each in model.named_parameters()}
        found |= {
            "loss": report.loss,
            "units": torch.tensor(report.units),
            "stopped": torch.tensor(stopped),
        }
        safetensors.torch.save_file(found, f"{path}.{runtime.rank}")


if __name__ == "__main__":
    main(sys.argv[1])
