"""What training costs on one GPU or a thousand: a forecast on paper, before anything is rented.

Pure arithmetic, torch-free. A step is computed at UTILISATION of the GPU's peak, then gradients are
summed over all ranks as our DDP does it (float32, ring inside a node, then a ring of nodes in which
each GPU carries its share), then every rank gathers the matrices the others orthogonalised. Nothing
is taken to overlap, which DDP partly does: a forecast of communication is an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from parrotlet.core.errors import UsageError
from parrotlet.model.cost import (
    flops_per_token,
    num_matrix_parameters,
    num_parameters,
    training_bytes,
)
from parrotlet.stages.plan import Plan

UTILISATION = 0.4  # nanochat reports 41 to 50% of an H100's peak at depths 12 to 24
NODE = 8  # GPUs in a node
HEADROOM = 0.9  # of a GPU's memory; the rest is PyTorch's and the kernels'
FLOAT32, BFLOAT16 = 4, 2  # bytes


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Per GPU, from the makers' data sheets; the price is a usual one for renting."""

    flops: float  # a second, bfloat16, dense
    memory: float  # bytes
    link: float  # bytes a second, each way, to the others of the node
    network: float  # bytes a second, each way, to other nodes
    price: float  # dollars an hour


GPUS = {
    "h100": Gpu(flops=989e12, memory=80e9, link=450e9, network=50e9, price=3.0),
    "h200": Gpu(flops=989e12, memory=141e9, link=450e9, network=50e9, price=3.5),
    "a100": Gpu(flops=312e12, memory=80e9, link=300e9, network=25e9, price=1.8),
    "rtx4090": Gpu(flops=165e12, memory=24e9, link=25e9, network=1.25e9, price=0.4),
}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Of one number of GPUs."""

    gpus: int
    micro_rows: int  # of one GPU
    memory: int  # bytes of one GPU
    compute: float  # seconds of a step
    sent: float  # bytes that one GPU sends in a step
    communication: float  # seconds of a step
    hours: float
    money: float

    @property
    def utilisation(self) -> float:
        """Of the peak, communication included."""
        return UTILISATION * self.compute / (self.compute + self.communication)


def forecast(plan: Plan, gpu: Gpu, gpus: int, price: float | None = None) -> Forecast:
    """The forecast of a plan on so many GPUs. Raises UsageError where they cannot share a step."""
    assert plan.steps is not None
    rows, left = divmod(plan.rows_per_step, gpus)
    if left or not rows:
        most = min(gpus, plan.rows_per_step)
        near = max(each for each in range(1, most + 1) if plan.rows_per_step % each == 0)
        raise UsageError(
            f"{gpus} GPUs cannot share the {plan.rows_per_step} rows of a step; {near} can, or "
            f"--batch-tokens {-(-plan.rows_per_step // gpus) * gpus * plan.context}"
        )
    micro = _micro_rows(plan, gpu, rows)
    flops = plan.tokens_per_step * flops_per_token(plan.model, plan.context)
    compute = flops / (gpus * gpu.flops * UTILISATION)
    sent, communication = _exchange(plan, gpu, gpus)
    hours = plan.steps * (compute + communication) / 3600
    return Forecast(
        gpus=gpus,
        micro_rows=micro,
        memory=_memory(plan, micro),
        compute=compute,
        sent=sent,
        communication=communication,
        hours=hours,
        money=hours * gpus * (gpu.price if price is None else price),
    )


def _memory(plan: Plan, rows: int) -> int:
    return training_bytes(plan.model, rows, plan.context, bytes_per_number=BFLOAT16)


def _micro_rows(plan: Plan, gpu: Gpu, rows: int) -> int:
    """The most rows at once that fit: `rows`, halved until they do."""
    while _memory(plan, rows) > HEADROOM * gpu.memory:
        if rows == 1:
            raise UsageError(
                f"{num_parameters(plan.model):,} parameters and one row of {plan.context} tokens "
                f"need {_memory(plan, 1) / 1e9:,.0f} GB, and a GPU has {gpu.memory / 1e9:,.0f}; "
                "take a smaller --depth or --context (weights are not sharded here)"
            )
        rows = -(-rows // 2)
    return rows


def _exchange(plan: Plan, gpu: Gpu, gpus: int) -> tuple[float, float]:
    """(bytes one GPU sends, seconds) in a step: gradients twice round the ring, updates once."""
    inside, nodes = min(gpus, NODE), -(-gpus // NODE)
    gradients = 2 * FLOAT32 * num_parameters(plan.model)
    matrices = num_matrix_parameters(plan.model) - plan.model.vocab_size * plan.model.width
    updates = BFLOAT16 * matrices
    near = (gradients + updates) * (inside - 1) / inside
    far = (gradients + updates) / inside * (nodes - 1) / nodes
    return near + far, near / gpu.link + far / gpu.network
