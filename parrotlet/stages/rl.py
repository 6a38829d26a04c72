"""Reinforcement learning on graded tasks: rollouts of the policy itself, and a policy gradient.

Each round asks some questions, samples a group of replies to each from the weights as they are, has
them graded, and takes one step (or `updates` of them) that makes replies likelier that were better
than their group. A round is a function of weights, seed and number, so a run that was stopped
between two rounds goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from parrotlet.chat.answer import GenerateSettings
from parrotlet.core.errors import DataError, UsageError
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import IGNORE, Batch, Step
from parrotlet.data.permutation import derive_key, permute
from parrotlet.data.streams import Stream
from parrotlet.engine.cuts import Cuts, looks_at_best, weigh, weigh_best
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.chat import run_task
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model
from parrotlet.stages.config_json import with_absolute_paths
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.plan import Plan, make_plan
from parrotlet.stages.record import remember, settled
from parrotlet.stages.rollouts import (
    Rollout,
    batches_of,
    grade,
    roll,
    sampled_tokens,
    set_advantages,
)
from parrotlet.stages.run import Display, Stage, opened, run_directory, run_stage, start_of
from parrotlet.stages.watch import Watch
from parrotlet.tasks.gsm8k import GSM8K
from parrotlet.tasks.table import PRACTICE, TASKS
from parrotlet.tasks.task import Example, Task
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train import checkpoint as checkpoints
from parrotlet.train.losses import token_logprobs
from parrotlet.train.losses_policy import PolicyObjective
from parrotlet.train.parallel import on_main
from parrotlet.train.tally import Tally

MOST_WEIGHT = 2.0  # of a token whose sampling is corrected for


def rl(config: RlConfig, display: Display, tasks: tuple[Task, Task] | None = None) -> Path | None:
    """Practise a task; the run's directory when done, None when a signal asked to stop.

    tasks: what to practise and what to hold out, where they are not of the table.
    What cannot work is refused before anything is written.
    """
    directory = run_directory(config.run, f"{config.start.name}-rl")
    config = with_absolute_paths(config)
    _check(config)
    start = start_of(config.start, directory)
    practice, held = tasks or tasks_of(config)
    with opened(directory, config.run) as runtime:
        tokenizer = checkpoints.load_tokenizer(start)
        on_main(lambda: remember(directory, "rl", config), runtime)
        plan = make_rl_plan(config, start.config, runtime.world_size, settled(directory))
        reference = None
        if config.policy.kl:
            reference = checkpoints.load_model(checkpoints.find(config.start), runtime)
        tally = Tally()
        rounds = Rounds(
            config=config, task=practice, tokenizer=tokenizer, plan=plan, runtime=runtime,
            tally=tally, reference=reference,
        )  # fmt: skip
        policy = config.policy
        stage = Stage(
            name="rl",
            tokenizer=tokenizer,
            stream=rounds.stream,
            objective=PolicyObjective(
                clip=policy.clip_ratio, clip_high=policy.clip_ratio_high, kl=policy.kl, tally=tally
            ),
            plan=plan,
            budget=config.budget,
            optim=config.optim,
            lora=config.lora,
            evaluate=lambda model: pass_at_1(model, tokenizer, held, config),
            sample=lambda model: rounds.table(),
            start=start,
            tally=tally,
            whole=policy.updates,
            before=True,
            watch=Watch(directory, policy.patience),
        )
        done = run_stage(stage, config.run, runtime, directory, display)
    return directory if done else None


def _check(config: RlConfig) -> None:
    """UsageError for settings that cannot go together."""
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
    budget = replace(config.budget, batch_tokens=rows * model.context)
    return make_plan(
        model,
        budget,
        context=model.context,
        tokens_per_epoch=config.goal.cases * config.rollout.samples * model.context,
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
    if goal.task not in PRACTICE:
        known = ", ".join(["gsm8k", *PRACTICE])
        raise UsageError(f"--task {goal.task!r} is not known; there are {known}")
    seed = config.run.seed
    return PRACTICE[goal.task](seed, goal.cases), TASKS[goal.task](seed, goal.held_out)


def pass_at_1(
    model: Model, tokenizer: Tokenizer, held: Task, config: RlConfig
) -> Mapping[str, float]:
    """The grade of greedy replies to the held-out cases, with its 95% interval."""
    engine = Engine(model, slots=min(config.rollout.slots, config.goal.held_out))
    greedy = GenerateSettings(
        max_tokens=config.rollout.max_tokens, sampling=SamplingSettings(temperature=0.0)
    )
    score = run_task(
        engine, tokenizer, held, tools=TOOLS, settings=greedy, limit=config.goal.held_out
    ).score
    return {"pass_at_1": score.rate, "pass_at_1_low": score.low, "pass_at_1_high": score.high}


@dataclass(kw_only=True)
class Rounds:
    """Rounds of rollouts as a Stream, bound to the model that is trained."""

    config: RlConfig
    task: Task
    tokenizer: Tokenizer
    plan: Plan
    runtime: Runtime
    tally: Tally
    reference: Model | None
    last: Sequence[Rollout] = field(default_factory=list)  # the latest round, for samples

    def stream(self, model: Model) -> Stream:
        """Steps of rounds whose replies `model` samples when they are pulled."""
        engine = Engine(model, slots=self.config.rollout.slots)
        updates = self.config.policy.updates

        def steps(position: int) -> Iterator[Step]:
            number = position // updates
            while True:
                engine.load_weights(model)
                self.last = self.round(engine, number)
                for part in range(updates):
                    yield self.step(model, self.last[part::updates])
                number += 1

        return steps

    def round(self, engine: Engine, number: int) -> list[Rollout]:
        """This rank's graded replies of a round."""
        rollout, policy, seed = self.config.rollout, self.config.policy, self.config.run.seed
        share = rollout.questions // self.runtime.world_size
        first = number * rollout.questions + self.runtime.rank * share
        asked = [
            (derive_key(seed, "rollout", index) >> 1, self._question(index))
            for index in range(first, first + share)
        ]
        made = roll(
            engine,
            self.tokenizer,
            asked,
            samples=rollout.samples,
            max_tokens=rollout.max_tokens,
            sampling=SamplingSettings(
                temperature=rollout.temperature, top_k=rollout.top_k, top_p=rollout.top_p
            ),
            tools=TOOLS,
        )
        if not made:
            raise DataError(
                f"no question of a round fits into the model's context of {engine.length} tokens"
            )
        grade(self.task, made)
        flat = set_advantages(
            made,
            format_reward=self.config.goal.format_reward,
            baseline=policy.baseline == "group",
            scale=policy.scale == "deviation",
        )
        self._note(made, flat)
        return made

    def step(self, model: Model, rollouts: Sequence[Rollout]) -> list[Batch]:
        """One Step. Replies that were as good as all of their group teach nothing and are left out,
        unless they are to stay near the reference; one is kept, so that no rank stands still."""
        some = [each for each in rollouts if each.advantage or self.reference is not None]
        batches = batches_of(some or rollouts[:1], self.config.budget.micro_tokens)
        if self.config.rollout.correction:
            batches = [_corrected(model, each, self.config) for each in batches]
        if self.reference is not None:
            batches = [self._with_reference(each) for each in batches]
        return batches

    def table(self) -> Mapping[str, str]:
        """A few replies of the latest round, as many good as bad, with what they earned."""
        ordered = sorted(self.last, key=lambda each: -each.grade)
        chosen = [*ordered[:2], *ordered[max(2, len(ordered) - 2) :]]
        return {
            f"{index}. {each.example.prompt.messages[-1].text}": f"{_shown(each)}  [{each.grade:g}]"
            for index, each in enumerate(chosen, start=1)
        }

    def _question(self, index: int) -> Example:
        """Question `index` of the run: the task's cases, in a new order each time round."""
        epoch, place = divmod(index, len(self.task))
        key = derive_key(self.config.run.seed, "questions", epoch)
        return self.task[permute(place, len(self.task), key)]

    def _with_reference(self, batch: Batch) -> Batch:
        assert self.reference is not None
        with torch.no_grad():
            there = batch.to(self.runtime.device)
            return replace(
                there, extra={**there.extra, "reference": token_logprobs(self.reference, there)}
            )

    def _note(self, made: Sequence[Rollout], flat: float) -> None:
        """What the metrics say of a round."""
        lengths = sampled_tokens(made)
        said = [value for each in made for value in each.logprobs if value is not None]
        weight = self.config.goal.format_reward
        for name, values in {
            "reward": [each.grade + weight * each.formed for each in made],
            "grade": [each.grade for each in made],
            "format_rate": [float(each.formed) for each in made],
            "ended": [float(each.finish == "stop") for each in made],
            "entropy": [-value for value in said],  # its mean is one, of what was sampled at 1
            "flat_groups": [flat],
        }.items():
            self.tally.add(name, torch.tensor(values))
        self.tally.add("reply_tokens", lengths)


