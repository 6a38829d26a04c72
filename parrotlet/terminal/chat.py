"""`parrotlet chat`: a conversation at a terminal. Ctrl-C stops the reply, not the chat."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from parrotlet.chat.pieces import Dropped, Finish, Piece, fold
from parrotlet.chat.reply import reply
from parrotlet.core.errors import ParrotletError, UsageError
from parrotlet.core.rundir import write_json
from parrotlet.safety.filters import filters_for
from parrotlet.terminal.config import ChatConfig, SamplingConfig
from parrotlet.terminal.copied import quoted
from parrotlet.terminal.load import Loaded, load, settings_for
from parrotlet.terminal.remote import Remote, to_json
from parrotlet.text.bpe import repair
from parrotlet.text.chat import Conversation, Message, Text, ToolCall, ToolResult
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train.checkpoint import find

HELP = """/system TEXT   set the system prompt and start anew (no TEXT: none)
/reset         forget the conversation
/retry         another answer to your last message
/save FILE     write the conversation as JSON
/set           show the settings; /set temperature 0.8 changes one
/help          this list
/quit          leave (so does Ctrl-D)"""
CUT = {
    "length": "stopped: the model's context is full",
    "filtered": "stopped by a safety filter",
    "calls": "stopped: too many tool calls",
}


class ChatSession:
    """The state of one chat: messages, settings, and what the commands do to them."""

    def __init__(self, source: Loaded | Remote, config: ChatConfig, console: Console) -> None:
        """`source` answers: a model that is loaded here, or a server."""
        self.source = source
        self.filters = filters_for(config.safety, config.api_url)
        self.sampling = config.sampling
        self.console = console
        self.system = None if config.system is None else repair(config.system)
        self.messages: tuple[Message, ...] = ()
        self.full = False  # whether the conversation has outgrown the context, which is said once
        self.commands: dict[str, Callable[[str], None]] = {
            "/system": self.set_system,
            "/reset": self.reset,
            "/retry": self.retry,
            "/save": self.save,
            "/set": self.set_value,
            "/help": lambda _: self.note(HELP),
        }

    def note(self, text: str) -> None:
        """Something the program says, not the model."""
        self.console.print(escape(text), style="dim", highlight=False)

    def take(self, line: str) -> bool:
        """One line of input; False where the chat is over."""
        # bytes that are no UTF-8 arrive as halves of characters, which no file could hold
        line = repair(line)
        word, _, rest = line.strip().partition(" ")
        if not word:
            return True
        if word in ("/quit", "/exit"):
            return False
        try:
            if word in self.commands:
                self.commands[word](rest.strip())
            elif word.startswith("/"):
                self.note(f"{word} is not a command; /help lists them")
            else:
                self.ask(line.strip())
        except ParrotletError as error:
            self.note(str(error))
        return True

    def ask(self, text: str) -> None:
        """Send a message and show the answer as it comes."""
        asked = (*self.messages, Message.of("user", text))
        answer = self._answer(self._with_system(asked))
        if answer.parts:
            self.messages = (*asked, answer)
        else:
            self.note("(no answer; your message is not kept)")

    def _with_system(self, messages: tuple[Message, ...]) -> Conversation:
        start = (Message.of("system", self.system),) if self.system else ()
        return Conversation(start + messages)

    def _answer(self, conversation: Conversation) -> Message:
        pieces: list[Piece] = []
        stream = self._stream(conversation)
        try:
            for piece in stream:
                pieces.append(piece)
                self._show(piece)
        except KeyboardInterrupt:
            stream.close()
            self.console.print(" [dim](stopped)[/dim]", end="")
        self.console.print()
        return fold(pieces)

    def _stream(self, conversation: Conversation) -> Generator[Piece, None, None]:
        if isinstance(self.source, Remote):
            return self.source.reply(conversation, self.sampling)
        settings = settings_for(self.sampling)
        engine, tokenizer = self.source.engine, self.source.tokenizer
        return reply(engine, tokenizer, conversation, settings, TOOLS, filters=self.filters)

    def _show(self, piece: Piece) -> None:
        if isinstance(piece, Text):
            self.console.print(escape(piece.text), end="", highlight=False, soft_wrap=True)
        elif isinstance(piece, ToolCall):
            self.console.print(f"[dim]⟨{escape(piece.name)} {escape(piece.arguments)}", end="")
        elif isinstance(piece, ToolResult):
            self.console.print(f"[dim] = {escape(piece.text)}⟩ ", end="")
        elif isinstance(piece, Dropped):
            if not self.full:
                self.note(
                    f"(the oldest {len(piece.messages)} messages no longer fit the context, and "
                    "more will leave it: /reset begins anew)"
                )
            self.full = True
        elif isinstance(piece, Finish) and (why := self.why_cut(piece)):
            self.console.print(f" [dim]({why})[/dim]", end="")

    def why_cut(self, finish: Finish) -> str:
        """Why an answer did not come to its own end; "" where it did."""
        if finish.reason == "length" and finish.sampled_tokens >= self.sampling.max_tokens:
            return f"stopped at --max-tokens {self.sampling.max_tokens}"
        why = CUT.get(finish.reason, "")
        return f"{why}: {finish.verdict.reason}" if why and finish.verdict else why

    def set_system(self, text: str) -> None:
        """Change the system prompt; the conversation begins anew."""
        self.system = text or None
        self.messages, self.full = (), False
        self.note("system prompt set" if text else "no system prompt")

    def reset(self, _: str) -> None:
        """Forget the conversation."""
        self.messages, self.full = (), False
        self.note("the conversation is forgotten")

    def retry(self, _: str) -> None:
        """Answer the last message again, with another seed and some temperature."""
        asked = [index for index, each in enumerate(self.messages) if each.role == "user"]
        if not asked:
            raise UsageError("there is no message to answer again")
        text = self.messages[asked[-1]].text
        self.messages = self.messages[: asked[-1]]
        kept = self.sampling
        warm = max(kept.temperature, 0.8)
        self.sampling = dataclasses.replace(kept, temperature=warm, seed=None)
        try:
            self.ask(text)
        finally:
            self.sampling = kept

    def save(self, name: str) -> None:
        """Write the conversation as OpenAI-style messages, tool parts spelled out."""
        if not name:
            raise UsageError("/save needs a file name")
        messages = [to_json(each) for each in self._with_system(self.messages).messages]
        write_json(Path(name), {"messages": messages})
        self.note(f"saved {len(messages)} messages to {name}")

    def set_value(self, text: str) -> None:
        """Show the settings, or change one."""
        values = dataclasses.asdict(self.sampling)
        name, _, value = text.partition(" ")
        if name:
            if name not in values:
                raise UsageError(f"{name!r} is not a setting; there are {', '.join(values)}")
            self.sampling = changed(self.sampling, name, value)
            settings_for(self.sampling)
            values = dataclasses.asdict(self.sampling)
        self.note("  ".join(f"{key} {json.dumps(each)}" for key, each in values.items()))


def changed(sampling: SamplingConfig, name: str, text: str) -> SamplingConfig:
    """The settings with one value parsed from text; UsageError where it cannot be one."""
    try:
        value = json.loads(text)
        if name == "stop":
            value = (value,) if isinstance(value, str) else tuple(value or ())
            if not all(isinstance(each, str) for each in value):
                raise TypeError
        elif value is not None:
            whole = name in ("top_k", "seed", "max_tokens")
            value = int(value) if whole else float(value)
        elif name not in ("top_k", "seed"):
            raise TypeError
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{text!r} cannot be the {name}; give a number"
            + (" or null" if name in ("top_k", "seed") else "")
            + (' (for stop, "text" or ["one", "two"])' if name == "stop" else "")
        ) from error
    result = dataclasses.replace(sampling, **{name: value})
    settings_for(result)  # refuses what is out of range before it is kept
    return result


def chat(config: ChatConfig) -> int:
    """Read messages until the end of input."""
    console = Console()
    source: Loaded | Remote
    if config.api_url is None:
        checkpoint = find(config.model)
        if checkpoint.stage == "base":
            named = quoted(config.model)
            raise UsageError(
                f"{config.model} has only read and was never taught to answer; teach it with "
                f"parrotlet sft {named}, or let it continue a text: parrotlet sample {named} Once"
            )
        source = load(checkpoint, config.machine)
        where = str(source.checkpoint.path)
    else:
        source = Remote(config.api_url, str(config.model))
        source.check()
        where = f"{source.model} at {source.address}"
    session = ChatSession(source, config, console)
    session.note(f"{where}; /help lists commands, Ctrl-C stops a reply")
    if isinstance(source, Loaded):
        active = "safety filters are on; --no-filter turns them off"
        session.note(active if session.filters else "no safety filter is active")
    prompt = "you> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = console.input(f"[bold]{prompt}[/bold]" if prompt else "")
            if not session.take(line):
                return 0
        except EOFError:
            return 0
        except KeyboardInterrupt:  # at the prompt, or just before or after a reply
            console.print()
            session.note("(Ctrl-D or /quit leaves)")
