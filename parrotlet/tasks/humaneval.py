"""HumanEval: functions to be written from their docstrings, and judged by running them.

164 problems (Chen et al. 2021, arXiv 2107.03374), read from the JSON lines of OpenAI's human-eval
repository, gzipped or not. A reply is right where its code, or its last fenced block, passes the
problem's own tests in the sandbox, so grading runs programs that nobody has read, and refuses
where it has no walls. Test data: never trained on.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from parrotlet.core.errors import DataError
from parrotlet.files.formats import Reader
from parrotlet.files.records import records
from parrotlet.tasks.sandbox import Limits, run_python
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message

FIELDS = ("prompt", "canonical_solution", "test", "entry_point")
ASK = "Complete this Python function. Answer with the whole function.\n\n```python\n{}```"
LIMITS = Limits(seconds=10)
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


class HumanEval:
    """The problems of one file. `weak`: graded without the sandbox's walls, for code you trust."""

    def __init__(self, path: Path, *, weak: bool = False) -> None:
        """Raises DataError naming the line that is no problem."""
        self._weak = weak
        self._problems: list[dict[str, str]] = []
        for place, row in records(Reader(path, None, "strict")):
            if not isinstance(row, dict) or not all(isinstance(row.get(f), str) for f in FIELDS):
                raise DataError(f"{place} is no problem: it needs the texts {', '.join(FIELDS)}")
            self._problems.append({field: row[field] for field in FIELDS})

    def __len__(self) -> int:
        return len(self._problems)

    def __getitem__(self, index: int) -> Example:
        """Problem `index`; IndexError outside of 0 to len - 1."""
        if not 0 <= index < len(self):
            raise IndexError(f"case {index} of {len(self)}")
        problem = self._problems[index]
        code = problem["prompt"] + problem["canonical_solution"]
        return Example(
            conversation=Conversation.of(
                ("user", ASK.format(problem["prompt"])), ("assistant", f"```python\n{code}```")
            ),
            data=problem,
        )

    def grade(self, example: Example, reply: Message) -> float:
        """1 where the code passes the tests; UsageError where the sandbox refuses to run it."""
        blocks = _FENCED.findall(reply.text)
        code = blocks[-1] if blocks else reply.text
        if not code.strip():
            return 0.0
        # what the prompt imports or defines comes first: a reply may hold the function alone
        parts = (example.data["prompt"], "    pass\n", code, example.data["test"])
        passed = secrets.token_hex(16)  # so that printing a fixed text does not pass
        check = f"check({example.data['entry_point']})\nprint({passed!r})"
        outcome = run_python("\n".join((*parts, check)), LIMITS, weak=self._weak)
        return float(outcome.status == "ok" and outcome.output.endswith(passed + "\n"))
