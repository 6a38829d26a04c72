"""Templates: values that fit together, and survive JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from parrotlet.core.errors import DataError
from parrotlet.text.gpt2_vocab import GPT2_CHAT, GPT2_PLAIN
from parrotlet.text.template import NATIVE, NATIVE_UNSPACED, Around, Control, Template

ALL = {"native": NATIVE, "unspaced": NATIVE_UNSPACED, "gpt2": GPT2_CHAT, "plain": GPT2_PLAIN}


def test_the_native_control_tokens_and_their_order() -> None:
    assert " ".join(NATIVE.specials) == (
        "<|bos|> <|system|> <|user|> <|assistant|> <|call|> <|end_call|> <|result|> "
        "<|end_result|> <|end|>"
    )
    assert NATIVE.leading_space and not NATIVE_UNSPACED.leading_space


@pytest.mark.parametrize("name", ALL)
def test_json_and_back(name: str) -> None:
    template = ALL[name]
    assert Template.from_json(json.loads(json.dumps(template.to_json()))) == template


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bos": "<|start|>"}, "<|start|>"),
        ({"specials": NATIVE.specials + ("<|end|>",)}, "must differ"),
        ({"user": Around((Control("<|human|>"),), ())}, "<|human|>"),
        ({"assistant": Around((Control("<|assistant|>"),), ("\n",))}, "stop token"),
        ({"call": None}, "neither"),
        ({"call": Around((Control("<|call|>"),), ("\n",))}, "begin and end"),
        ({"call": Around(("\n", Control("<|call|>")), (Control("<|end_call|>"),))}, "begin and"),
        ({"user": Around((Control("<|user|>"), "\n"), (Control("<|end|>"),))}, "leading_space"),
        ({"user": Around((), (Control("<|end|>"),))}, "leading_space"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        replace(NATIVE, **changes)
    assert message in str(caught.value)
