"""Reinforcement learning on graded tasks: rollouts of the policy itself, and a policy gradient.

Each round asks some questions, samples a group of replies to each from the weights as they are, has
them graded, and takes one step (or `updates` of them) that makes replies likelier that were better
than their group. A round is a function of weights, seed and number, so a run that was stopped
between two rounds goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from parrotlet.chat.answer import GenerateSettings
from parrotlet.core.errors import UsageError
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.chat import run_task
from parrotlet.evals.watch import Watch
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model
from parrotlet.stages.config_json import with_absolute_paths
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.opening import tuning
from parrotlet.stages.plan import Plan, make_plan, row_length
from parrotlet.stages.record import settled
from parrotlet.stages.rounds import Rounds
from parrotlet.stages.run import Display, Stage, run_stage
from parrotlet.tasks.gsm8k import GSM8K
from parrotlet.tasks.table import PRACTICE, TASKS
from parrotlet.tasks.task import Task
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.checkpoint import Checkpoint
from parrotlet.train.drive import StopFlag
from parrotlet.train.losses_policy import PolicyObjective
from parrotlet.train.tally import Tally


def rl(config: RlConfig, display: Display, tasks: tuple[Task, Task] | None = None) -> Path | None:
    """Practise a task; the run's directory when done, None when a signal asked to stop.

    tasks: what to practise and what to hold out, where they are not of the table.
    What cannot work is refused before anything is written.
    """
    config = with_absolute_paths(config)
    practice, held = tasks or tasks_of(config)
    with tuning("rl", config, lambda start: _check(config, start)) as ground:
        start, tokenizer, directory = ground.start, ground.tokenizer, ground.directory
        world_size = ground.runtime.world_size
        plan = make_rl_plan(config, start.config, world_size, settled(directory))
        policy, tally, reference = config.policy, Tally(), None
        if policy.kl:
            reference = checkpoints.load_model(checkpoints.find(config.start), ground.runtime)
        rounds = Rounds(
            config=config, task=practice, tokenizer=tokenizer, runtime=ground.runtime,
            tally=tally, reference=reference,
        )  # fmt: skip
        stage = Stage(
            name="rl",
            tokenizer=tokenizer,
            stream=lambda plan, model: rounds.stream(model),
            objective=PolicyObjective(
                clip=policy.clip_ratio, clip_high=policy.clip_ratio_high, kl=policy.kl, tally=tally
            ),
            plan=plan,
            optim=config.optim,
            lora=config.lora,
            evaluate=lambda model, stop: pass_at_1(model, tokenizer, held, config, stop),
            sample=lambda model: rounds.table(),
            start=start,
            tally=tally,
            whole=policy.updates,
            before=True,
            watch=Watch(directory, policy.patience),
        )
        done = run_stage(stage, config.run, ground.runtime, directory, display)
    return directory if done else None


def _check(config: RlConfig, start: Checkpoint) -> None:
    """UsageError for settings that cannot go together, or a model that has only read."""
    if start.stage == "base":
        raise UsageError(
            f"{config.start} has only read and never learned to answer, so no reply could earn "
            "anything; fine-tune it first: parrotlet sft"
        )
    rollout, policy = config.rollout, config.policy
    plain = rollout.temperature == 1 and rollout.top_k is None and rollout.top_p == 1
    if not plain and not rollout.correction:
        raise UsageError(
            f"--temperature {rollout.temperature:g}, --top-k {rollout.top_k} and --top-p "
            f"{rollout.top_p:g} sample otherwise than the model that is trained; leave them at 1, "
            "None and 1, or add --correction"
        )
    if policy.updates > 1 and policy.clip_ratio is None:
        raise UsageError(f"--updates {policy.updates} of one round need --clip-ratio, such as 0.2")
    if policy.clip_ratio_high is not None and policy.clip_ratio is None:
        raise UsageError("--clip-ratio-high needs --clip-ratio, such as 0.2")
    if config.optim.dropout:
        raise UsageError(
            f"--dropout {config.optim.dropout:g}: replies are sampled without dropout, so another "
            "model would be trained than the one that gave them; leave it at 0"
        )
    if rollout.questions * rollout.samples < policy.updates:
        raise UsageError(f"--updates {policy.updates} are more than the replies of a round")


def make_rl_plan(
    config: RlConfig, model: ModelConfig, world_size: int, before: Mapping[str, object]
) -> Plan:
    """The plan; UsageError where the ranks cannot share the questions."""
    questions = config.rollout.questions
    if questions % world_size:
        raise UsageError(
            f"--questions {questions} cannot be shared by {world_size} ranks; choose a multiple"
        )
    rows = questions * config.rollout.samples
    length = row_length(None, model)
    # its passes follow from the lengths of replies, so none are timed
    fixed = config.budget.fixed_micro_tokens
    budget = replace(config.budget, batch_tokens=rows * length, micro_tokens=fixed)
    return make_plan(
        model,
        budget,
        context=length,
        tokens_per_epoch=config.goal.cases * config.rollout.samples * length,
        world_size=world_size,
        rows_per_step=rows,
    )


def tasks_of(config: RlConfig) -> tuple[Task, Task]:
    """What is practised and what is held out. UsageError for a task there is not."""
    goal = config.goal
    if goal.task == "gsm8k":
        if goal.task_data is None:
            raise UsageError("--task gsm8k needs --task-data, the folder of train.jsonl")
        return GSM8K(goal.task_data / "train.jsonl"), GSM8K(goal.task_data / "test.jsonl")
    if goal.task_data is not None:
        raise UsageError(f"--task-data is for --task gsm8k; {goal.task} makes its cases up")
    if goal.task not in PRACTICE:
        known = ", ".join(["gsm8k", *PRACTICE])
        raise UsageError(f"--task {goal.task!r} is not known; there are {known}")
    seed = config.run.seed
    return PRACTICE[goal.task](seed, goal.cases), TASKS[goal.task](seed, goal.held_out)


def pass_at_1(
    model: Model, tokenizer: Tokenizer, held: Task, config: RlConfig, stop: StopFlag
) -> Mapping[str, float]:
    """The grade of greedy replies to the held-out cases, with its 95% interval."""
    slots = min(config.rollout.slots, config.goal.held_out)
    engine = Engine(model, slots=slots, length=row_length(None, model.config))
    greedy = GenerateSettings(
        max_tokens=config.rollout.max_tokens, sampling=SamplingSettings(temperature=0.0)
    )
    limit = config.goal.held_out
    score = run_task(
        engine, tokenizer, held, tools=TOOLS, settings=greedy, limit=limit, watch=stop.watch
    ).score
    return {"pass_at_1": score.rate, "pass_at_1_low": score.low, "pass_at_1_high": score.high}
