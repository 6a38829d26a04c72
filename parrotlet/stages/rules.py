"""The dial: from a model and a budget to batch, length, rates and decay. Pure and torch-free.

Fitted by bench/dial.py on short runs: widths 128 to 256, steps of 1,024 to 4,096 tokens, less than
an epoch (LOG.md has the table). Beyond that they are extrapolated; the batch so that it meets what
nanochat and modded-nanogpt found by trial, up to a million tokens.
"""

from __future__ import annotations

import math

from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import num_matrix_parameters

TOKENS_PER_PARAMETER = 12  # nanochat's speedruns take 8 to 12, Chinchilla about 20
MOST_EPOCHS = 4  # after which the same text again teaches little (Muennighoff et al. 2023)
TUNING = 1 / 3  # of the rates, where weights are there already; not fitted
DECAY = 3.0  # rate x decay x steps, about what shakespeare-long has; not fitted
WIDTH, TOKENS = 128, 2**18  # of the fitted run whose best values stand below


def horizon(model: ModelConfig, tokens_per_epoch: int) -> int:
    """Tokens to train on where no budget is given."""
    return min(TOKENS_PER_PARAMETER * num_matrix_parameters(model), MOST_EPOCHS * tokens_per_epoch)


def batch_tokens(model: ModelConfig, tokens: float) -> int:
    """Tokens in a step of a run of so many: a power of two, more in longer runs.

    A gradient gets more exact by a larger batch the less there is left to learn, so the batch that
    pays grows with the run. Muon makes a step of a width cost as much as about 4 tokens for each of
    its numbers; below that, most of the time would be its.
    """
    wanted = 1024 * (tokens / TOKENS) ** (2 / 3)
    return int(2 ** round(math.log2(max(wanted, 4 * model.width))))


def rates(model: ModelConfig, steps: int, epochs: float) -> dict[str, float]:
    """Learning rates and weight decay, by the names of OptimizerConfig's fields.

    Text that is read often is learned by heart; against that a weight that nothing holds loses most
    of itself over the run, however many steps it has. Else there is nothing to decay for.
    """
    matrix = 0.02
    decay = DECAY / (matrix * steps) if epochs > MOST_EPOCHS else 0.0
    narrow = WIDTH / model.width
    # a tied embedding is a head as well: each of its numbers moves a logit, as many as the width
    tied = min(0.1, 0.08 * narrow**1.5)
    return {
        "matrix_lr": matrix,
        "embedding_lr": tied if model.tied else 0.1,
        "head_lr": 0.02 * narrow,
        "scalar_lr": 0.01,
        "weight_decay": decay,
    }
