"""Config to model: the table of architectures."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import torch
from torch import Tensor

from parrotlet.core.errors import UsageError
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext, Context
from parrotlet.model.gpt2 import GPT2
from parrotlet.model.layers import only
from parrotlet.model.model import Model
from parrotlet.model.qwen3 import Qwen3
from parrotlet.model.swift import Swift

ARCHITECTURES: dict[str, type[Model]] = {"gpt2": GPT2, "qwen3": Qwen3, "swift": Swift}


def compile_hidden(model: Model) -> None:
    """Let torch.compile make the pass that is trained; evaluation stays as it is.

    The first passes take as long as compiling does. UsageError where nothing can compile.
    """
    known = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    on_cpu = next(model.parameters()).device.type == "cpu"
    if on_cpu and not any(shutil.which(each) for each in known if each):
        raise UsageError("--compile needs a C++ compiler on a CPU; install g++, or leave it out")
    plain, compiled = model.hidden, torch.compile(model.hidden)

    def hidden(ids: Tensor, ctx: Context, places: Tensor | None = None) -> Tensor:
        if not torch.is_grad_enabled():
            return plain(ids, ctx, places)
        if isinstance(ctx, CausalContext):
            ctx.keep_whole()
        return only(compiled(ids, ctx), places)  # whose number is another in every batch

    cast(Any, model).hidden = hidden


def build_model(config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> Model:
    """The model of `config` on the CPU in float32, without values yet.

    The caller gives them: `init_weights(generator)`, or a checkpoint's state.
    """
    return ARCHITECTURES[config.arch](config, compute_dtype)
