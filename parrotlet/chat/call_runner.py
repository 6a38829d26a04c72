"""CallRunner: runs the tool calls that a model writes in one reply.

What goes wrong in a call is the result, so that the model reads it: an unknown tool, one that
raises or hangs. Smaller budgets of time and size are each tool's own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from parrotlet.core.errors import ToolError
from parrotlet.core.log import get_logger
from parrotlet.text.chat import ToolCall, ToolResult, parse_reply
from parrotlet.text.template import Around
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.table import Tool

LONGEST_CALL = 224  # tokens; what has not ended by then is no call: 200 characters and a name do
PATIENCE = 5.0  # seconds: whoever runs the engine waits meanwhile
log = get_logger("chat")


class CallRunner:
    """Tools by name; `opening` and `closing` are the control ids around a call."""

    def __init__(
        self, tokenizer: Tokenizer, around: Around, tools: Mapping[str, Tool], limit: int
    ) -> None:
        """`around` is the template's call; at most `limit` calls are run."""
        names = around.controls()
        self.opening, self.closing = tokenizer.special(names[0]), tokenizer.special(names[-1])
        self.left = limit
        self._tokenizer = tokenizer
        self._tools = tools

    def run(self, ids: Sequence[int]) -> tuple[ToolCall, ToolResult]:
        """Run the call written between `opening` and `closing`: a tool's name and an argument."""
        self.left -= 1
        call = parse_reply([self.opening, *ids, self.closing], self._tokenizer).parts[0]
        assert isinstance(call, ToolCall), "what stands between its control tokens is a call"
        if len(ids) >= LONGEST_CALL:
            return call, ToolResult(f"error: a call has fewer than {LONGEST_CALL} tokens")
        if call.name not in self._tools:
            known = ", ".join(self._tools)
            return call, ToolResult(f"error: there is no tool {call.name!r}; there is {known}")
        return call, ToolResult(_said(self._tools[call.name], call.arguments))


def _said(tool: Tool, arguments: str) -> str:
    """What a tool says, or what went wrong with it; the thread of one that hangs is left behind."""
    future: Future[str] = Future()

    def run() -> None:
        try:
            said = tool.run(arguments)
        except ToolError as error:
            said = f"error: {error}"
        except BaseException as error:  # SystemExit too: a tool's mistake ends nobody's program
            log.exception("the tool %s failed", tool.name)
            said = f"error: {tool.name} failed ({type(error).__name__})"
        future.set_result(said)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(PATIENCE)
    except TimeoutError:
        return f"error: {tool.name} took longer than {PATIENCE:g} s"
