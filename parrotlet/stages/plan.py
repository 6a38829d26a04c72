"""plan(): from what was chosen to everything that follows from it. Pure and torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from parrotlet.core.errors import UsageError
from parrotlet.model.config import ModelConfig
from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages import rules
from parrotlet.stages.config import BudgetConfig
from parrotlet.stages.config_pretrain import PretrainConfig, ShapeConfig, TokenizerConfig

WIDTH_PER_DEPTH = 64
FEW_STEPS = 50  # fewer are too few for the schedule to do much: smaller batches give more
EVALUATIONS = 10  # in a run, where nothing else is asked for
LONGEST_ROW = 1024  # tokens, of a model that is started from, unless asked for


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a stage is going to do."""

    model: ModelConfig
    budget: BudgetConfig
    context: int  # tokens in a row
    world_size: int
    rows_per_step: int  # over all ranks
    micro_tokens: int  # at most, in one pass of one rank
    steps: int | None  # None until --minutes has been measured
    tokens_per_epoch: int

    @property
    def micro_rows(self) -> int:
        """In one pass of one rank."""
        rows = self.rows_per_step // self.world_size
        return max(1, min(rows, self.micro_tokens // self.context))

    @property
    def tokens_per_step(self) -> int:
        """Over all ranks."""
        return self.rows_per_step * self.context

    @property
    def tokens(self) -> int | None:
        """Of the whole run, where its length is known."""
        return None if self.steps is None else self.steps * self.tokens_per_step

    @property
    def epoch_steps(self) -> float:
        """Steps that read the data once."""
        return self.tokens_per_epoch / self.tokens_per_step

    @property
    def evaluate_every(self) -> int:
        """Steps between evaluations."""
        return self.budget.evaluate_every or max(1, (self.steps or 0) // EVALUATIONS)


def model_config(shape: ShapeConfig, vocab_size: int) -> ModelConfig:
    """The model of a shape. Raises UsageError where the numbers cannot work together."""
    width = WIDTH_PER_DEPTH * shape.depth if shape.width is None else shape.width
    heads = shape.heads
    if heads is None:
        heads = max(1, width // (64 if width >= 512 else 32))
        while width % heads:  # the nearest smaller number of heads that divides the width
            heads -= 1
    if width % heads:
        near = [each for each in range(1, width + 1) if width % each == 0]
        best = min(near, key=lambda each: abs(each - heads))
        raise UsageError(
            f"--width {width} cannot be divided by --heads {heads}; --heads {best} would do"
        )
    mlp = shape.mlp_width
    if mlp is None:
        # SwiGLU has three matrices where the others have two: two thirds of the width each
        mlp = -(-8 * width // 3 // 16) * 16 if shape.arch == "qwen3" else 4 * width
    bigrams = shape.bigrams
    if bigrams is None:
        bigrams = pair_table(vocab_size) if shape.arch == "swift" else 0
    return ModelConfig(
        arch=shape.arch,
        vocab_size=vocab_size,
        context=shape.context,
        depth=shape.depth,
        width=width,
        heads=heads,
        kv_heads=heads if shape.kv_heads is None else shape.kv_heads,
        head_width=width // heads,
        mlp_width=mlp,
        tied=shape.arch != "swift" if shape.tied is None else shape.tied,
        bigrams=bigrams,
    )


def pair_table(vocab_size: int) -> int:
    """Rows of swift's table of pairs: 5 a token or 8,192, what is more, but one a pair at most."""
    return min(vocab_size**2, max(5 * vocab_size, 8192))


def shape_of(model: ModelConfig) -> ShapeConfig:
    """The knobs of a model that is there, with rows of row_length tokens."""
    return ShapeConfig(
        arch=model.arch,
        depth=model.depth,
        width=model.width,
        heads=model.heads,
        kv_heads=model.kv_heads,
        mlp_width=model.mlp_width,
        tied=model.tied,
        bigrams=model.bigrams,
        context=row_length(None, model),
    )


def row_length(asked: int | None, model: ModelConfig) -> int:
    """Tokens in a row: what is asked for, or the model's context, at most LONGEST_ROW.

    The context of a published model can be so long that one row would not fit into memory.
    """
    return asked or min(model.context, LONGEST_ROW)


def check_start(config: PretrainConfig, model: ModelConfig) -> None:
    """UsageError for a knob that says otherwise than the `model` that --start names."""
    own = asdict(shape_of(model))
    for name, value in asdict(config.shape).items():
        if value not in (None, own[name]) and name != "context":
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} {value}: the model of --start {config.start} has {flag} {own[name]}, "
                f"and keeps it; leave --{flag} out"
            )
    trained = asdict(TokenizerConfig(tokenizer=config.text.tokenizer))
    flags = [
        f"--{name.replace('_', '-')}"
        for name, value in asdict(config.text).items()
        if value != trained[name]
    ]
    if flags:
        raise UsageError(
            f"{' and '.join(flags)}: for a tokenizer that is trained, and with --start it is the "
            "model's own; leave it out"
        )


def make_plan(
    model: ModelConfig,
    budget: BudgetConfig,
    *,
    context: int,
    tokens_per_epoch: int,
    world_size: int = 1,
    rows_per_step: int | None = None,
    row: int | None = None,
) -> Plan:
    """The plan of a stage that reads rows of `context` tokens.

    row: tokens of a row that holds several sequences, each of at most `context`.
    rows_per_step: of a run that has begun; left out, they follow from the budget and the ranks.
    Raises UsageError where more than one budget is given, or one that gives no step at all, and
    where the ranks cannot share the rows of a run that has begun.
    """
    budgets = ("steps", "tokens", "minutes")
    given = [f"--{name}" for name in budgets if getattr(budget, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are two budgets; give one of them")
    if context > model.context:
        raise UsageError(
            f"--context {context} is longer than the model's {model.context}; use at most that"
        )
    context = row or context
    if rows_per_step is not None and rows_per_step % world_size:
        raise UsageError(
            f"the run began with {rows_per_step} rows in a step, which {world_size} ranks cannot "
            f"share; go on with a number of ranks that divides {rows_per_step}"
        )
    least = context * world_size
    if budget.batch_tokens is not None and budget.batch_tokens < least and rows_per_step is None:
        each = f" for each of {world_size} ranks" if world_size > 1 else ""
        raise UsageError(
            f"--batch-tokens {budget.batch_tokens:,} is less than one row of {context:,} tokens"
            f"{each}; --batch-tokens {least:,} would do, or shorter rows (--context)"
        )
    plan = Plan(
        model=model,
        budget=budget,
        context=context,
        world_size=world_size,
        rows_per_step=rows_per_step or world_size,
        micro_tokens=budget.fixed_micro_tokens,
        steps=budget.steps,
        tokens_per_epoch=tokens_per_epoch,
    )
    tokens = budget.tokens or rules.horizon(model, tokens_per_epoch)
    if rows_per_step is None:  # how many tokens minutes are is measured later
        plan = with_batch(plan, 0 if budget.minutes else tokens)
    if budget.steps is not None or budget.minutes is not None:
        return plan
    if budget.tokens is not None and tokens < plan.tokens_per_step:
        raise UsageError(
            f"--tokens {tokens:,} is less than one step of {plan.tokens_per_step:,}; ask for that "
            "many, or for a smaller --batch-tokens"
        )
    return replace(plan, steps=max(1, tokens // plan.tokens_per_step))


def missing_rates(optim: OptimizerConfig, plan: Plan, tuning: bool) -> dict[str, Any]:
    """By the rules, those of the rates and the decay that `optim` leaves open.

    tuning: whether weights are there already, which smaller rates are for.
    """
    assert plan.steps is not None
    share = rules.TUNING if tuning else 1.0
    found = rules.rates(plan.model, plan.steps, plan.steps / plan.epoch_steps)
    return {
        name: float(f"{value if name == 'weight_decay' else share * value:.3g}")
        for name, value in found.items()
        if getattr(optim, name) is None
    }


def remarks(plan: Plan, ruled: Mapping[str, float]) -> Iterator[str]:
    """What a person should know of a plan before it begins."""
    steps, size, minutes = plan.steps or 0, plan.tokens_per_step, plan.budget.minutes
    if ruled:
        values = ", ".join(f"{name} {value:g}" for name, value in ruled.items())
        yield f"{steps:,} steps of {size:,} tokens; by the rules {values}"
    fewer = f"a --batch-tokens below {size}"
    if minutes is not None and steps < FEW_STEPS:
        yield f"only {steps} steps fit into {minutes:.2g} minutes; {fewer} gives more of them"
    if plan.epoch_steps < 1:
        yield f"each step reads the text {1 / plan.epoch_steps:.1f} times over; {fewer} reads less"


def with_batch(plan: Plan, tokens: float) -> Plan:
    """The plan with the batch asked for, or else that which suits a run of so many tokens."""
    wanted = plan.budget.batch_tokens or rules.batch_tokens(plan.model, tokens)
    rows = max(1, round(wanted / plan.context / plan.world_size)) * plan.world_size
    return replace(plan, rows_per_step=rows)
