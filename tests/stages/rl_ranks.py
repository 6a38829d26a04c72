"""Run by test_rl under torchrun: one round and its gradients, each rank's replies in a file.

rl_ranks.py START OUT: a policy gradient step on the checkpoint in START.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from parrotlet.core.rundir import write_json
from parrotlet.core.runtime import make_runtime
from parrotlet.recipes import RECIPES
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.rounds import Rounds
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.loop import Learner, _backward, _count
from parrotlet.train.losses_policy import PolicyObjective
from parrotlet.train.parallel import process_group, wrap
from parrotlet.train.tally import Tally


class Letters:
    """A task for a model that knows nothing: the more of the letter e, the better."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Example:
        turns = (("user", f"Say {index}."), ("assistant", "eee"))
        return Example(conversation=Conversation.of(*turns))  # type: ignore[arg-type]

    def grade(self, example: Example, reply: Message) -> float:
        return min(1.0, reply.text.count("e") / 8)


def main(start: Path, out: Path) -> None:
    """One round; gradients of the main rank, which are everyone's."""
    torch.set_num_threads(1)
    runtime = make_runtime("cpu", "float32")
    config: RlConfig = replace(RECIPES["smoke"].rl, start=start)
    with process_group(runtime):
        found = checkpoints.find(start)
        model = checkpoints.load_model(found, runtime)
        tally = Tally()
        rounds = Rounds(
            config=config, task=Letters(), tokenizer=checkpoints.load_tokenizer(found),
            runtime=runtime, tally=tally, reference=None,
        )  # fmt: skip
        objective = PolicyObjective(clip=None, clip_high=None, kl=0.0, tally=tally)
        learner = wrap(Learner(model, objective), runtime)
        step = next(rounds.stream(model)(0))
        state = type("State", (), {"learner": learner, "runtime": runtime, "halvings": 0})()
        loss = _backward(state, step, _count(step, runtime))
        write_json(out / f"replies{runtime.rank}.json", [each.ids for each in rounds.last])
        if runtime.is_main:
            gradients = {
                name: each.grad for name, each in model.named_parameters() if each.grad is not None
            }
            safetensors.torch.save_file(gradients | {"loss": loss}, out / "gradients.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
