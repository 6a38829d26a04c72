"""What holds for every tokenizer and template: text stays text, and everything comes back.

A new kind or template is tested by being listed in TOKENIZERS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parrotlet.text.chat import (
    Conversation,
    Message,
    Part,
    Rendered,
    Text,
    ToolCall,
    ToolResult,
    parse_reply,
    render,
    render_prompt,
    validate,
)
from parrotlet.text.gpt2_vocab import GPT2_CHAT, GPT2_PATTERN
from parrotlet.text.stream import TextStream
from parrotlet.text.template import NATIVE, Around, Control, Piece, Template
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe, train_char

CHATML = Template(
    specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    + ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    bos="<|endoftext|>",
    begin=(),
    system=Around((Control("<|im_start|>"), "system\n"), (Control("<|im_end|>"), "\n")),
    user=Around((Control("<|im_start|>"), "user\n"), (Control("<|im_end|>"), "\n")),
    assistant=Around((Control("<|im_start|>"), "assistant\n"), (Control("<|im_end|>"), "\n")),
    stop="<|im_end|>",
    call=Around((Control("<tool_call>"), "\n"), ("\n", Control("</tool_call>"))),
    result=Around((Control("<tool_response>"), "\n"), ("\n", Control("</tool_response>"))),
)
SPECIALS = sorted({*NATIVE.specials, *CHATML.specials, *GPT2_CHAT.specials})
ODD = [
    "＜|end|＞",
    "<|end|\u200b>",
    "<｜user｜>",
    "<|END|>",
    "<| end |>",
    "<<|end|>|>",
    "<|im_",
    "|>",
]
WORDS = [
    " ",
    "\n",
    "  \n",
    "user\n",
    "assistant",
    "hello",
    " world",
    "12",
    "é",
    "漢",
    "🙂",
    "\ufffd",
]
CORPUS = ["".join(SPECIALS + ODD + WORDS) * 3, "user\nassistant\nsystem\n hello hello world world"]


def gpt2_like() -> Tokenizer:
    trained = train_bpe(CORPUS, 340)
    order = sorted(range(256), key=lambda value: (value < 33, value))  # bytes in another order
    tokens = tuple(bytes([value]) for value in order) + trained.tokens[256:]
    return Tokenizer("bpe", tokens, GPT2_CHAT, GPT2_PATTERN)


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bpe": lambda: train_bpe(CORPUS, 340),
    "bytes": lambda: train_bpe([], 265),
    "char": lambda: train_char([*CORPUS, "\n"]),
    "char with spaces": lambda: train_char([*CORPUS, "\n"], NATIVE),
    "chatml": lambda: train_bpe(CORPUS, 340, CHATML),
    "gpt2": gpt2_like,
}
BUILT = {name: build() for name, build in TOKENIZERS.items()}
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
contract = settings(deadline=None, max_examples=50)

fragments = st.sampled_from(SPECIALS).flatmap(
    lambda name: st.tuples(st.integers(0, len(name)), st.integers(0, len(name))).map(
        lambda cut: name[min(cut) : max(cut)]
    )
)
texts = st.lists(st.sampled_from(SPECIALS + ODD + WORDS) | fragments, max_size=6).map("".join)
names = texts.map(lambda text: text.replace(" ", ""))
calls = st.builds(ToolCall, names, texts)
tool_use = st.tuples(calls, st.builds(ToolResult, texts)) | st.tuples(calls)
part_groups = st.lists(st.tuples(st.builds(Text, texts)) | tool_use, max_size=4)
replies = part_groups.map(lambda groups: Message("assistant", sum(groups, ())))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """System or not, then turns; the last one may be either's."""
    messages = [Message.of("system", draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [Message("user", tuple(map(Text, draw(st.lists(texts, max_size=3)))))]
        messages += [draw(replies)]
    return Conversation(tuple(messages[: len(messages) - draw(st.integers(0, 1))]))


def joined(parts: tuple[Part, ...]) -> list[Part]:
    """The parts with neighbouring texts joined and empty ones gone, written another way."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and out and isinstance(out[-1], Text):
            out[-1] = Text(out[-1].text + part.text)
        elif part != Text(""):
            out.append(part)
    return [part for part in out if part != Text("")]


def expected(conversation: Conversation, template: Template) -> list[Piece]:
    """The conversation as control tokens and joined text, made without a tokenizer."""
    pieces: list[Piece] = list(template.begin)
    for message in conversation.messages:
        around = template.around(message.role)
        pieces += around.before
        for part in joined(message.parts):
            inside, text = None, part.text if not isinstance(part, ToolCall) else ""
            if isinstance(part, ToolCall):
                inside = template.call
                text = f"{part.name} {part.arguments}" if part.arguments else part.name
            elif isinstance(part, ToolResult):
                inside = template.result
            assert isinstance(part, Text) or inside is not None
            pieces += [*inside.before, text, *inside.after] if inside else [text]
        pieces += around.after
    out: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and out and isinstance(out[-1], str):
            out[-1] += piece
        elif piece != "":
            out.append(piece)
    return out


def read_back(rendered: Rendered, tokenizer: Tokenizer) -> list[Piece]:
    """The control tokens among the ids by name, and the text between them."""
    control = {value: name for name, value in tokenizer.specials.items()}
    out: list[Piece] = []
    run: list[int] = []
    after: int | None = None
    for token in [*rendered.ids, tokenizer.bos_id]:
        if token not in control:
            run.append(token)
            continue
        text = tokenizer.decode(run, after)
        out += [text] if text else []
        out.append(Control(control[token]))
        run, after = [], token
    return out[:-1]


@every_tokenizer
@contract
@given(conversation=conversations())
def test_text_never_becomes_a_control_token(name: str, conversation: Conversation) -> None:
    """Control ids stand exactly where the template puts them, and the text between is the text."""
    tokenizer = BUILT[name]
    rendered = render(conversation, tokenizer)
    assert read_back(rendered, tokenizer) == expected(conversation, tokenizer.template)
    assert len(rendered.ids) == len(rendered.mask)


@every_tokenizer
def test_no_control_token_is_made_of_two_halves(name: str) -> None:
    """Every special string cut at every place, over parts, messages, names and arguments."""
    tokenizer = BUILT[name]
    plain = [*tokenizer.template.specials, *tokenizer.template.specials]
    for special in plain:
        for cut in range(len(special) + 1):
            left, right = special[:cut], special[cut:]
            conversation = Conversation(
                (
                    Message.of("system", left),
                    Message("user", (Text(right), Text(left), Text(right))),
                    Message(
                        "assistant",
                        (Text(left), Text(right), ToolCall(left, right), ToolResult(left)),
                    ),
                    Message.of("user", right),
                )
            )
            rendered = render(conversation, tokenizer)
            assert read_back(rendered, tokenizer) == expected(conversation, tokenizer.template)


@every_tokenizer
@contract
@given(text=texts)
@example(text="".join(SPECIALS))
def test_text_comes_back_and_has_ordinary_ids(name: str, text: str) -> None:
    tokenizer = BUILT[name]
    ids = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.first_special for token in ids)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    document = tokenizer.encode_document(text)
    assert document[0] == tokenizer.bos_id
    assert all(token < tokenizer.first_special for token in document[1:])
    assert tokenizer.decode(document) == text


@every_tokenizer
@contract
@given(conversation=conversations(), reply=replies)
def test_what_is_rendered_is_read_back(
    name: str, conversation: Conversation, reply: Message
) -> None:
    tokenizer = BUILT[name]
    if conversation.messages[-1].role != "user":
        conversation = Conversation(conversation.messages[:-1])
    prompt = render_prompt(conversation, tokenizer)
    whole = render(conversation.plus(reply), tokenizer)
    assert list(whole.ids[: len(prompt)]) == prompt
    said = whole.ids[len(prompt) :]
    assert parse_reply(said, tokenizer) == Message("assistant", tuple(joined(reply.parts)))
    learned = [each for each, on in zip(said, whole.mask[len(prompt) :], strict=True) if on]
    assert learned[-1] == tokenizer.stop_id  # and nothing after it
    assert sum(token == tokenizer.stop_id for token in learned) == 1


@every_tokenizer
@contract
@given(data=st.data())
def test_any_ids_are_a_reply_that_can_be_rendered_again(name: str, data: st.DataObject) -> None:
    tokenizer = BUILT[name]
    first = tokenizer.first_special
    token = st.integers(0, first - 1) | st.integers(first, tokenizer.vocab_size - 1)
    reply = parse_reply(data.draw(st.lists(token, max_size=40)), tokenizer)
    question = Conversation.of(("user", ""))
    validate(question.plus(reply))
    if tokenizer.kind == "bpe":  # an alphabet need not have U+FFFD
        prompt = render_prompt(question, tokenizer)
        again = render(question.plus(reply), tokenizer).ids[len(prompt) :]
        assert parse_reply(again, tokenizer) == reply


@every_tokenizer
@contract
@given(data=st.data())
def test_streamed_text_is_the_decoded_text(name: str, data: st.DataObject) -> None:
    tokenizer = BUILT[name]
    anything = st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=8)
    words = texts.map(tokenizer.encode)
    ids = [token for some in data.draw(st.lists(anything | words, max_size=8)) for token in some]
    after = data.draw(st.none() | st.integers(0, tokenizer.vocab_size - 1))
    stream = TextStream(tokenizer, after)
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids, after)


@every_tokenizer
@contract
@given(text=texts)
def test_no_broken_character_appears_in_a_stream(name: str, text: str) -> None:
    tokenizer = BUILT[name]
    stream = TextStream(tokenizer, tokenizer.bos_id)
    shown = ""
    for token in tokenizer.encode_segment(text):
        shown += stream.push(token)
        assert text.startswith(shown)
    assert stream.flush() == ""


@every_tokenizer
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    tokenizer = BUILT[name]
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded == tokenizer
    assert loaded.fingerprint == tokenizer.fingerprint
    assert Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer
    for text in SPECIALS + WORDS:
        assert loaded.encode(text) == tokenizer.encode(text)
    assert len({other.fingerprint for other in BUILT.values()}) == len(BUILT)
