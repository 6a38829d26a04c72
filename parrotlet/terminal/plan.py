"""`parrotlet plan`: a forecast for one GPU and for many, as a table. Torch-free."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from parrotlet.core.errors import UsageError
from parrotlet.model.cost import flops_per_token, num_matrix_parameters, num_parameters
from parrotlet.stages.config import BudgetConfig
from parrotlet.stages.plan import Plan, make_plan, model_config
from parrotlet.stages.rules import TOKENS_PER_PARAMETER
from parrotlet.terminal.config_runs import PlanConfig
from parrotlet.terminal.forecast import GPUS, UTILISATION, forecast


def plan(config: PlanConfig) -> int:
    """Print the table; 0."""
    console = Console()
    made, gpu = plan_of(config), GPUS[config.gpu]
    assert made.tokens is not None
    model, flops = made.model, made.tokens * flops_per_token(made.model, made.context)
    console.print(
        f"{model.arch}, {model.depth} blocks, width {model.width}: "
        f"{num_parameters(model):,} parameters, {made.tokens:,} tokens in {made.steps:,} steps of "
        f"{made.tokens_per_step:,}, {flops:.3g} FLOPs",
        highlight=False,
    )
    table = Table("GPUs", "hours", "dollars", "memory, rows", "a step", "exchange", "sent", "peak")
    refused = []
    for count in config.gpus:
        try:
            found = forecast(made, gpu, count, config.price)
        except UsageError as error:
            refused.append(str(error))
            continue
        seconds = found.compute + found.communication
        table.add_row(
            f"{count:,}", f"{found.hours:,.2f}", f"{found.money:,.0f}",
            f"{found.memory / 1e9:,.0f} GB, {found.micro_rows}", f"{seconds * 1e3:,.0f} ms",
            f"{found.communication / seconds:.0%}", f"{found.sent / 1e6:,.0f} MB",
            f"{found.utilisation:.0%}",
        )  # fmt: skip
    console.print(table, *refused, sep="\n", highlight=False)
    price = gpu.price if config.price is None else config.price
    console.print(
        f"On paper, not run: {config.gpu} at {UTILISATION:.0%} of its peak, {price:g} dollars an "
        "hour, 8 to a node, exchange not hidden behind computing. docs/scaling.md says how to run.",
        highlight=False,
    )
    return 0


def plan_of(config: PlanConfig) -> Plan:
    """The plan whose cost is asked for."""
    model = model_config(config.shape, config.vocab_size)
    tokens = config.tokens or TOKENS_PER_PARAMETER * num_matrix_parameters(model)
    budget = BudgetConfig(tokens=tokens, batch_tokens=config.batch_tokens)
    return make_plan(model, budget, context=config.shape.context, tokens_per_epoch=tokens)
