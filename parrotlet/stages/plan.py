"""plan(): from what was chosen to everything that follows from it. Pure and torch-free."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from parrotlet.core.errors import UsageError
from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import flops_per_token, num_parameters, training_bytes
from parrotlet.stages.config import BudgetConfig
from parrotlet.stages.config_pretrain import PretrainConfig, ShapeConfig, TokenizerConfig

WIDTH_PER_DEPTH = 64
EVALUATIONS = 10  # in a run, where nothing else is asked for
DEFAULT_EPOCHS = 4.0  # where no budget is given
LONGEST_ROW = 1024  # tokens, of a model that is started from, unless asked for
EFFICIENCY = 0.35  # of the matrix-product speed, seen in training small models on two cores


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a stage is going to do."""

    model: ModelConfig
    context: int  # tokens in a row
    rows_per_step: int  # over all ranks
    micro_rows: int
    steps: int | None  # None until --minutes has been measured
    epoch_steps: float  # that read the data once
    evaluate_every: int
    parameters: int
    flops_per_token: float
    training_bytes: int

    @property
    def tokens_per_step(self) -> int:
        """Over all ranks."""
        return self.rows_per_step * self.context

    @property
    def tokens(self) -> int | None:
        """Of the whole run, where its length is known."""
        return None if self.steps is None else self.steps * self.tokens_per_step

    def seconds(self, flops_per_second: float) -> float | None:
        """A forecast from the measured speed of matrix products; a third to thrice is usual."""
        if self.tokens is None:
            return None
        return self.tokens * self.flops_per_token / (flops_per_second * EFFICIENCY)


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
        tied=shape.arch != "swift",
    )


def shape_of(model: ModelConfig) -> ShapeConfig:
    """The knobs of a model that is there, with rows of row_length tokens."""
    return ShapeConfig(
        arch=model.arch,
        depth=model.depth,
        width=model.width,
        heads=model.heads,
        kv_heads=model.kv_heads,
        mlp_width=model.mlp_width,
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
    derived = max(world_size, round(budget.batch_tokens / context / world_size) * world_size)
    rows = rows_per_step or derived
    if rows % world_size:
        raise UsageError(
            f"the run began with {rows} rows in a step, which {world_size} ranks cannot share; "
            f"go on with a number of ranks that divides {rows}"
        )
    steps = _steps(budget, rows * context, tokens_per_epoch)
    return Plan(
        model=model,
        context=context,
        rows_per_step=rows,
        micro_rows=max(1, min(rows // world_size, budget.micro_tokens // context)),
        steps=steps,
        epoch_steps=tokens_per_epoch / (rows * context),
        evaluate_every=budget.evaluate_every or max(1, (steps or 0) // EVALUATIONS),
        parameters=num_parameters(model),
        flops_per_token=flops_per_token(model, context),
        training_bytes=training_bytes(model, min(rows, budget.micro_tokens // context), context),
    )


def _steps(budget: BudgetConfig, tokens_per_step: int, tokens_per_epoch: int) -> int | None:
    if budget.minutes is not None:
        return None
    if budget.steps is not None:
        return budget.steps
    tokens = budget.tokens or int(DEFAULT_EPOCHS * tokens_per_epoch)
    if budget.tokens is not None and tokens < tokens_per_step:
        raise UsageError(
            f"--tokens {tokens:,} is less than one step of {tokens_per_step:,}; "
            "ask for more, or for a smaller --batch-tokens"
        )
    return max(1, tokens // tokens_per_step)


def with_steps(plan: Plan, steps: int, budget: BudgetConfig) -> Plan:
    """The plan once its number of steps is known."""
    every = budget.evaluate_every or max(1, steps // EVALUATIONS)
    return replace(plan, steps=steps, evaluate_every=every)
