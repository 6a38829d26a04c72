"""What a model or a person wrote, as Markdown that can do nothing but be read.

Streamlit escapes HTML. What is left is taken away here: pictures, which a browser would fetch from
wherever a text says, and links whose words hide where they lead. Both need `](` or a definition,
`]:`; without them only addresses that are written out become links. Code is split off and shown by
a widget that interprets nothing, so no reading of fences has to agree with Streamlit's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCE = re.compile(r"^```([\w+-]*)[^\n`]*\n(.*?)(?:^```[ \t]*$\n?|\Z)", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"(`+[^`\n]+`+)")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!<>|~$:/&@^=])")


def blocks(text: str) -> Iterator[tuple[str | None, str]]:
    """(None, prose) and (language, code), in order; a fence that is not closed yet is code."""
    end = 0
    for found in _FENCE.finditer(text):
        if before := text[end : found.start()].strip("\n"):
            yield None, prose(before)
        yield found[1], found[2].rstrip("\n")
        end = found.end()
    if rest := text[end:].strip("\n"):
        yield None, prose(rest)


def prose(text: str) -> str:
    """Markdown without pictures, hidden links, formulas and Streamlit's own directives."""
    text = text.replace("](", "]&#40;").replace("]:", "]&#58;")
    parts = _CODE_SPAN.split(text)
    return "".join(part if index % 2 else _quiet(part) for index, part in enumerate(parts))


def _quiet(text: str) -> str:
    text = re.sub(r"(?<!\\)\$", r"\\$", text)
    text = re.sub(r":(?=[a-z_-]+(?:/|\[|:))", "&#58;", text)  # :material/home: :red[words] :smile:
    return re.sub(r"(?<!\n)\n(?!\n)", "  \n", text)  # a line that is written is a line that is read


def plain(text: str) -> str:
    """The characters themselves, for labels, which are Markdown too."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
