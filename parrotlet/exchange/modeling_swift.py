"""swift for Hugging Face transformers: exported models carry this file with them.

The mathematics of parrotlet/model/swift.py with the same parameter names: norms without weights,
rotary positions before the norm of queries and keys, squared ReLU, a row for the token itself added
to the values of every other layer, the embedding added again before every block with a row for each
pair of tokens. Keys and values are cached; padding is masked. Not covered: training
with checkpointed activations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import CausalLMOutputWithPast

SHARPNESS = 1.2
HASHES = (36_313, 27_191)


class SwiftConfig(PretrainedConfig):  # type: ignore[misc]
    """The shape of a swift."""

    model_type = "parrotlet_swift2"

    def __init__(
        self,
        vocab_size: int = 512,
        max_position_embeddings: int = 256,
        num_hidden_layers: int = 4,
        hidden_size: int = 256,
        num_attention_heads: int = 4,
        num_key_value_heads: int = 4,
        head_dim: int = 64,
        intermediate_size: int = 1024,
        rope_theta: float = 10_000.0,
        rms_norm_eps: float = 1e-6,
        bigrams: int = 0,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.num_hidden_layers = num_hidden_layers
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim
        self.intermediate_size = intermediate_size
        self.rope_theta = rope_theta
        self.rms_norm_eps = rms_norm_eps
        self.bigrams = bigrams
        others["tie_word_embeddings"] = False
        super().__init__(**others)


def norm(x: Tensor, eps: float) -> Tensor:
    """RMS norm without weights."""
    return F.rms_norm(x, (x.shape[-1],), None, eps)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Pairs (i, i + C/2) of every head turned by their angles; sine's first half is negated."""
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)


class Attention(nn.Module):
    """x: [batch, time, width]; heads are split off as [batch, heads, time, head width]."""

    def __init__(self, config: SwiftConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.eps, self.head_dim = layer, config.rms_norm_eps, config.head_dim
        wide = config.num_attention_heads * config.head_dim
        narrow = config.num_key_value_heads * config.head_dim
        self.grouped = wide != narrow
        self.query = nn.Linear(config.hidden_size, wide, bias=False)
        self.key = nn.Linear(config.hidden_size, narrow, bias=False)
        self.value = nn.Linear(config.hidden_size, narrow, bias=False)
        self.output = nn.Linear(wide, config.hidden_size, bias=False)
        self.has_value_table = (config.num_hidden_layers - 1 - layer) % 2 == 0
        if self.has_value_table:
            self.value_embed = nn.Embedding(config.vocab_size, narrow)
            self.value_scale = nn.Parameter(torch.tensor(1.5))

    def forward(
        self,
        x: Tensor,
        ids: Tensor,
        turn: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: Any,
    ) -> Tensor:
        heads = (*x.shape[:2], -1, self.head_dim)
        q = self.query(x).view(heads).transpose(1, 2)
        k = self.key(x).view(heads).transpose(1, 2)
        v = self.value(x)
        if self.has_value_table:
            v = v + self.value_scale * self.value_embed(ids)
        v = v.view(heads).transpose(1, 2)
        q = norm(rotate(q, *turn), self.eps) * SHARPNESS
        k = norm(rotate(k, *turn), self.eps) * SHARPNESS
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        causal = mask is None and q.shape[2] > 1
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=self.grouped
        )
        added: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return added


class MLP(nn.Module):
    """Squared ReLU between two linear maps."""

    def __init__(self, config: SwiftConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down(F.relu(self.up(x)).square())
        return down


class Block(nn.Module):
    """The stream scaled, the embedding added again and the pairs' rows, attention, MLP."""

    def __init__(self, config: SwiftConfig, layer: int) -> None:
        super().__init__()
        self.eps = config.rms_norm_eps
        self.stream_scale = nn.Parameter(torch.tensor(1.0))
        self.embedding_scale = nn.Parameter(torch.tensor(0.0))
        if config.bigrams:
            self.pair_scale = nn.Parameter(torch.tensor(0.1))
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(
        self,
        x: Tensor,
        embedded: Tensor,
        pairs: Tensor | None,
        ids: Tensor,
        turn: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: Any,
    ) -> Tensor:
        x = self.stream_scale * x + self.embedding_scale * embedded
        if pairs is not None:
            x = x + self.pair_scale * pairs
        x = x + self.attention(norm(x, self.eps), ids, turn, mask, cache)
        added: Tensor = self.mlp(norm(x, self.eps))
        return x + added


class SwiftForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Token ids to logits, with transformers' generate."""

    config_class = SwiftConfig
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012

    def __init__(self, config: SwiftConfig) -> None:
        super().__init__(config)
        self.embed: nn.Module = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.bigrams:
            self.pair_embed = nn.Embedding(config.bigrams, config.hidden_size)
        layers = range(config.num_hidden_layers)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in layers)
        self.head: nn.Module = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.embed

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Another embedding."""
        self.embed = value

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Another head."""
        self.head = new_embeddings

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *others: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """What a step of generation is given, with the token before its first."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, *others, **kwargs)
        known = input_ids.shape[1] - inputs["input_ids"].shape[1]
        inputs["previous_ids"] = input_ids[:, known - 1 : known] if known else None
        return inputs

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        previous_ids: Tensor | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [batch, time, vocabulary], and the mean loss where there are labels.

        previous_ids [batch, 1]: the token before input_ids, where others are in the cache;
        generate gives it.
        """
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        if position_ids is None:
            position_ids = past + torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        embedded = norm(self.embed(input_ids), self.config.rms_norm_eps)
        pairs = None
        if self.config.bigrams:
            if past and previous_ids is None:
                raise ValueError("with a cache, previous_ids [batch, 1] must hold the token before")
            rows = self._pair_rows(input_ids, previous_ids, attention_mask)
            pairs = self.pair_embed(rows)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=embedded,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        turn = self._rotation(position_ids, embedded.dtype)
        x = embedded
        for block in self.blocks:
            x = block(x, embedded, pairs, input_ids, turn, mask, past_key_values)
        x = norm(x, self.config.rms_norm_eps)[:, -logits_to_keep:]  # 0 keeps all
        logits = self.head(x)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **others)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def _pair_rows(
        self, ids: Tensor, previous: Tensor | None, attention_mask: Tensor | None
    ) -> Tensor:
        """Each token's row in the table of pairs; the first one of a text pairs with itself."""
        left = torch.cat((ids[:, :1] if previous is None else previous, ids[:, :-1]), 1)
        if attention_mask is not None and attention_mask.ndim == 2:
            seen = F.pad(attention_mask, (1, 0))[:, -ids.shape[1] - 1 : -1]
            left = torch.where(seen.bool(), left, ids)
        rows: Tensor = left * self.config.vocab_size + ids
        if self.config.bigrams < self.config.vocab_size**2:
            rows = (left * HASHES[0] ^ ids * HASHES[1]) % self.config.bigrams
        return rows

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine [batch, 1, time, head width], the angles in float32."""
        width = self.config.head_dim
        pairs = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
        angles = positions[:, None, :, None] * self.config.rope_theta ** (-pairs / width)
        cosine, sine = angles.cos(), angles.sin()
        return torch.cat((cosine, cosine), -1).to(dtype), torch.cat((-sine, sine), -1).to(dtype)
