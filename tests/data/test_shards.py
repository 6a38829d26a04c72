"""Shards: what goes in is what is read, the split never changes, and damage is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from parrotlet.core.errors import DataError, RunError, UsageError
from parrotlet.data.shards import Shards, tokenize
from parrotlet.data.sources import Document, describe, open_sources
from parrotlet.data.split import plan_split
from parrotlet.data.tokens import TokenArray
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe, train_char

BOS = 0


class Texts:
    """A source in memory."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def documents(self) -> Iterator[Document]:
        return (Document(text, str(number)) for number, text in enumerate(self.texts))


class Characters:
    """A tokenizer: BOS is 0, a character is its code point."""

    def __init__(self, vocab_size: int = 60_000, fingerprint: str = "characters") -> None:
        self.vocab_size = vocab_size
        self.fingerprint = fingerprint

    def encode_document(self, text: str) -> list[int]:
        return [BOS, *map(ord, text)]


def documents_of(tokens: TokenArray) -> list[str]:
    """Back to texts: cut at every BOS."""
    ids = tokens.read(0, len(tokens)).tolist()
    return "".join(map(chr, ids)).split(chr(BOS))[1:]


WORDS = [f"Document {number}: żółć {number * number}." for number in range(400)]


@pytest.mark.parametrize("shard_tokens", [3, 7, 1000, 1 << 25])
def test_everything_goes_in_and_comes_out(tmp_path: Path, shard_tokens: int) -> None:
    texts = WORDS[: 24 if shard_tokens < 10 else 400]
    found = tokenize(Texts(texts), Characters(), tmp_path, shard_tokens=shard_tokens)
    train, validation = documents_of(found.train), documents_of(found.validation)
    assert sorted(train + validation) == sorted(texts)
    assert [text for text in texts if text in set(train)] == train, "in the order of the source"
    for tokens, side in ((found.train, train), (found.validation, validation)):
        assert tokens.num_bytes == sum(len(text.encode()) for text in side)
        assert tokens.num_documents == len(side)
        assert len(tokens) == sum(1 + len(text) for text in side)
    sizes = [entry["length"] for entry in found.manifest["sides"]["train"]["shards"]]
    assert all(size == shard_tokens for size in sizes[:-1]) and 0 < sizes[-1] <= shard_tokens


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_ids_take_no_more_room_than_needed(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    text = chr(vocab_size - 1) * 50
    found = tokenize(Texts([text]), Characters(vocab_size), tmp_path, validation_fraction=0)
    assert np.load(tmp_path / "train-00000.npy").dtype == dtype
    assert documents_of(found.train) == [text]


def test_split_by_document() -> None:
    split = plan_split(Texts(WORDS), 0.1, seed=3)
    chosen = {text for text in WORDS if split.sides(text) == ("", text)}
    assert all(split.sides(text) == (text, "") for text in WORDS if text not in chosen)
    assert 20 <= len(chosen) <= 60
    fewer = plan_split(Texts(WORDS[::-2]), 0.1, seed=3)
    assert {text for text in WORDS[::-2] if fewer.sides(text)[1]} == chosen & set(WORDS[::-2])
    other = plan_split(Texts(WORDS), 0.1, seed=4)
    assert {text for text in WORDS if other.sides(text)[1]} != chosen


@pytest.mark.parametrize("seed", range(20))
def test_few_documents_leave_no_side_empty(seed: int) -> None:
    for fraction in (0.001, 0.5, 0.999):
        split = plan_split(Texts(WORDS[:25]), fraction, seed)
        assert 1 <= sum(bool(split.sides(text)[1]) for text in WORDS[:25]) <= 24


def test_a_few_documents_are_each_split_by_position() -> None:
    texts = [f"{number}" + letter * (10 * number) for number, letter in enumerate("abc", 1)]
    split = plan_split(Texts(texts), 0.1, seed=0)
    for text in texts:
        train, validation = split.sides(text)
        assert train + validation == text and len(train) == int(0.9 * len(text))


@pytest.mark.parametrize("length", [10, 1115, 1_115_394])
def test_one_text_is_split_by_position(length: int) -> None:
    text = ("abcdefghij" * (length // 10 + 1))[:length]
    train, validation = plan_split(Texts([text]), 0.1, seed=9).sides(text)
    assert train + validation == text and len(train) == int(0.9 * length)


def test_splits_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"validation fraction of 1\.0"):
        plan_split(Texts(WORDS), 1.0, seed=0)
    with pytest.raises(DataError, match="all 20 documents are the same text"):
        plan_split(Texts(["a"] * 20), 0.1, seed=0)
    with pytest.raises(DataError, match="no document"):
        plan_split(Texts([]), 0.1, seed=0)
    assert plan_split(Texts(["abcdefghij"] * 3), 0.1, seed=0).threshold is None  # the end of each


def test_without_validation(tmp_path: Path) -> None:
    found = tokenize(Texts(WORDS), Characters(), tmp_path, validation_fraction=0)
    assert documents_of(found.train) == WORDS and len(found.validation) == 0


def test_made_once(tmp_path: Path) -> None:
    first = tokenize(Texts(WORDS), Characters(), tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    class Once(Characters):
        def encode_document(self, text: str) -> list[int]:
            raise AssertionError("tokenised again")

    again = tokenize(Texts(WORDS), Once(), tmp_path)
    assert again.manifest == first.manifest == Shards.open(tmp_path).manifest
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_other_data_are_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "input.txt"
    text.write_text("some words to learn from")
    out = tmp_path / "out"
    before = tokenize(open_sources([text]), Characters(), out)
    cases = [
        (Characters(fingerprint="other"), {}, "another tokenizer"),
        (Characters(), {"seed": 1}, "another split"),
        (Characters(), {"validation_fraction": 0.2}, "another split"),
    ]
    for tokenizer, options, said in cases:
        with pytest.raises(DataError, match=said):
            tokenize(open_sources([text]), tokenizer, out, **options)  # type: ignore[arg-type]
    text.write_text("other words to learn from")
    with pytest.raises(DataError, match=r"another source \(input\.txt is new or has changed\)"):
        tokenize(open_sources([text]), Characters(), out)
    assert Shards.open(out).manifest == before.manifest


@pytest.mark.parametrize("stop_after", [0, 1, 17, 399])
def test_interrupted_work_does_not_count(tmp_path: Path, stop_after: int) -> None:
    class Interrupted(Characters):
        count = 0

        def encode_document(self, text: str) -> list[int]:
            if self.count == stop_after:
                raise KeyboardInterrupt
            self.count += 1
            return super().encode_document(text)

    with pytest.raises(KeyboardInterrupt):
        tokenize(Texts(WORDS), Interrupted(), tmp_path / "a", shard_tokens=200)
    with pytest.raises(DataError, match="holds no complete token shards"):
        Shards.open(tmp_path / "a")
    (tmp_path / "a").mkdir(exist_ok=True)
    (tmp_path / "a" / ".train-00002.npy.tmp-7-abc").write_bytes(b"half of a file")
    again = tokenize(Texts(WORDS), Characters(), tmp_path / "a", shard_tokens=1000)
    clean = tokenize(Texts(WORDS), Characters(), tmp_path / "b", shard_tokens=1000)
    assert again.manifest == clean.manifest
    names = [sorted(path.name for path in (tmp_path / one).iterdir()) for one in "ab"]
    assert names[0] == names[1], "nothing is left of the first attempt"


def test_data_that_change_while_they_are_read(tmp_path: Path) -> None:
    source = Texts(WORDS)

    class Changing(Characters):
        def encode_document(self, text: str) -> list[int]:
            source.texts[-1] = "changed"
            return super().encode_document(text)

    with pytest.raises(DataError, match="changed while they were read"):
        tokenize(source, Changing(), tmp_path)
    with pytest.raises(DataError, match="no complete"):
        Shards.open(tmp_path)


@pytest.mark.parametrize("name", ["train-00000.npy", "train-00003.npy", "validation-00000.npy"])
def test_altered_shards_are_noticed(tmp_path: Path, name: str) -> None:
    tokenize(Texts(WORDS), Characters(), tmp_path, shard_tokens=1000)
    Shards.open(tmp_path)
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=f"{name} was altered"):
        Shards.open(tmp_path)
    path.write_bytes(bytes(data[:-9]))
    with pytest.raises(DataError, match="cannot be read as an array"):
        Shards.open(tmp_path, check=False)
    path.unlink()
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        Shards.open(tmp_path)


def test_manifests_that_are_none(tmp_path: Path) -> None:
    tokenize(Texts(WORDS), Characters(), tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    for value, said in [
        ({**manifest, "version": 99}, "version 99"),
        ({**manifest, "kind": "checkpoint"}, "does not describe token shards"),
        ([], "does not describe token shards"),
    ]:
        path.write_text(json.dumps(value))
        with pytest.raises(DataError, match=said):
            Shards.open(tmp_path)
    path.write_text(json.dumps(manifest)[:100])
    with pytest.raises(DataError, match="cannot be read as JSON"):
        Shards.open(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        tokenize(Texts(WORDS), Characters(), tmp_path / "file" / "shards")


@pytest.mark.parametrize("train", [train_char, lambda texts: train_bpe(texts, 275)])
def test_with_a_tokenizer_of_ours(
    tmp_path: Path, train: Callable[[Sequence[str]], Tokenizer]
) -> None:
    tokenizer = train(WORDS)
    found = tokenize(Texts(WORDS), tokenizer, tmp_path, validation_fraction=0)
    ids = [one for text in WORDS for one in tokenizer.encode_document(text)]
    assert found.train.read(0, len(found.train)).tolist() == ids
    assert ids.count(tokenizer.bos_id) == len(WORDS)


def test_shakespeare_is_split_as_nanogpt_splits_it(tmp_path: Path, real_data: Path) -> None:
    path = real_data / "pretrain" / "tinyshakespeare" / "input.txt"
    text = path.read_text(encoding="utf-8")
    found = tokenize(open_sources([path]), Characters(), tmp_path)
    assert documents_of(found.train) == [text[: int(len(text) * 0.9)]]
    assert documents_of(found.validation) == [text[int(len(text) * 0.9) :]]
    assert found.manifest["made_from"]["source"] == describe(open_sources([path]))
