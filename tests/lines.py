"""Lines of code by layer: what is left without blank lines, comments and docstrings.

python tests/lines.py        (or: make lines)
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "parrotlet"
WEEKEND = ("core", "text", "data", "model", "optim", "train", "engine", "chat", "stages")
SILENT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def code_lines(path: Path) -> int:
    """Lines of one file that hold code."""
    source = path.read_text(encoding="utf-8")
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def by_layer() -> Counter[str]:
    """Lines of code of each layer of the package."""
    counts: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        counts[layer] += code_lines(path)
    return counts


def main() -> None:
    """Print the counts."""
    counts = by_layer()
    for layer, count in counts.most_common():
        print(f"{count:6,} {layer}")
    print(f"{sum(counts[layer] for layer in WEEKEND):6,} the weekend path ({', '.join(WEEKEND)})")
    print(f"{counts.total():6,} in all")


if __name__ == "__main__":
    main()
