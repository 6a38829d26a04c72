"""What each number may be, in one table, checked before anything is read or made. Torch-free.

Bounds keep out what cannot work or means nothing; numbers that fit together badly (a width that
the heads do not divide) are the plan's affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from parrotlet.core.errors import UsageError

Bounds = tuple[float, float]  # both included
MANY = 10**12
_NAMES: Mapping[Bounds, str] = {
    (0, 2**63 - 1): "seed",  # what random generators take
    (1, 4096): "threads",
    (1, 10**6): "depth heads kv_heads mlp_width context",
    (2, 10**6): "width",
    (265, 2**24): "vocab_size",  # 256 bytes and the control tokens
    (0, MANY): "world_documents world_talk warmup_steps bigrams",
    (2, MANY): "world_conversations world_pairs cases samples",
    (1, MANY): "steps tokens batch_tokens micro_tokens evaluate_every save_every questions updates "
    "max_tokens held_out patience top_k slots",
    (1e-6, 10**7): "minutes",
    (0, 10**9): "save_seconds sample_seconds",
    (0, 0.999999): "beta1 beta2 momentum",
    (1e-30, 1): "eps",
    (1e-9, 10**9): "clip",
    (0, 1): "cooldown final_lr",
    (0, 0.99): "validation_fraction clip_ratio dropout",
    (1e-6, 1000): "beta temperature",
    (0, 0.49): "smoothing",
    (0, 1000): "matrix_lr embedding_lr head_lr scalar_lr weight_decay anchor kl clip_ratio_high",
    (0, 10): "format_reward",
    (0, 10**6): "lora_rank price",
    (1e-6, 10**6): "lora_alpha",
    (1e-9, 1): "top_p",
}
BOUNDS = {name: bounds for bounds, names in _NAMES.items() for name in names.split()}


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
