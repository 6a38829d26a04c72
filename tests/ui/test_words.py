"""Text of a model or a person can be read, and do nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from parrotlet.ui import words

PAGE = Path(words.__file__).parent
HOSTILE = [
    "![x](http://evil.example/a.png)",
    "![x][r]\n\n[r]: http://evil.example/b.png",
    "[click me](http://evil.example/?q=secret)",
    "[click][r]\n\n[r]: http://evil.example/c",
    "a[b](javascript:alert(1))",
    "<!--\n```\n-->\n![x](http://evil.example/d.png)\n```",
    "`code` ![x](http://evil.example/e.png) `more`",
    "``![x](http://evil.example/f.png)`",
    "\\![x](http://evil.example/g.png)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_picture_and_no_hidden_link_survives(text: str) -> None:
    """An independent reader of Markdown finds none in any prose block."""
    for language, block in words.blocks(text):
        if language is None:
            tokens = MarkdownIt("commonmark").parse(block)
            kinds = {child.type for token in tokens for child in token.children or ()}
            assert not kinds & {"image", "link_open"}, block


def test_the_same_reader_sees_them_without_the_cure() -> None:
    tokens = MarkdownIt("commonmark").parse(HOSTILE[0])
    assert any(child.type == "image" for token in tokens for child in token.children or ())


def test_code_is_kept_to_the_letter() -> None:
    text = "before\n```python\na[0](x)\n$HOME ![x](y)\n```\nafter"
    assert list(words.blocks(text)) == [
        (None, "before"),
        ("python", "a[0](x)\n$HOME ![x](y)"),
        (None, "after"),
    ]


def test_a_fence_that_is_not_closed_yet_is_code() -> None:
    assert list(words.blocks("so:\n```\nx = 1")) == [(None, "so:"), ("", "x = 1")]


def test_money_names_and_icons_stay_what_they_are() -> None:
    assert words.prose("$5 and $6") == "\\$5 and \\$6"
    assert words.prose(":material/home: :red[x]") == "&#58;material/home: &#58;red[x]"
    assert words.prose("one\ntwo") == "one  \ntwo"


def test_labels_are_plain() -> None:
    assert words.plain("**a** ![b](c)\n`d`") == r"\*\*a\*\* \!\[b\]\(c\) \`d\`"


def test_nothing_in_the_page_allows_html() -> None:
    for path in PAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword):
                assert node.arg not in ("unsafe_allow_html", "unsafe_allow_javascript"), path
