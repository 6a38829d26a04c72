"""OptimizerConfig: every number of the optimizer. Torch-free, so that plans need no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates by role, and the shape of the schedule.

    Rates and decay that are None follow from the model and the batch (stages/rules.py).
    """

    optimizer: Literal["muon", "adamw"] = "muon"
    """muon: orthogonalised momentum for matrices, AdamW for the rest; adamw: AdamW for all."""
    matrix_lr: float | None = 0.02
    """Learning rate of the matrices inside the blocks."""
    embedding_lr: float | None = 0.1
    """Learning rate of the token (and position) embeddings."""
    head_lr: float | None = 0.004
    """Learning rate of an untied output head."""
    scalar_lr: float | None = 0.01
    """Learning rate of gains, biases and scalars."""
    share_forms: bool = False
    """Let tokens that differ in capitals alone (oak, Oak, OAK) learn together: what one of them
    learns, the others know. Not with --lora-rank, which leaves the tables of tokens as they are."""
    weight_decay: float | None = 0.0
    """Decoupled weight decay of the matrices, times the learning rate."""
    warm_start: bool = False
    """Begin with the momenta of the run that is started from, not with none."""
    dropout: float = 0.0
    """Share of what blocks add that is left out in training, for many epochs of little text."""
    beta1: float = 0.8
    """AdamW's decay of the mean of gradients."""
    beta2: float = 0.95
    """AdamW's decay of the mean of squared gradients."""
    eps: float = 1e-10
    """AdamW's term against division by zero."""
    momentum: float = 0.95
    """Muon's momentum after its warm-up from 0.85."""
    clip: float | None = None
    """Scale gradients down to this global norm; None leaves them as they are."""
    warmup_steps: int = 10
    """Steps over which the learning rate rises from zero."""
    cooldown: float = 0.65
    """Share of the run, at its end, over which the learning rate falls linearly."""
    final_lr: float = 0.02
    """Share of the learning rate that is left at the end."""
