"""Config to model: the table of architectures."""

from __future__ import annotations

import torch

from parrotlet.model.config import ModelConfig
from parrotlet.model.gpt2 import GPT2
from parrotlet.model.model import Model
from parrotlet.model.qwen3 import Qwen3
from parrotlet.model.swift import Swift

ARCHITECTURES: dict[str, type[Model]] = {"gpt2": GPT2, "qwen3": Qwen3, "swift": Swift}


def build_model(config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> Model:
    """The model of `config` on the CPU in float32, without values yet.

    The caller gives them: `init_weights(generator)`, or a checkpoint's state.
    """
    return ARCHITECTURES[config.arch](config, compute_dtype)
