"""Models and tokenizers made by transformers itself, tiny and random, as others publish them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

from parrotlet.text import bpe
from parrotlet.text.gpt2_vocab import GPT2_PATTERN, byte_alphabet

TEXT = """The quick brown fox jumps over the lazy dog. It's what they'd say: 1, 23, 456 and 7890!
    def f(x):\n\treturn x ** 2  # café naïve 漢字 한국어 عربى 🙂👩‍🚀 'S 'LL\r\n\r\nMore   words.
She said hello to the world, and the world said hello to her; nobody knows what the fox says.
"""
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MERGES = 200


@cache
def vocabulary(pattern: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """vocab.json and merges.txt as values."""
    visible = {byte: character for character, byte in byte_alphabet().items()}
    merges = bpe.train([TEXT * 9], MERGES, pattern)
    names = ["".join(visible[byte] for byte in token) for token in bpe.vocabulary(merges)]
    pairs = [
        ("".join(visible[byte] for byte in left), "".join(visible[byte] for byte in right))
        for left, right in merges
    ]
    return {name: index for index, name in enumerate(names)}, pairs


def gpt2_tokenizer() -> Any:
    vocab, merges = vocabulary(GPT2_PATTERN)
    return transformers.GPT2Tokenizer(vocab={**vocab, "<|endoftext|>": len(vocab)}, merges=merges)


def qwen_tokenizer(chat_template: str | None = CHATML) -> Any:
    vocab, merges = vocabulary(bpe.QWEN2_PATTERN)
    made = transformers.Qwen2Tokenizer(
        vocab={**vocab, "<|endoftext|>": len(vocab)}, merges=merges, eos_token="<|im_end|>"
    )
    made.add_tokens(["<|im_start|>", "<|im_end|>", "<think>"], special_tokens=True)
    made.chat_template = chat_template
    return made


def scrambled(model: Any) -> Any:
    """Gains and biases too: at their first values they would prove little."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def gpt2_model(tied: bool = True, **changes: Any) -> Any:
    torch.manual_seed(1)
    shape = {
        "vocab_size": len(gpt2_tokenizer()), "n_positions": 64, "n_embd": 48, "n_layer": 2,
        "n_head": 4, "tie_word_embeddings": tied, "initializer_range": 0.1,
    }  # fmt: skip
    config = transformers.GPT2Config(**shape | changes)
    config.bos_token_id = config.eos_token_id = len(gpt2_tokenizer()) - 1
    return scrambled(transformers.GPT2LMHeadModel(config))


def qwen3_model(tied: bool = True, **changes: Any) -> Any:
    torch.manual_seed(2)
    shape = {
        "vocab_size": len(qwen_tokenizer()) + 13, "max_position_embeddings": 64,
        "hidden_size": 40, "intermediate_size": 112, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5_000.0},
        "rms_norm_eps": 1e-5, "tie_word_embeddings": tied, "initializer_range": 0.1,
    }  # fmt: skip
    return scrambled(transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape | changes)))


def saved(folder: Path, model: Any, tokenizer: Any, **options: Any) -> Path:
    """Both in one folder, by save_pretrained."""
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder
