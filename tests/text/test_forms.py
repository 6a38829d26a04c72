"""Words in small letters, capitalised and in capitals: who belongs together, and cut alike."""

from __future__ import annotations

from collections import Counter

import pytest

from parrotlet.core.errors import DataError
from parrotlet.exchange.merges import merges_of
from parrotlet.text.bpe import split
from parrotlet.text.forms import CAPITALISED, CAPITALS, SELDOM, SMALL, form, forms_of, small
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe, train_char
from parrotlet.world.source import WorldWords


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [document.text for document in WorldWords(0, 1000).documents()]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> Tokenizer:
    return train_bpe(texts, 1400, mirror=True)


@pytest.mark.parametrize(
    ("token", "word", "which"),
    [
        (" oak", " oak", SMALL),
        (" Oak", " oak", CAPITALISED),
        (" OAK", " oak", CAPITALS),
        (" A", " a", CAPITALISED),  # may be the beginning of "Ask"
        ("A", "a", CAPITALS),  # goes on with a word: nothing is capitalised within one
        ('"Oak', '"oak', CAPITALISED),
        ("Éa", "éa", CAPITALISED),
        ("ДА", "да", CAPITALS),
        ("Д", "д", CAPITALS),
        (" Д", " д", CAPITALISED),
        (" 12", " 12", SMALL),
        (" 猫", " 猫", SMALL),
        (" McD", " McD", SMALL),  # none of the three: a word of its own
        ("ß", "ß", SMALL),  # its capitals are two letters
    ],
)
def test_what_a_token_is_a_form_of(token: str, word: str, which: int) -> None:
    assert small(token.encode()) == word.encode()
    assert form(token.encode()) == which


def test_half_a_character_is_a_word_of_its_own() -> None:
    half = "é".encode()[:1]
    assert (small(half), form(half)) == (half, SMALL)


def test_forms_of_one_word_have_one_number(tokenizer: Tokenizer) -> None:
    forms = forms_of(tokenizer)
    assert len(forms.words) == len(forms.forms) == tokenizer.vocab_size
    assert set(forms.words) == set(range(forms.num_words))
    known = {token: index for index, token in enumerate(tokenizer.tokens)}
    same = {forms.words[known[each]] for each in (b" the", b" The", b" THE")}
    assert len(same) == 1
    assert [forms.forms[known[each]] for each in (b" the", b" The", b" THE")] == [0, 1, 2]
    controls = forms.words[tokenizer.first_special :]
    assert len(set(controls)) == len(controls)
    assert set(controls).isdisjoint(forms.words[: tokenizer.first_special])


def test_a_mirrored_tokenizer_cuts_a_word_alike_in_every_form(
    texts: list[str], tokenizer: Tokenizer
) -> None:
    """Every word that the text has in small letters and otherwise; the plain one does not."""
    words = Counter(word for text in texts for word in split(f" {text}") if word[0] == " ")
    pairs = [
        (word, other)
        for word in words
        for other in (word.upper(), f" {word[1:].capitalize()}")
        if word[1:].islower() and words[other] >= SELDOM <= words[word]
    ]
    assert len({other.isupper() for _, other in pairs}) == 2 and len(pairs) > 100

    def unlike(tokenizer: Tokenizer) -> list[str]:
        def lengths(word: str) -> list[int]:
            return [len(tokenizer.token_bytes(each)) for each in tokenizer.encode(word)]

        return [other for word, other in pairs if lengths(word) != lengths(other)]

    assert unlike(tokenizer) == []
    assert len(unlike(train_bpe(texts, 1400))) > len(pairs) / 4


RUSSIAN = "дом лес река гора птица рыба хлеб соль вода снег дождь ветер солнце звезда окно дверь"
ARMENIAN = "տուն անտառ գետ լեռ թռչուն ձուկ հաց աղ ջուր ձյուն անձրև քամի արև աստղ պատուհան դուռ"
GREEK = "σπίτι δάσος ποταμός βουνό πουλί ψάρι ψωμί αλάτι νερό χιόνι βροχή άνεμος ήλιος αστέρι"
CHINESE = "房子 森林 河流 山 鸟 鱼 面包 盐 水 雪 雨 风 太阳 星星 窗户 门"


@pytest.mark.parametrize("words", [RUSSIAN, ARMENIAN, GREEK, CHINESE])
@pytest.mark.parametrize("size", [280, 300, 315])
def test_other_scripts_are_mirrored_as_far_as_their_bytes_allow(words: str, size: int) -> None:
    made = " ".join(
        f"{each} {each.capitalize()} {each.upper()} {other}"
        for each in words.split()
        for other in words.split()
    )
    tokenizer = train_bpe([made], size, mirror=True)
    assert tokenizer.vocab_size == size
    assert merges_of(tokenizer.tokens) is not None
    assert tokenizer.decode(tokenizer.encode(made)) == made


@pytest.mark.parametrize("size", [600, 1400, 1401, 1402, 6000])
def test_a_mirrored_tokenizer_is_an_ordinary_one(texts: list[str], size: int) -> None:
    made = train_bpe(texts, size, mirror=True)
    assert made.vocab_size == size
    assert merges_of(made.tokens) is not None  # so it exports
    for text in (*texts[:50], "ÉTÉ, été, Été. ДА! \U0001f99c 猫 ß İstanbul", "tHe McDONALD"):
        assert made.decode(made.encode(text)) == text
    assert made == train_bpe(texts, size, mirror=True)


def test_a_text_that_cannot_give_so_many_says_how_many() -> None:
    texts = ["the THE The oak window WINDOW"] * 5
    with pytest.raises(DataError, match="larger than this text can give") as caught:
        train_bpe(texts, 2000, mirror=True)
    largest = int(str(caught.value).split("which is ")[1].split(";")[0])
    assert train_bpe(texts, largest, mirror=True).vocab_size == largest
    with pytest.raises(DataError, match=f"which is {largest}"):
        train_bpe(texts, largest + 1, mirror=True)


def test_rows_that_no_token_has_are_words_of_their_own() -> None:
    forms = forms_of(train_char(["aAb"]))
    longer = forms.with_rows(len(forms.words) + 3)
    assert longer.words[:-3] == forms.words and longer.forms == (*forms.forms, 0, 0, 0)
    assert longer.words[-3:] == tuple(range(forms.num_words, forms.num_words + 3))
    assert forms.with_rows(len(forms.words)) == forms


def test_characters_have_forms_too() -> None:
    forms = forms_of(train_char(["abcABC.\n"]))
    assert forms.num_words < len(forms.words)
