"""Our tokenizer as the files that transformers, and most other programs, read.

tokenizer.json has the vocabulary, the merges and how text is cut; tokenizer_config.json has the
chat template, and our own template as data beside it, so that an import gives back the same
tokenizer. Characters that a "char" tokenizer does not know raise here and are dropped there.
"""

from __future__ import annotations

from typing import Any

from parrotlet.core.errors import UsageError
from parrotlet.exchange.dialects import chat_template
from parrotlet.exchange.merges import merges_of, pair_names, token_names
from parrotlet.text.tokenizer import Tokenizer

TOKENIZER, TOKENIZER_CONFIG, SPECIALS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
TEMPLATE_KEY = "parrotlet_template"


def tokenizer_files(tokenizer: Tokenizer, context: int) -> dict[str, Any]:
    """{file name: JSON value}; UsageError where the vocabulary is not an order of merges."""
    roles = {
        "bos_token": tokenizer.template.bos,
        "eos_token": tokenizer.template.stop,
        "pad_token": tokenizer.template.bos,
    }
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
        "additional_special_tokens": [
            name for name in tokenizer.specials if name not in roles.values()
        ],
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        TEMPLATE_KEY: tokenizer.template.to_json(),
    }
    written = chat_template(tokenizer.template)
    if written is not None:
        settings["chat_template"] = written
    return {
        TOKENIZER: _tokenizer_json(tokenizer),
        TOKENIZER_CONFIG: settings,
        SPECIALS: roles,
    }


def _tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    split = {
        "type": "Split",
        "pattern": {"Regex": tokenizer.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    bytes_next = byte_level | {"use_regex": False}
    pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, bytes_next]}
    is_bpe = tokenizer.kind == "bpe"
    names, merges = _names_and_merges(tokenizer)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(name, token) for name, token in tokenizer.specials.items()],
        "normalizer": {"type": "NFC"} if tokenizer.nfc else None,
        "pre_tokenizer": pre_tokenizer if is_bpe else None,
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True} if is_bpe else {"type": "Fuse"},
        "model": model | {"vocab": {name: at for at, name in enumerate(names)}, "merges": merges},
    }


def _names_and_merges(tokenizer: Tokenizer) -> tuple[list[str], list[list[str]]]:
    if tokenizer.kind == "char":
        return [token.decode() for token in tokenizer.tokens], []
    merges = merges_of(tokenizer.tokens)
    if merges is None:
        raise UsageError(
            "the ids of this tokenizer are not an order of merges, which transformers needs; "
            "export a model with a tokenizer that was trained here or imported"
        )
    return token_names(tokenizer.tokens), [list(pair) for pair in pair_names(merges)]


def _added(name: str, token: int) -> dict[str, Any]:
    return {
        "id": token,
        "content": name,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
