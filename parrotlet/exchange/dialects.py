"""Chat templates of other programs and ours: which of ours can be written, which of theirs read.

Theirs are programs and are not run. ChatML is recognised by its control tokens, and what else such
a template does (a default system prompt, thinking, tools) is left out. A model without one has its
turns told apart by words.
"""

from __future__ import annotations

from dataclasses import replace

from parrotlet.exchange.jinja import jinja_template
from parrotlet.text.gpt2_vocab import GPT2_PLAIN
from parrotlet.text.template import Around, Control, Template

IM_START, IM_END = "<|im_start|>", "<|im_end|>"


def chat_template(template: Template) -> str | None:
    """The template in Jinja; None where transformers would give other ids.

    It encodes the finished string, so that no words may stand next to plain text of the template
    that they could be cut together with: after words there must be a control token, and before
    them one, or the end of a line. (A message that itself begins with line breaks can still be
    cut otherwise after the latter.)
    """
    every = (template.system, template.user, template.assistant, template.call, template.result)
    borders = [_has_borders(around) for around in every if around is not None]
    return jinja_template(template) if all(borders) else None


def _has_borders(around: Around) -> bool:
    if not around.before or not around.after or not isinstance(around.after[0], Control):
        return False
    last = around.before[-1]
    follows_control = len(around.before) > 1 and isinstance(around.before[-2], Control)
    return isinstance(last, Control) or (follows_control and last.endswith("\n"))


def chatml(specials: tuple[str, ...], bos: str) -> Template:
    """ChatML, as the chat models of Qwen have it, without its tools."""

    def turn(role: str) -> Around:
        return Around((Control(IM_START), f"{role}\n"), (Control(IM_END), "\n"))

    return Template(
        specials=specials,
        bos=bos,
        begin=(),
        system=turn("system"),
        user=turn("user"),
        assistant=turn("assistant"),
        stop=IM_END,
    )


def plain(specials: tuple[str, ...], bos: str, stop: str) -> Template:
    """Turns told apart by words, for tokenizers that have no control tokens for them."""
    return replace(
        GPT2_PLAIN,
        specials=specials,
        bos=bos,
        begin=(Control(bos),),
        assistant=Around(GPT2_PLAIN.assistant.before, (Control(stop),)),
        stop=stop,
    )
