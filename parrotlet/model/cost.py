"""What a model costs: parameters, FLOPs, bytes, from its config alone. Torch-free.

Counts of parameters and FLOPs are exact for matrix products and attention (everything else is
left out of FLOPs, as usual); bytes of training are an estimate with its assumptions below.
"""

from __future__ import annotations

from parrotlet.model.config import SHORT, ModelConfig

# A parameter in training: itself, its gradient and AdamW's two moments, all float32. (Muon keeps
# one moment: its matrices need 12. Tables whose forms of words learn together need up to 24.)
STATE_BYTES = 16


def _block_matrices(config: ModelConfig) -> int:
    """Numbers in the matrices of one block."""
    queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
    mlp = 3 if config.arch == "qwen3" else 2  # SwiGLU has a gate
    return 2 * config.width * (queries + keys) + mlp * config.width * config.mlp_width


def _block_vectors(config: ModelConfig) -> int:
    """Gains, biases and scalars of one block."""
    match config.arch:
        case "gpt2":  # two norms with gain and bias; q, k, v, output, down and up have biases
            return 4 * config.width + 5 * config.width + config.mlp_width
        case "qwen3":  # two norms over the width, one each for queries and keys
            return 2 * config.width + 2 * config.head_width
        case "swift":  # the scales of stream, embedding and pairs
            return 3 if config.bigrams else 2


def num_matrix_parameters(config: ModelConfig) -> int:
    """Weights every token is multiplied with: the blocks' matrices and the head, tied or not."""
    return config.depth * _block_matrices(config) + config.vocab_size * config.width


def num_parameters(config: ModelConfig) -> int:
    """All that is learned, a tied matrix once: sum(p.numel() for p in model.parameters())."""
    blocks = config.depth * (_block_matrices(config) + _block_vectors(config))
    embeddings = (1 if config.tied else 2) * config.vocab_size * config.width
    match config.arch:
        case "gpt2":
            return embeddings + config.context * config.width + blocks + 2 * config.width
        case "qwen3":
            return embeddings + blocks + config.width
        case "swift":  # a table of pairs; every other layer has one of values, and its scale
            table = config.vocab_size * config.kv_heads * config.head_width
            values = -(-config.depth // 2) * (table + 1)
            return embeddings + config.bigrams * config.width + values + blocks


def forward_flops_per_token(config: ModelConfig, context: int) -> int:
    """FLOPs of a forward pass for one token that attends to `context` others.

    2 for each matrix parameter, and 4 H C context per layer for the scores and the mixture. For
    a whole row of `context` tokens this counts the half that causality hides, as Chowdhery et al.
    (2022, PaLM, appendix B) and most published utilisations do.
    """
    attention = 4 * config.depth * config.heads * config.head_width * context
    return 2 * num_matrix_parameters(config) + attention


def flops_per_token(config: ModelConfig, context: int) -> int:
    """FLOPs of training on one token of a row of `context`: 6 N + 12 L H C context.

    Three forward passes' worth: the backward pass multiplies twice, for inputs and for weights
    (Kaplan et al. 2020; the attention term as in PaLM). What is computed twice is not counted.
    """
    return 3 * forward_flops_per_token(config, context)


def training_bytes(
    config: ModelConfig,
    rows: int,
    context: int,
    *,
    bytes_per_number: int = 4,
    logits_at_once: int = 2**25,
) -> int:
    """An estimate of the most memory a step takes, with microbatches of `rows` rows.

    Counted: parameters with their optimizer state; matrices cast to the compute dtype (of
    `bytes_per_number`) where that is not float32; what eager autograd keeps for the backward pass
    (with attention's weights where a CPU spells them out, see context.py); logits, at most
    `logits_at_once` of them at a time, with their log-softmax and gradient in float32.
    Not counted: torch itself (a few hundred MB), what operators and a compiler hold for a moment,
    segment masks.
    """
    is_cast = bytes_per_number < 4
    tokens = rows * context
    weights = STATE_BYTES * num_parameters(config)
    if is_cast:
        weights += bytes_per_number * config.depth * _block_matrices(config)
    elif config.arch != "gpt2":  # queries', keys' and values' maps are put together for a pass
        joint = (config.heads + 2 * config.kv_heads) * config.head_width
        weights += bytes_per_number * config.depth * config.width * joint
    kept = config.depth * _kept_per_block(config) * bytes_per_number * tokens
    if is_cast and context <= SHORT:
        kept += config.depth * config.heads * context * bytes_per_number * tokens
    elif config.arch != "gpt2":  # values stay a part of the product that made queries and keys too
        rows_made = (config.heads + config.kv_heads) * config.head_width
        kept += config.depth * rows_made * bytes_per_number * tokens
    logits = min(tokens * config.vocab_size, logits_at_once)
    return weights + kept + logits * (3 * 4 + (bytes_per_number if is_cast else 0))


def _kept_per_block(config: ModelConfig) -> int:
    """Numbers kept for the backward pass, per token: the inputs of each operator, each once.

    An RMS norm keeps its result, as it does in training on a CPU (layers.ShortRMSNorm).
    """
    width, mlp = config.width, config.mlp_width
    queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
    match config.arch:
        case "gpt2":
            return 8 * width + 2 * mlp
        case "qwen3":
            return 4 * width + 3 * (queries + keys) + 4 * mlp
        case "swift":
            return 3 * width + 3 * queries + 4 * keys + 2 * mlp


def kv_cache_bytes(config: ModelConfig, tokens: int, bytes_per_number: int) -> int:
    """Keys and values of `tokens` tokens, all layers, at bytes_per_number (4 in float32)."""
    return 2 * config.depth * config.kv_heads * config.head_width * tokens * bytes_per_number
