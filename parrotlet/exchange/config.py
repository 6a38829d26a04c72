"""What a person can choose when importing or exporting a model. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

GgufKind = Literal["f32", "f16", "bf16", "q8_0"]


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Make a run of somebody else's GPT-2 or Qwen3, to sample, fine-tune and chat with.

    No code of it is run and no pickle is read.
    """

    source: tyro.conf.Positional[str]
    """A folder as transformers saves it (config.json, safetensors, tokenizer), or the name of a
    model on the Hugging Face hub, like openai-community/gpt2."""
    name: str | None = None
    """Name of the run; left out, the last part of the source."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    revision: str = "main"
    """Of a model on the hub: a branch, tag or commit."""
    downloads: Path = Path("downloads")
    """Folder for what is fetched from the hub."""
    endpoint: str | None = None
    """Address of another hub; left out, the one of huggingface_hub."""
    chat_tokens: bool = False
    """Give a tokenizer without a chat template parrotlet's own control tokens, and the weights a
    new row for each of them: the first step towards a chat model of your own."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a model in another program's format, proved by reading it back before it appears."""

    run: tyro.conf.Positional[Path]
    """A run or checkpoint."""
    to: str
    """The format: hf, for Hugging Face transformers; gguf, for llama.cpp and Ollama."""
    out: Path
    """The folder to make; it must not exist."""
    kind: GgufKind | None = None
    """How gguf keeps matrices: f32 exactly; f16 (where left out) or bf16, half as large; q8_0,
    about a quarter."""
