"""Import from Hugging Face transformers: a folder becomes a checkpoint like our own.

Only JSON, text and safetensors are read. No code of the folder is run: neither a modelling file
nor the chat template, which is a program too. Other stages start from the checkpoint; there is
nothing in it to resume.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from parrotlet import __version__
from parrotlet.core.errors import CheckpointError, RunError
from parrotlet.core.rundir import RECIPE, lock, write_json
from parrotlet.exchange.chat_tokens import add_chat_tokens
from parrotlet.exchange.hf_config import read_config
from parrotlet.exchange.hf_tokenizer_read import read_tokenizer
from parrotlet.exchange.hf_weights import read_weights
from parrotlet.model.config import ModelConfig
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import save_weights, steps_in

STAGE = "import"


def import_folder(
    path: Path,
    directory: Path,
    *,
    chat_tokens: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """The checkpoint, in the run `directory`, of the model in the folder `path`.

    Everything is read and checked before anything is written. CheckpointError where the folder
    holds no model we know or its files disagree, RunError where the run exists, UsageError where
    it has chat tokens and more are asked for.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist; name a folder of transformers")
    _check_new(directory)
    config = read_config(path)
    tokenizer, note = read_tokenizer(path, config.arch)
    _check_fit(path, config, tokenizer, say)
    tensors = read_weights(path, config)
    if not chat_tokens:
        say(note)
    else:
        first = tokenizer.vocab_size
        config, tensors, tokenizer = add_chat_tokens(config, tensors, tokenizer)
        say(
            f"{tokenizer.vocab_size - first} control tokens for turns and tools are added; their "
            "rows are the mean of the others and a little noise, so fine-tune before you chat"
        )
    with lock(directory):
        _check_new(directory)
        made = save_weights(directory, config, tensors, tokenizer, stage=STAGE)
        source = {"source": str(path.resolve()), "chat_tokens": chat_tokens}
        write_json(directory / RECIPE, {"verb": STAGE, "config": source, "parrotlet": __version__})
    return made


def _check_new(directory: Path) -> None:
    if (directory / RECIPE).exists() or steps_in(directory):
        raise RunError(f"{directory} holds a run already; choose another --name")


def _check_fit(
    path: Path, config: ModelConfig, tokenizer: Tokenizer, say: Callable[[str], None]
) -> None:
    """A model has an id for every token; it may have more, which are never sampled."""
    padded = config.vocab_size - tokenizer.vocab_size
    if padded < 0:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.vocab_size:,} tokens and the model only "
            f"{config.vocab_size:,} ids; they are not of one model"
        )
    if padded:
        say(
            f"the vocabulary is padded: {config.vocab_size:,} ids for {tokenizer.vocab_size:,} "
            "tokens; it is kept so, and the others are never sampled"
        )
