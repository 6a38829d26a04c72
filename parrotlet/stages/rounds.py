"""Rounds of rollouts as a stream: questions asked, replies graded, steps made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from parrotlet.core.errors import DataError
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import IGNORE, Batch, Step
from parrotlet.data.permutation import derive_key, permute
from parrotlet.data.streams import Stream
from parrotlet.engine.cuts import Cuts, looks_at_best, weigh, weigh_best
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model
from parrotlet.stages.config_rl import RlConfig, RolloutConfig
from parrotlet.stages.plan import row_length
from parrotlet.stages.rollouts import (
    Rollout,
    batch_of,
    batches_of,
    grade,
    roll,
    sampled_tokens,
    set_advantages,
)
from parrotlet.tasks.task import Example, Task
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train.losses import learned_places, token_logprobs
from parrotlet.train.tally import Tally

MOST_WEIGHT = 2.0  # of a token whose sampling is corrected for


@dataclass(kw_only=True)
class Rounds:
    """Rounds of rollouts as a Stream, bound to the model that is trained."""

    config: RlConfig
    task: Task
    tokenizer: Tokenizer
    runtime: Runtime
    tally: Tally
    reference: Model | None
    last: Sequence[Rollout] = field(default_factory=list)  # the latest round, for samples

    def stream(self, model: Model) -> Stream:
        """Steps of rounds whose replies `model` samples when they are pulled."""
        length = row_length(None, model.config)
        engine = Engine(model, slots=self.config.rollout.slots, length=length)
        updates = self.config.policy.updates

        def steps(position: int) -> Iterator[Step]:
            number = position // updates
            while True:
                engine.load_weights(model)
                self.last = self.round(engine, number)
                # all before the first is taken, since what they are made with is the sampler
                yield from [self.step(model, self.last[part::updates]) for part in range(updates)]
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
            sampling=sampling_of(rollout),
            tools=TOOLS,
        )
        if not made:
            raise DataError(f"no question of a round fits into {engine.length} tokens")
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
        unless they are to stay near the reference; one is kept, which counts nothing, so that no
        rank stands still."""
        some = [each for each in rollouts if each.advantage or self.reference is not None]
        if not some:
            return [replace(batch_of(rollouts[:1]), count=0)]
        batches = batches_of(some, self.config.budget.fixed_micro_tokens)
        if self.config.rollout.correction:
            batches = [corrected(model, each, self.config.rollout) for each in batches]
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


def sampling_of(rollout: RolloutConfig) -> SamplingSettings:
    """How replies are sampled."""
    return SamplingSettings(
        temperature=rollout.temperature, top_k=rollout.top_k, top_p=rollout.top_p
    )


@torch.no_grad()
def corrected(model: Model, batch: Batch, rollout: RolloutConfig) -> Batch:
    """The batch with every token weighed by model / sampling, at most MOST_WEIGHT."""
    settings = sampling_of(rollout)
    there = batch.to(next(model.parameters()).device)
    learned = there.targets != IGNORE
    places, count = learned_places(there.targets.flatten()), int(learned.sum())
    hidden = model.hidden(there.tokens, CausalContext.of(there.tokens), places)
    logits, targets = model.logits(hidden)[:count].float(), there.targets[learned]
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
