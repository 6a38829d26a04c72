"""--tokenizer takes a folder with GPT-2's two files, and says what it looked for elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parrotlet.core.errors import CheckpointError
from parrotlet.stages.tokenizer import load_tokenizer
from parrotlet.text.gpt2_vocab import byte_alphabet


def test_gpt2_files(tmp_path: Path) -> None:
    letters = sorted(byte_alphabet(), key=byte_alphabet().__getitem__)
    names = [*letters, "ab", "<|endoftext|>"]
    (tmp_path / "encoder.json").write_text(json.dumps({n: i for i, n in enumerate(names)}), "utf-8")
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\na b\n", "utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("ab c") == [256, 0x20, ord("c")]
    assert tokenizer.bos_id == 257


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no encoder\.json of GPT-2; name a run"):
        load_tokenizer(tmp_path)
