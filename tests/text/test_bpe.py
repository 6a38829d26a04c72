"""The Python BPE against hand-made cases, rustbpe (training) and tiktoken (encoding)."""

from __future__ import annotations

import gzip
import json
import logging
import unicodedata
import zipfile
from pathlib import Path

import pytest
import rustbpe
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parrotlet.text import bpe
from parrotlet.text import train as training

# Characters every library's Unicode tables agree on (assigned long ago), and newer emoji.
OLD = [
    character
    for character in map(chr, range(0x30000))
    if unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Cs")
]
EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇨🇭", "🙂", "e\u0301", "\u200d", "\ufe0f"]
PIECES = ["'s", "'RE", "'ſ", " ", "  ", "\n", "\r\n", "\t", "12", "Ⅷ", "hello", " world", "<|end|>"]
unicode_text = st.lists(
    st.sampled_from(OLD) | st.sampled_from(EMOJI) | st.sampled_from(PIECES), max_size=60
).map("".join)


def rust_vocabulary(texts: list[str], num_merges: int, pattern: str) -> list[bytes]:
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), 256 + num_merges, pattern=pattern)
    return [bytes(token) for token, _ in sorted(trainer.get_mergeable_ranks(), key=lambda e: e[1])]


def scripts(real_data: Path) -> dict[str, str]:
    """A few dozen kilobytes each of many scripts."""
    found = {"English": (real_data / "pretrain/tinyshakespeare/input.txt").read_text("utf-8")}
    with zipfile.ZipFile(real_data / "languages/udhr/udhr2.zip") as archive:
        for name in archive.namelist():
            if name.endswith(("hin.txt", "arb.txt", "rus.txt", "tha.txt", "kat.txt", "amh.txt")):
                found[name] = archive.read(name).decode()
    for name in ("wiki_zh", "wiki_ko"):
        with gzip.open(real_data / f"languages/wiki_zh_ko/{name}.jsonl.gz", "rt", "utf-8") as file:
            found[name] = "\n".join(json.loads(next(file))["text"] for _ in range(5))
    return {name: text[:60_000] for name, text in found.items()}


def test_a_case_done_by_hand() -> None:
    # (a, b) three times, (b, c) twice; then (ab, c) and (ab, d) once each: smaller ids first
    merges = bpe.train(["abc abd", "ab", " b c"], 9, pattern=r"\S+")
    assert merges == [(b"a", b"b"), (b"ab", b"c"), (b"ab", b"d")]
    assert bpe.vocabulary(merges)[256:] == [b"ab", b"abc", b"abd"]
    assert bpe.encode("abcab", merges) == [257, 256]


def test_overlapping_pairs_merge_from_the_left() -> None:
    assert bpe.merge([1, 1, 1, 2, 1, 1], (1, 1), 9) == [9, 1, 2, 9]
    assert bpe.train(["aaa"], 5) == [(b"a", b"a"), (b"aa", b"a")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 2024!", ["It", "'s", " ", "2", "0", "2", "4", "!"]),
        ("  two spaces", [" ", " two", " spaces"]),
        ("(word)\n\nnext", ["(word", ")\n\n", "next"]),
        ("a \n b", ["a", " \n", " b"]),
        ("end  ", ["end", "  "]),
        ("HE'LL 漢字。", ["HE", "'LL", " 漢字", "。"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert bpe.split(text) == words


@given(unicode_text)
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(bpe.split(text)) == text


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="ab ", max_size=40) | st.text(alphabet="aé1 \n", max_size=40)),
    st.integers(0, 40),
)
@example(["aaaa aaaa", "aaa", "abab baba"], 20)
def test_merges_are_those_of_rustbpe_where_many_tie(texts: list[str], num_merges: int) -> None:
    for pattern in (bpe.QWEN2_PATTERN, r"(?s).+"):
        ours = bpe.vocabulary(bpe.train(texts, num_merges, pattern))
        assert ours == rust_vocabulary(texts, num_merges, pattern)


@settings(deadline=None, max_examples=50)
@given(st.lists(unicode_text, max_size=6))
def test_merges_are_those_of_rustbpe_on_any_characters(texts: list[str]) -> None:
    ours = bpe.vocabulary(bpe.train(texts, 60))
    assert ours == rust_vocabulary(texts, 60, bpe.QWEN2_PATTERN)


def test_merges_are_those_of_rustbpe_on_real_scripts(real_data: Path) -> None:
    texts = scripts(real_data)
    assert len(texts) >= 8, sorted(texts)
    for name, text in texts.items():
        ours = bpe.vocabulary(bpe.train([text], 300))
        assert len(ours) == 556, name
        assert ours == rust_vocabulary([text], 300, bpe.QWEN2_PATTERN), name
    together = list(texts.values())
    ours = bpe.vocabulary(bpe.train(together, 1_000))
    assert ours == rust_vocabulary(together, 1_000, bpe.QWEN2_PATTERN)


@settings(deadline=None)
@given(unicode_text)
@example("aaaaaaa aaaaaaab  \n\n \ud83d\ude42 \ud800")
def test_encoding_is_that_of_tiktoken(text: str) -> None:
    merges = bpe.train(["aaaa aab hello worldly 1234 '' <|end|> über 漢字漢字 🙂🙂 " * 3], 60)
    ranks = {token: index for index, token in enumerate(bpe.vocabulary(merges))}
    fast = tiktoken.Encoding(
        "test", pat_str=bpe.QWEN2_PATTERN, mergeable_ranks=ranks, special_tokens={}
    )
    assert bpe.encode(text, merges) == fast.encode_ordinary(bpe.repair(text))


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("ok", "ok"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude42", "🙂"),
        ("\ude42\ud83d", "\ufffd" * 2),
    ],
)
def test_lone_surrogates_are_replaced(text: str, repaired: str) -> None:
    assert bpe.repair(text) == repaired


def test_only_absurd_runs_of_spaces_are_cut() -> None:
    limit = bpe.LONGEST_SPACE
    for text in ("", " ", "a b" * limit, " " * limit, ("a" + " " * limit) * 2):
        assert list(bpe.portions(text)) == [text]
    text = "a" + "\t" * (2 * limit + 1) + "b"
    assert [len(portion) for portion in bpe.portions(text)] == [1 + limit, limit, 2]
    assert "".join(bpe.portions(text)) == text


def test_a_million_spaces_do_not_end_the_process() -> None:
    text = "word" + " " * 1_100_000 + "word"
    tokenizer = training.train_bpe([text], 256 + 9 + 3)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_without_rustbpe_gives_the_same_tokenizer_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["the cat sat on the mat and the rat sat on the cat", "über alles \ud800"]
    fast = training.train_bpe(texts, 290)
    monkeypatch.setattr(training, "rustbpe", None)
    with caplog.at_level(logging.WARNING):
        slow = training.train_bpe(texts, 290)
    assert slow == fast
    assert "rustbpe is not installed" in caplog.text
