"""Fine-tuning on a folder: packed rows are of the files in it, and made anew when they change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parrotlet.core.errors import DataError
from parrotlet.recipes import recipe
from parrotlet.stages.sft import rows_key
from parrotlet.text.train import train_bpe


def test_the_key_is_of_every_file_in_the_folder(tmp_path: Path) -> None:
    config = recipe("smoke").sft
    config = replace(config, data=replace(config.data, data=(tmp_path,)))
    tokenizer = train_bpe(["abc"], 265)
    with pytest.raises(DataError, match="nothing readable"):
        rows_key(config, tokenizer, 64)
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    first = rows_key(config, tokenizer, 64)
    (tmp_path / "notes.txt").write_text("not read")
    assert rows_key(config, tokenizer, 64) == first
    (tmp_path / "b.csv").write_text("prompt,response\na,b\n")
    second = rows_key(config, tokenizer, 64)
    (tmp_path / "b.csv").write_text("prompt,response\na,c\n")
    assert len({first, second, rows_key(config, tokenizer, 64)}) == 3
