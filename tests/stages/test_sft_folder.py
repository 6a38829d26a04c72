"""Fine-tuning on a folder: packed rows are of the files in it, and made anew when they change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parrotlet.core.errors import DataError
from parrotlet.recipes import recipe
from parrotlet.stages.record import key_of


def test_the_key_is_of_every_file_in_the_folder(tmp_path: Path) -> None:
    data = replace(recipe("smoke").sft.data, data=(tmp_path,))

    def key() -> str:
        return key_of(tmp_path / "nothing.json", [64], data)

    with pytest.raises(DataError, match="nothing readable"):
        key()
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    first = key()
    (tmp_path / "notes.txt").write_text("not read")
    assert key() == first
    (tmp_path / "b.csv").write_text("prompt,response\na,b\n")
    second = key()
    (tmp_path / "b.csv").write_text("prompt,response\na,c\n")
    assert len({first, second, key()}) == 3
