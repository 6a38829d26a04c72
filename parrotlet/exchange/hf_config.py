"""config.json of transformers, both ways: which shapes we can take, and how ours are written.

A field that would change the mathematics is refused where it has a value we do not compute.
Dropout and how weights were first drawn change nothing that is computed, and are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from parrotlet.core.errors import CheckpointError, RunError, UsageError
from parrotlet.core.rundir import read_json
from parrotlet.model.config import ModelConfig

CONFIG = "config.json"
SWIFT = "parrotlet_swift2"  # without the 2 its logits were capped
Number = TypeVar("Number", int, float)

# fields that change the mathematics, with the values that are ours; the first is their default
GPT2_FIXED = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
QWEN3_FIXED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "use_sliding_window": (False,),
    "quantization_config": (None,),
}


@dataclass(frozen=True)
class Fields:
    """The fields of a config.json; CheckpointError where one is missing or of another kind."""

    path: Path
    values: Mapping[str, Any]

    def number(self, name: str, kind: type[Number], default: Number | None = None) -> Number:
        """A number above 0; an integer will do where a float is asked for."""
        value = self.values.get(name)
        value = default if value is None else value
        if kind is float and isinstance(value, int):
            value = kind(value)
        if not isinstance(value, kind) or isinstance(value, bool) or not value > 0:
            raise CheckpointError(f"{self.path}: {name} is {value!r}; it must be a number above 0")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"{self.path}: {name} is {value!r}; it must be true or false")
        return value

    def check(self, fixed: Mapping[str, tuple[Any, ...]]) -> None:
        """Refuse what we do not compute."""
        for name, allowed in fixed.items():
            value = self.values.get(name, allowed[0])
            if value not in allowed:
                raise CheckpointError(
                    f"{self.path}: {name} is {value!r}, and only "
                    f"{' or '.join(map(repr, allowed))} can be computed here"
                )


def read_config(folder: Path) -> ModelConfig:
    """The shape of the model in a folder of transformers; CheckpointError where it is not one."""
    path = folder / CONFIG
    try:
        values = read_json(path)
    except RunError as error:
        raise CheckpointError(
            f"{folder} is no model of transformers: {error}; name the folder that has config.json"
        ) from error
    found = values.get("model_type") if isinstance(values, Mapping) else None
    if found not in READERS:
        raise CheckpointError(
            f"{path} is of the architecture {found!r}, which cannot be imported; "
            f"{' and '.join(each for each in READERS if each != SWIFT)} can"
        )
    try:
        return READERS[found](Fields(path, values))
    except UsageError as error:  # numbers that do not go together
        raise CheckpointError(f"{path} does not describe a model: {error}") from error


def _gpt2(fields: Fields) -> ModelConfig:
    fields.check(GPT2_FIXED)
    width, heads = fields.number("n_embd", int, 768), fields.number("n_head", int, 12)
    return ModelConfig(
        arch="gpt2",
        vocab_size=fields.number("vocab_size", int, 50_257),
        context=fields.number("n_positions", int, 1024),
        depth=fields.number("n_layer", int, 12),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=max(1, width // heads),
        mlp_width=fields.number("n_inner", int, 4 * width),
        norm_eps=fields.number("layer_norm_epsilon", float, 1e-5),
        tied=fields.flag("tie_word_embeddings", True),
    )


def _qwen3(fields: Fields) -> ModelConfig:
    fields.check(QWEN3_FIXED)
    layers = set(fields.values.get("layer_types") or ["full_attention"])
    if layers != {"full_attention"}:
        raise CheckpointError(
            f"{fields.path}: layer_types has {', '.join(sorted(map(str, layers)))}, and only "
            "full_attention can be computed here"
        )
    heads = fields.number("num_attention_heads", int)
    return ModelConfig(
        arch="qwen3",
        **_modern(fields),
        heads=heads,
        kv_heads=fields.number("num_key_value_heads", int, heads),
        tied=fields.flag("tie_word_embeddings", False),
    )


def _swift(fields: Fields) -> ModelConfig:
    return ModelConfig(
        arch="swift",
        **_modern(fields),
        heads=fields.number("num_attention_heads", int),
        kv_heads=fields.number("num_key_value_heads", int),
        tied=False,
        bigrams=fields.number("bigrams", int) if fields.values.get("bigrams") else 0,
    )


def _modern(fields: Fields) -> dict[str, Any]:
    """What qwen3 and swift have in common."""
    return {
        "vocab_size": fields.number("vocab_size", int),
        "context": fields.number("max_position_embeddings", int),
        "depth": fields.number("num_hidden_layers", int),
        "width": fields.number("hidden_size", int),
        "head_width": fields.number("head_dim", int, 128),
        "mlp_width": fields.number("intermediate_size", int),
        "rope_base": _rope_base(fields),
        "norm_eps": fields.number("rms_norm_eps", float, 1e-6),
    }


def _rope_base(fields: Fields) -> float:
    """rope_theta, which transformers 5 keeps in rope_parameters and older versions at the top."""
    inner = fields.values.get("rope_parameters") or fields.values.get("rope_scaling") or {}
    if not isinstance(inner, Mapping):
        raise CheckpointError(f"{fields.path}: the rotary positions are {inner!r}, no object")
    kind = inner.get("rope_type", inner.get("type", "default"))
    others = sorted(set(inner) - {"rope_type", "type", "rope_theta"})
    if kind != "default" or others:
        raise CheckpointError(
            f"{fields.path}: rotary positions are scaled ({kind!r} {' '.join(others)}), and only "
            "plain ones can be computed here; remove the scaling and use the context without it"
        )
    top = fields.number("rope_theta", float, 10_000.0)
    return Fields(fields.path, inner).number("rope_theta", float, top)


READERS: dict[str, Callable[[Fields], ModelConfig]] = {
    "gpt2": _gpt2,
    "qwen3": _qwen3,
    SWIFT: _swift,
}


def config_json(config: ModelConfig) -> dict[str, Any]:
    """The config.json of a model of ours: the inverse of read_config."""
    common = {
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied,
        "dtype": "float32",
        "torch_dtype": "float32",  # as transformers 4 calls it
    }
    if config.arch == "gpt2":
        return common | {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_positions": config.context,
            "n_layer": config.depth,
            "n_embd": config.width,
            "n_head": config.heads,
            "n_inner": config.mlp_width,
            "layer_norm_epsilon": config.norm_eps,
            "activation_function": "gelu_new",
        }
    common |= {
        "max_position_embeddings": config.context,
        "num_hidden_layers": config.depth,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.mlp_width,
        "rope_theta": config.rope_base,
        "rms_norm_eps": config.norm_eps,
    }
    if config.arch == "qwen3":
        rope = {"rope_type": "default", "rope_theta": config.rope_base}
        return common | {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_act": "silu",
            "attention_bias": False,
            "use_sliding_window": False,
            "rope_parameters": rope,
        }
    return common | {
        "architectures": ["SwiftForCausalLM"],
        "model_type": SWIFT,
        "bigrams": config.bigrams,
        "auto_map": {
            "AutoConfig": "modeling_swift.SwiftConfig",
            "AutoModelForCausalLM": "modeling_swift.SwiftForCausalLM",
        },
    }
