"""What each number may be, in one table, checked before anything is read or made. Torch-free.

Bounds keep out what cannot work or means nothing; numbers that fit together badly (a width that
the heads do not divide) are the plan's affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from parrotlet.core.errors import UsageError

MANY = 10**12
Bounds = tuple[float, float]  # both included
SEED: Bounds = (0, 2**63 - 1)  # what random generators take
SIZE: Bounds = (1, 10**6)
COUNT: Bounds = (0, MANY)
AT_LEAST_ONE: Bounds = (1, MANY)
SECONDS: Bounds = (0, 10**9)
RATE: Bounds = (0, 1000)
DECAY: Bounds = (0, 0.999999)
SHARE: Bounds = (0, 1)

BOUNDS: Mapping[str, Bounds] = {
    "seed": SEED,
    "threads": (1, 4096),
    "validation_fraction": (0, 0.99),
    "world_documents": COUNT,
    "world_conversations": (2, MANY),
    "world_talk": COUNT,
    "vocab_size": (265, 2**24),  # 256 bytes and the control tokens
    "depth": SIZE,
    "width": (2, 10**6),
    "heads": SIZE,
    "kv_heads": SIZE,
    "mlp_width": SIZE,
    "context": SIZE,
    "steps": AT_LEAST_ONE,
    "tokens": AT_LEAST_ONE,
    "minutes": (1e-6, 10**7),
    "batch_tokens": AT_LEAST_ONE,
    "micro_tokens": AT_LEAST_ONE,
    "evaluate_every": AT_LEAST_ONE,
    "save_every": AT_LEAST_ONE,
    "save_seconds": SECONDS,
    "sample_seconds": SECONDS,
    "matrix_lr": RATE,
    "embedding_lr": RATE,
    "head_lr": RATE,
    "scalar_lr": RATE,
    "weight_decay": RATE,
    "beta1": DECAY,
    "beta2": DECAY,
    "eps": (1e-30, 1),
    "momentum": DECAY,
    "clip": (1e-9, 10**9),
    "warmup_steps": COUNT,
    "cooldown": SHARE,
    "final_lr": SHARE,
}


def check_bounds(config: Any) -> None:
    """UsageError for a number of `config`, or of those inside it, that is out of bounds."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            check_bounds(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low, high = BOUNDS[field.name]
            if not low <= value <= high:  # which NaN is not either
                raise UsageError(
                    f"--{field.name.replace('_', '-')} {value}: choose a number from {low:,} to "
                    f"{high:,}"
                )
