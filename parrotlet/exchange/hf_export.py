"""Export to Hugging Face transformers: a folder that from_pretrained loads.

gpt2 and qwen3 are transformers' own classes; swift brings its own modelling file. Weights are
float32, as they are kept here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch

from parrotlet.core.rundir import write_file, write_json
from parrotlet.exchange.hf_config import CONFIG, config_json
from parrotlet.exchange.hf_tokenizer_write import tokenizer_files
from parrotlet.exchange.hf_weights import WEIGHTS
from parrotlet.exchange.model_card import CARD, model_card
from parrotlet.exchange.names import to_theirs
from parrotlet.exchange.proof import load_transformers, prove
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import MODEL, Checkpoint, load_tensors, load_tokenizer

GENERATION = "generation_config.json"
MODELLING = "modeling_swift.py"
MOST_NEW = 256  # tokens that transformers generates where it is not told how many


def export_hf(checkpoint: Checkpoint, folder: Path) -> list[str]:
    """Write everything into `folder`, load it again with transformers; what agrees, in lines.

    UsageError where transformers is missing or the tokenizer cannot be written in its form,
    CheckpointError where what was written is not the same model.
    """
    load_transformers()
    config, tokenizer = checkpoint.config, load_tokenizer(checkpoint)
    files = tokenizer_files(tokenizer, config.context)
    files[CONFIG] = _config_json(checkpoint, tokenizer)
    files[GENERATION] = _generation_json(checkpoint, tokenizer)
    for name, value in files.items():
        write_json(folder / name, value)
    theirs = to_theirs(config, load_tensors(checkpoint.path / MODEL))
    write_file(folder / WEIGHTS, safetensors.torch.save(theirs, metadata={"format": "pt"}))
    del theirs
    if config.arch == "swift":
        write_file(folder / MODELLING, Path(__file__).with_name(MODELLING).read_bytes())
    proved = prove(checkpoint, folder)
    write_file(folder / CARD, model_card(checkpoint, tokenizer, proved).encode())
    return proved


def _roles(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"bos_token_id": tokenizer.bos_id, "pad_token_id": tokenizer.bos_id}


def _config_json(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    ids = _roles(tokenizer) | {"eos_token_id": tokenizer.stop_id}
    return config_json(checkpoint.config) | ids


def _generation_json(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    """An answer ends at the stop token, a document where the next one would begin."""
    return {
        **_roles(tokenizer),
        "eos_token_id": sorted({tokenizer.stop_id, tokenizer.bos_id}),
        "max_new_tokens": min(MOST_NEW, max(1, checkpoint.config.context // 2)),
        "do_sample": False,
    }