def _shown(rollout: Rollout) -> str:
    """A reply as one line, its calls too."""
    parts = [getattr(part, "text", None) or f"<{part}>" for part in rollout.reply.parts]
    return " ".join("".join(parts).split()) or "(nothing)"


@torch.no_grad()
def _corrected(model: Model, batch: Batch, config: RlConfig) -> Batch:
    """The batch with every token weighed by model / sampling, at most MOST_WEIGHT."""
    rollout = config.rollout
    settings = SamplingSettings(
        temperature=rollout.temperature, top_k=rollout.top_k, top_p=rollout.top_p
    )
    there = batch.to(next(model.parameters()).device)
    learned = there.targets != IGNORE
    hidden = model.hidden(there.tokens, CausalContext.of(there.tokens))[learned]
    logits, targets = model.logits(hidden).float(), there.targets[learned]
    cuts = Cuts.of([settings] * len(targets), logits.device)
    if looks_at_best(settings, logits.shape[-1]):
        weights, ids, _ = weigh_best(logits, cuts, logits.shape[-1])
        weights = torch.zeros_like(logits).scatter(1, ids, weights)
    else:
        weights = weigh(logits, cuts)
    sampling = (weights / weights.sum(-1, keepdim=True)).gather(1, targets[:, None])[:, 0]
    ratio = logits.softmax(-1).gather(1, targets[:, None])[:, 0] / sampling.clamp(min=1e-12)
    extra = {**there.extra, "weight": there.extra["weight"].clone()}
    extra["weight"][learned] = ratio.clamp(max=MOST_WEIGHT)
    return replace(there, extra=extra)
