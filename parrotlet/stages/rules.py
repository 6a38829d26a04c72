"""The dial: from a model and a budget to batch, length, rates and decay. Pure and torch-free.

Fitted by bench/dial.py on runs of a minute, widths 128 to 256 and steps of 1,024 to 16,384 tokens
(LOG.md has the table). Beyond, up to steps of half a million tokens, the batch meets what nanochat
and modded-nanogpt found by trial; the rest has not been tried there.
"""

from __future__ import annotations

import math

from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import num_matrix_parameters

TOKENS_PER_PARAMETER = 12  # nanochat's speedruns take 8 to 12, Chinchilla about 20
MOST_EPOCHS = 4  # after which the same text again teaches little (Muennighoff et al. 2023)
TUNING = 1 / 3  # of the rates, where weights are there already; not fitted
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
    wanted = 2048 * (tokens / TOKENS) ** 0.6
    return int(2 ** round(math.log2(max(wanted, 4 * model.width))))


def rates(model: ModelConfig, tokens_per_step: int, steps: int) -> dict[str, float]:
    """Learning rates and weight decay, by the names of OptimizerConfig's fields."""
    narrow = WIDTH / model.width
    return {
        "matrix_lr": 0.02,
        "embedding_lr": 0.06 * narrow if model.tied else 0.1,
        "head_lr": 0.02 * narrow,
        "scalar_lr": 0.01,
        "weight_decay": 0.0,
    }
