"""GPT-2's vocabulary gives the ids of transformers' GPT-2 tokenizer, built from the same files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from parrotlet.core.errors import DataError
from parrotlet.text.gpt2_vocab import END_OF_TEXT, byte_alphabet, load_gpt2
from parrotlet.text.tokenizer import Tokenizer

SPACES = [" ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u3000", "\x1c", "\x85", "\ufeff"]
WORDS = ["'s", "'S", " it's", "12", "½", "hello", " world", "naïve", "漢字", "🙂", "한국어", "عربى"]


@pytest.fixture(scope="session")
def folder(real_data: Path) -> Path:
    return real_data / "tokenizer/gpt2_tokenizer"


@pytest.fixture(scope="session")
def ours(folder: Path) -> Tokenizer:
    return load_gpt2(folder)


@pytest.fixture(scope="session")
def reference(folder: Path) -> Callable[[str], list[int]]:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.GPT2Tokenizer(
        vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe")
    )
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True  # text is text, as with us
    return lambda text: list(backend.encode(text, add_special_tokens=False).ids)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.characters(max_codepoint=0xFFF) | st.sampled_from(SPACES + WORDS)))
@example(text=["Hello world", END_OF_TEXT, " 's  \n x"])
def test_ids_equal_the_reference_on_any_text(
    text: list[str], ours: Tokenizer, reference: Callable[[str], list[int]]
) -> None:
    joined = "".join(text)
    assert ours.encode(joined) == reference(joined)


def test_ids_equal_the_reference_on_real_text(
    ours: Tokenizer, reference: Callable[[str], list[int]], real_data: Path
) -> None:
    shakespeare = (real_data / "pretrain/tinyshakespeare/input.txt").read_text("utf-8")
    poems = (real_data / "languages/chinese_poetry/tang300.json").read_text("utf-8")
    for text in (shakespeare, poems[:100_000]):
        ids = ours.encode(text)
        assert ids == reference(text)
        assert ours.decode(ids) == text


def test_control_tokens(folder: Path, ours: Tokenizer) -> None:
    assert (ours.vocab_size, ours.bos_id) == (50_265, 50_256)
    assert ours.stop_id == ours.special("<|end|>") == 50_264
    assert ours.encode_document("Hello world") == [50_256, 15_496, 995]
    plain = load_gpt2(folder, chat_specials=False)
    assert plain.vocab_size == 50_257 and dict(plain.specials) == {END_OF_TEXT: 50_256}
    assert plain.bos_id == plain.stop_id == 50_256


def test_the_alphabet_of_bytes() -> None:
    alphabet = byte_alphabet()
    assert sorted(alphabet.values()) == list(range(256))
    assert alphabet["Ġ"] == 0x20 and alphabet["Ċ"] == 0x0A and alphabet["A"] == 0x41


def test_files_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"encoder\.json"):
        load_gpt2(tmp_path)
    ids = json.loads((folder / "encoder.json").read_text("utf-8"))
    merges = (folder / "vocab.bpe").read_text("utf-8").split("\n")

    def write(encoder: object, lines: list[str]) -> None:
        (tmp_path / "encoder.json").write_text(json.dumps(encoder), "utf-8")
        (tmp_path / "vocab.bpe").write_text("\n".join(lines), "utf-8")

    write(ids, merges[:5] + merges[6:])
    with pytest.raises(DataError, match="49999 merges"):
        load_gpt2(tmp_path)
    write({name: id for name, id in ids.items() if id != 7}, merges)
    with pytest.raises(DataError, match="without a gap"):
        load_gpt2(tmp_path)
    write({**{name: id for name, id in ids.items() if id != 300}, "漢": 300}, merges)
    with pytest.raises(DataError, match="stands for no byte"):
        load_gpt2(tmp_path)
    write([1, 2], merges)
    with pytest.raises(DataError, match="not a vocabulary"):
        load_gpt2(tmp_path)
