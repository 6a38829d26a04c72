"""Write the figures of the README from what commands left on disk.

python docs/update_readme.py --demo runs/demo
python docs/update_readme.py --bench bench/results/train.json
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from parrotlet.terminal.report import abilities_table, facts

README = Path(__file__).parent.parent / "README.md"


def replace_block(name: str, lines: list[str]) -> None:
    """Put `lines` between the markers of a block."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- begin {name}: [^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    assert pattern.search(text), f"README.md has no block {name}"
    body = "\n".join(lines) + "\n"
    README.write_text(pattern.sub(lambda found: found[1] + body + found[2], text), "utf-8")


def demo_lines(run: Path) -> list[str]:
    """The facts and the abilities of a demo's run."""
    return [*(f"- {line}" for line in facts(run)), "", *abilities_table(run)]


def bench_lines(path: Path) -> list[str]:
    """The comparison with nanoGPT, from bench/train.py's JSON."""
    found = json.loads(path.read_text().splitlines()[-1])
    rows = ["| | parrotlet | nanoGPT | ratio |", "|---|---|---|---|"]
    for index, (a, b) in enumerate(zip(found["parrotlet"], found["nanogpt"], strict=True), 1):
        rows.append(
            f"| pair {index} | {a['seconds']:.1f} s to {a['loss']:.3f} | {b['seconds']:.1f} s to "
            f"{b['loss']:.3f} | {a['seconds'] / b['seconds']:.2f} |"
        )
    return [
        "- **Quick.** Time to nanoGPT's own final loss with its CPU recipe (tinyshakespeare, nats",
        "  per character over the whole validation split), whole processes from a cold start, on",
        f"  the same {found['cores']} cores, in turn (`python bench/train.py`):",
        "",
        *rows,
    ]


def main() -> None:
    """Update the blocks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--bench", type=Path)
    arguments = parser.parse_args()
    if arguments.demo:
        replace_block("demo", demo_lines(arguments.demo))
    if arguments.bench:
        replace_block("bench", bench_lines(arguments.bench))


if __name__ == "__main__":
    main()
