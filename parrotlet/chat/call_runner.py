"""CallRunner: runs the tool calls that a model writes in one reply.

What goes wrong in a call is the result, so that the model reads it; only the number of calls is
limited here. Budgets of time and size are each tool's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parrotlet.core.errors import ToolError
from parrotlet.text.chat import ToolCall, ToolResult, parse_reply
from parrotlet.text.template import Around
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.table import Tool

LONGEST_CALL = 224  # tokens; what has not ended by then is no call: 200 characters and a name do


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
        try:
            return call, ToolResult(self._tools[call.name].run(call.arguments))
        except ToolError as error:
            return call, ToolResult(f"error: {error}")
