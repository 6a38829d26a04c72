"""Our chat template as Jinja, the language in which other programs keep theirs, and our
conversations as the messages they are rendered from.

The string that Jinja writes is then encoded with control tokens recognised in it, which gives the
ids of text.chat.render under two conditions that we need not make and others cannot avoid: words
do not contain the name of a control token, and where plain text of the template meets words (not
in the native form, where control tokens stand between) no word of the tokenizer reaches across.
"""

from __future__ import annotations

import json
import string
from typing import Any

from parrotlet.text.chat import Conversation, Message, Text, ToolCall, ToolResult
from parrotlet.text.template import Control, Pieces, Template

# An assistant's turn stays open after a call: the tool's answer and what the assistant says then
# are further messages here, and parts of the same turn for the model.
TURNS = """\
{%- set turn = namespace(open=false) -%}
{{- $BEGIN -}}
{%- for message in messages -%}
  {%- set words = message['content'] or '' -%}
  {%- set words = $SPACE ~ words if words else '' -%}
  {%- if turn.open and message['role'] in ['system', 'user'] -%}
    {{- $ASSISTANT_AFTER -}}
    {%- set turn.open = false -%}
  {%- endif -%}
  {%- if message['role'] == 'system' -%}
    {{- $SYSTEM_BEFORE ~ words ~ $SYSTEM_AFTER -}}
  {%- elif message['role'] == 'user' -%}
    {{- $USER_BEFORE ~ words ~ $USER_AFTER -}}
  {%- elif message['role'] == 'assistant' -%}
    {%- if not turn.open -%}{{- $ASSISTANT_BEFORE -}}{%- endif -%}
    {{- words -}}
    {%- set turn.open = false -%}
$CALLS    {%- if not turn.open -%}{{- $ASSISTANT_AFTER -}}{%- endif -%}
$RESULTS  {%- else -%}
    {{- raise_exception('there is no place for the role ' ~ message['role']) -}}
  {%- endif -%}
{%- endfor -%}
{%- if turn.open and not add_generation_prompt -%}{{- $ASSISTANT_AFTER -}}{%- endif -%}
{%- if add_generation_prompt and not turn.open -%}{{- $ASSISTANT_BEFORE -}}{%- endif -%}
"""
CALLS = """\
    {%- for call in message['tool_calls'] or [] -%}
      {%- set argument = call['function']['arguments'] or '' -%}
      {%- set argument = argument if argument is string else argument | tojson -%}
      {%- set argument = ' ' ~ argument if argument else '' -%}
      {{- $CALL_BEFORE ~ $SPACE ~ call['function']['name'] ~ argument ~ $CALL_AFTER -}}
      {%- set turn.open = true -%}
    {%- endfor -%}
"""
RESULTS = """\
  {%- elif message['role'] == 'tool' -%}
    {{- $RESULT_BEFORE ~ words ~ $RESULT_AFTER -}}
"""


def jinja_template(template: Template) -> str:
    """The template for `messages` and `add_generation_prompt`, as transformers and llama.cpp
    call it. Without tools in `template`, calls are left out and the role "tool" is refused."""
    values = {"BEGIN": template.begin, "SPACE": (" ",) * template.leading_space}
    arounds = {
        "SYSTEM": template.system,
        "USER": template.user,
        "ASSISTANT": template.assistant,
        "CALL": template.call,
        "RESULT": template.result,
    }
    for name, around in arounds.items():
        if around is not None:
            values |= {f"{name}_BEFORE": around.before, f"{name}_AFTER": around.after}
    written = {name: json.dumps(plain(pieces)) for name, pieces in values.items()}
    tools = template.call is not None
    turns = TURNS.replace("$CALLS", CALLS * tools).replace("$RESULTS", RESULTS * tools)
    return string.Template(turns).substitute(written)


def plain(pieces: Pieces) -> str:
    """Pieces of a template as the text they are, control tokens by their names."""
    return "".join(piece.name if isinstance(piece, Control) else piece for piece in pieces)


def as_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """The conversation as such a template takes it: {"role", "content"}, with "tool_calls" where
    the assistant calls and a message of the role "tool" for each answer."""
    return [each for message in conversation.messages for each in _split(message)]


def _split(message: Message) -> list[dict[str, Any]]:
    """The message, cut where its text follows a call or a result."""
    messages: list[dict[str, Any]] = []
    said: dict[str, Any] | None = None
    for part in message.parts:
        if isinstance(part, ToolResult):
            messages.append({"role": "tool", "content": part.text})
            said = None
            continue
        if said is None or (isinstance(part, Text) and "tool_calls" in said):
            said = {"role": message.role, "content": ""}
            messages.append(said)
        if isinstance(part, ToolCall):
            function = {"name": part.name, "arguments": part.arguments}
            said.setdefault("tool_calls", []).append({"type": "function", "function": function})
        else:
            said["content"] += part.text
    return messages or [{"role": message.role, "content": ""}]
