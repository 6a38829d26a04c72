"""The tokenizer's own rules: sizes, spaces, alphabets, files, and every script at hand."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parrotlet.core.errors import CheckpointError, DataError
from parrotlet.text.template import NATIVE, NATIVE_UNSPACED
from parrotlet.text.tokenizer import FILE_NAME, Tokenizer
from parrotlet.text.train import train_bpe, train_char

TEXT = "the cat sat on the mat and the cat saw the rat that sat there"


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train_bpe([TEXT], 280)


def test_sizes_and_the_place_of_control_ids(small: Tokenizer) -> None:
    assert (small.vocab_size, small.first_special) == (280, 271)
    assert list(small.specials.items()) == [(n, 271 + i) for i, n in enumerate(NATIVE.specials)]
    assert (small.bos_id, small.stop_id) == (271, 279)
    assert small.special("<|user|>") == 273
    with pytest.raises(DataError, match="<\\|human\\|>"):
        small.special("<|human|>")


def test_a_word_is_the_same_token_first_and_later(small: Tokenizer) -> None:
    document = small.encode_document("the cat the")
    assert document[0] == small.bos_id and document[1] == document[-1]
    assert small.token_bytes(document[1]) == b" the"
    assert small.encode("the cat the")[0] != document[1]  # encode adds nothing


def test_texts_are_learned_from_as_they_are_encoded() -> None:
    """Every text begins with its word: only the leading space makes the token of " cat"."""
    spaced = train_bpe(["cat", "cat", "cat"], 265 + 3)
    assert spaced.tokens[-1] == b" cat"
    assert spaced.encode_document("cat") == [spaced.bos_id, 258]
    assert train_bpe(["cat"], 265 + 2, NATIVE_UNSPACED).tokens[-1] == b"cat"


def test_an_empty_text_has_no_ids(small: Tokenizer) -> None:
    assert small.encode_segment("") == [] and small.encode("") == []
    assert small.encode_document("") == [small.bos_id]


def test_exactly_one_leading_space_is_taken_off(small: Tokenizer) -> None:
    for text in ("cat", " cat", "  cat", "\ncat", " ", ""):
        assert small.decode(small.encode_document(text)) == text
        assert small.decode(small.encode(text)) == text
        assert small.decode(small.encode_segment(text), after=small.bos_id) == text
    going_on = small.encode(" cat")
    assert small.decode(going_on, after=small.encode("the")[-1]) == " cat"


def test_decoding_what_is_no_text(small: Tokenizer) -> None:
    assert small.decode([0xE2, 0x82, 0xAC]) == "€"
    assert small.decode([0xE2, 0x82, 0x41, 0xFF]) == "\ufffdA\ufffd"
    assert small.decode([0xE2, small.bos_id, 0x82, 0xAC]) == "\ufffd\ufffd\ufffd"
    for token in (-1, small.vocab_size):
        with pytest.raises(DataError, match=str(token)):
            small.token_bytes(token)
        with pytest.raises(DataError):
            small.decode([token])
    assert small.token_bytes(small.bos_id) == b""


def test_lone_surrogates_become_the_replacement_character(small: Tokenizer) -> None:
    assert small.decode(small.encode("a\ud800b")) == "a\ufffdb"
    assert small.encode("\ud83d\ude42") == small.encode("🙂")


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(DataError, match="at least 265"):
        train_bpe([TEXT], 264)
    assert train_bpe([TEXT], 265).first_special == 256
    with pytest.raises(DataError, match="5000") as caught:
        train_bpe([TEXT], 5_000)
    largest = int(str(caught.value).split("which is ")[1].split(";")[0])
    assert train_bpe([TEXT], largest).vocab_size == largest
    with pytest.raises(DataError, match=f"which is {largest};"):
        train_bpe([TEXT], largest + 1)
    with pytest.raises(DataError, match="which is 265;"):
        train_bpe([], 300)


def test_errors_of_the_text_source_pass_through() -> None:
    def broken() -> Any:
        yield TEXT
        raise DataError("line 2 is broken")

    with pytest.raises(DataError, match="line 2 is broken"):
        train_bpe(broken(), 280)


def test_characters() -> None:
    tokenizer = train_char(["banana", "é漢🙂"])
    assert [token.decode() for token in tokenizer.tokens] == list("abné漢🙂")
    assert tokenizer.encode("nab🙂") == [2, 0, 1, 5]
    assert tokenizer.encode_document("ab") == [tokenizer.bos_id, 0, 1]
    assert tokenizer.vocab_size == 6 + 9
    with pytest.raises(DataError) as caught:
        tokenizer.encode("bañana")
    assert "'ñ' (U+00F1)" in str(caught.value)
    assert " " in train_char(["ab"], NATIVE).decode(train_char(["ab"], NATIVE).encode(" "))


def test_characters_are_composed_only_where_asked(small: Tokenizer) -> None:
    apart, whole = "cafe\u0301", "caf\u00e9"
    composing = replace(small, nfc=True)
    assert composing.encode(apart) == composing.encode(whole) == small.encode(whole)
    assert small.decode(small.encode(apart)) == apart
    assert "nfc" not in small.to_json()  # older tokenizers keep their fingerprints
    assert Tokenizer.from_json(composing.to_json()) == composing
    assert composing.fingerprint != small.fingerprint


def test_fingerprints_tell_tokenizers_apart(small: Tokenizer) -> None:
    assert small.fingerprint == train_bpe([TEXT], 280).fingerprint
    others = [train_bpe([TEXT], 279), train_char([TEXT]), train_bpe(["other text, other"], 270)]
    assert len({small.fingerprint, *(other.fingerprint for other in others)}) == 4


def altered(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.update(version=2), "version 2"),
        (lambda value: value.update(format="other"), "not the description"),
        (lambda value: value["tokens"].reverse(), "altered"),
        (lambda value: value["tokens"].pop(), "altered"),
        (lambda value: value["tokens"].pop(0), "not the vocabulary"),
        (lambda value: value["tokens"].append(value["tokens"][-1]), "not the vocabulary"),
        (lambda value: value["tokens"].append("?"), "cannot be read"),
        (lambda value: value["template"].update(leading_space=False), "altered"),
        (lambda value: value["template"].pop("stop"), "cannot be read"),
        (lambda value: value.update(pattern="("), "altered"),
        (lambda value: value.update(kind="word"), "not the vocabulary"),
        (lambda value: value.pop("sha256"), "altered"),
        (lambda value: value.clear(), "not the description"),
    ],
)
def test_altered_files_are_refused(
    small: Tokenizer, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    small.save(tmp_path)
    assert Tokenizer.load(tmp_path) == small
    altered(tmp_path / FILE_NAME, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.load(tmp_path)
    assert FILE_NAME in str(caught.value)


def test_files_that_are_none(small: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Tokenizer.load(tmp_path)
    small.save(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="JSON"):
        Tokenizer.load(tmp_path)
    path.write_text("[1]", "utf-8")
    with pytest.raises(CheckpointError, match="not the description"):
        Tokenizer.load(tmp_path)


def languages(real_data: Path) -> dict[str, str]:
    folder = real_data / "languages"
    with zipfile.ZipFile(folder / "udhr/udhr2.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".txt")]
        texts = {name: archive.read(name).decode()[:5_000] for name in names}
    for path in sorted((folder / "wiki_zh_ko").glob("*.gz")):
        texts[path.name] = gzip.decompress(path.read_bytes()).decode()[:100_000]
    for path in sorted((folder / "chinese_poetry").glob("*.json")):
        poems = json.loads(path.read_text("utf-8"))
        texts[path.name] = json.dumps(poems, ensure_ascii=False)[:100_000]
    return texts


def test_every_language_at_hand_comes_back_whole(real_data: Path) -> None:
    texts = languages(real_data)
    assert len(texts) > 380
    mixed = train_bpe([text[:2_000] for text in texts.values()], 4_000)
    characters = train_char(texts.values())
    for tokenizer in (mixed, characters):
        for name, text in texts.items():
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text, name
            assert max(ids, default=0) < tokenizer.first_special
