"""The Modelfile beside a GGUF file: `ollama create NAME -f Modelfile` makes the model from it.

Tools are not covered: Ollama looks for calls in JSON, and ours stand between control tokens.
"""

from __future__ import annotations

import json

from parrotlet.exchange.gguf_fields import adds_bos
from parrotlet.exchange.jinja import plain
from parrotlet.text.template import Around, Pieces
from parrotlet.text.tokenizer import Tokenizer


def modelfile(tokenizer: Tokenizer, *, model: str, context: int, chat: bool) -> str:
    """The text of a Modelfile for the file `model` beside it; without `chat` it continues texts."""
    written = _chat(tokenizer) if chat else _literal((_space(tokenizer),)) + "{{ .Prompt }}"
    return (
        f"FROM ./{model}\n"
        f'TEMPLATE """{written}"""\n'
        f"PARAMETER stop {json.dumps(tokenizer.template.stop, ensure_ascii=False)}\n"
        f"PARAMETER num_ctx {context}\n"
    )


def _chat(tokenizer: Tokenizer) -> str:
    """The template in Go's language; Ollama itself puts the bos token first where the file says."""
    template = tokenizer.template
    begin = template.begin[1:] if adds_bos(tokenizer) else template.begin
    written = _literal(begin) + "{{- range .Messages }}"
    branch = "if"
    for role in ("system", "user", "assistant"):
        written += f'{{{{- {branch} eq .Role "{role}" }}}}'
        written += _message(template.around(role), _space(tokenizer))
        branch = "else if"
    return written + "{{- end }}{{- end }}" + _literal(template.assistant.before)


def _message(around: Around, space: str) -> str:
    words = "{{ if .Content }}" + _literal((space,)) + "{{ .Content }}{{ end }}"
    return _literal(around.before) + words + _literal(around.after)


def _space(tokenizer: Tokenizer) -> str:
    return " " if tokenizer.template.leading_space else ""


def _literal(pieces: Pieces) -> str:
    """Pieces as an expression of a Go template, whose strings are written like JSON's."""
    text = plain(pieces)
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""
