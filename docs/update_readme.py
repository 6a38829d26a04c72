"""Write the figures of the README from what commands left on disk.

python docs/update_readme.py --demo runs/demo
python docs/update_readme.py --bench bench/results/train.json
python docs/update_readme.py --speed bench/results
python docs/update_readme.py --reach bench/results
python docs/update_readme.py --infer bench/results
python docs/update_readme.py --serve bench/results
python docs/update_readme.py --safety bench/results/safety.json
python docs/update_readme.py --refusals bench/results/refusals.json
python docs/update_readme.py --faults bench/results/faults.jsonl
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parrotlet.terminal.report import facts, tables

README = Path(__file__).parent.parent / "README.md"


def replace_block(name: str, lines: list[str]) -> None:
    """Put `lines` between the markers of a block."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- begin {name}: [^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    assert pattern.search(text), f"README.md has no block {name}"
    body = "\n".join(lines) + "\n"
    README.write_text(pattern.sub(lambda found: found[1] + body + found[2], text), "utf-8")


def demo_lines(run: Path) -> list[str]:
    """The facts, what each stage gained and the abilities of a demo's run."""
    return [*(f"- {line}" for line in facts(run)), *tables(run)]


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


def speed_lines(folder: Path) -> list[str]:
    """Tokens learned from in a second beside nanochat, from the JSON of each bench/speed.py."""
    rows = [
        "| shape of nanochat's | parrotlet | nanochat, its default | nanochat, bfloat16 |",
        "|---|---|---|---|",
    ]
    for path in sorted(folder.glob("speed_*.json")):
        found = json.loads(path.read_text().splitlines()[-1])
        speeds, ratios = found["tokens_per_second"], found["ratios"]
        median = {name: statistics.median(each) for name, each in speeds.items()}
        theirs = " | ".join(
            f"{median[name]:,.0f}: {ratios[name]:.2f} times it"
            for name in ("nanochat", "nanochat-bfloat16")
        )
        rows.append(
            f"| depth {found['depth']}, {found['tokens']:,} tokens a step | "
            f"{median['parrotlet']:,.0f}, {found['ranks']} processes | {theirs} |"
        )
    assert len(rows) > 2, f"{folder} has no speed_*.json"
    return [
        "- **Quick to step.** Tokens a second of training at equal shape, swift under torchrun",
        "  with a process a core, on the same 2 cores, in turn, medians (`python bench/speed.py`):",
        "",
        *rows,
    ]


def reach_lines(folder: Path) -> list[str]:
    """Time to nanochat's bits per byte, from the JSON of each bench/reach.py."""
    rows = [
        "| nanochat | its bits per byte | parrotlet's | training | whole process "
        "| of its default's training |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("reach_*.json")):
        found = json.loads(path.read_text().splitlines()[-1])
        runs, peer = found["ours_runs"], found["nanochat"]
        bits = max(each["bits_per_byte"] for each in runs)
        seconds, whole = (
            statistics.median(each[clock] for each in runs) for clock in ("seconds", "process")
        )
        process = peer["process"] if "evaluating" in peer else None
        default = peer.get("default_seconds", None if found["bfloat16"] else peer["seconds"])

        def share(ours: float, theirs: float | None, reached: bool = found["reached"]) -> str:
            if theirs is None or not reached:
                return "not measured" if reached else "not reached"
            return f"{ours:.0f} s of {theirs:.0f} s: {ours / theirs:.2f}"

        batch = found.get("peer_batch", 16_384)
        rows.append(
            f"| depth {found['depth']}, {found['steps']} x {batch:,} tokens "
            f"| {peer['bits_per_byte']:.3f} "
            f"| {bits:.3f} after {found['ours']} x {found['our_batch']:,} tokens "
            f"| {share(seconds, peer['seconds'])} | {share(whole, process)} "
            f"| {share(seconds, default)} |"
        )
    assert len(rows) > 2, f"{folder} has no reach_*.json"
    return [
        "- **Quick to learn.** Time to nanochat's bits per byte (English Wikipedia, a vocabulary",
        "  of 8,192) on the same 2 cores, in turn: with its best setting there, bfloat16, and what",
        "  its default, float32, would take by the pace of some steps (`python bench/reach.py`):",
        "",
        *rows,
    ]


def fault_lines(path: Path) -> list[str]:
    """What training and its checkpoints survived, from the lines of tests/survived.py."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    found.sort(key=lambda each: int(each["fault"][1:]))
    return [
        "| fault | times | what was done and held |",
        "|---|---|---|",
        *(f"| {each['fault']} | {each['count']:,} | {each['what']} |" for each in found),
    ]


def infer_lines(folder: Path) -> list[str]:
    """Tokens a second beside other engines, from the JSON of bench/infer.py and llama_cpp.py."""
    rows = [
        "| one pair a row, in tokens a second | parrotlet | the other | ratio |",
        "|---|---|---|---|",
    ]

    def add(name: str, speeds: dict[str, Any]) -> None:
        ours, theirs = (statistics.median(speeds[each]) for each in ("parrotlet", "peer"))
        rows.append(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {speeds['ratio']:.2f} |")

    for path in sorted(folder.glob("infer*.json")):
        found = json.loads(path.read_text().splitlines()[-1])
        for pair in found["pairs"]:
            add(f"{pair['name']}; ours {found['quantize'] or found.get('dtype', 'unpacked')}", pair)
    for pair in json.loads((folder / "llama_cpp.json").read_text().splitlines()[-1])["pairs"]:
        for part in ("prompt", "generation"):
            add(f"{pair['name']}, GPT-2 124M, {part}", pair[part])
    return [
        "- **Quick to answer.** Beside other engines on the same 2 cores, same shapes, in turn",
        "  (`python bench/infer.py`, `python bench/llama_cpp.py`):",
        "",
        *rows,
    ]


def serve_lines(folder: Path) -> list[str]:
    """What serving many people costs, from the JSON of bench/serve.py."""
    rows = [
        "| 32 clients streaming at once, tokens a second | engine alone | all clients "
        "| one client alone | first text, p50 and p99 |",
        "|---|---|---|---|---|",
    ]
    for name, told in (("depth4", "4 blocks of 256"), ("gpt2", "GPT-2 124M")):
        found = json.loads((folder / f"serve_{name}.json").read_text().splitlines()[-1])
        first, last = (round(1e3 * found[f"first_{each}"]) for each in ("p50", "p99"))
        rows.append(
            f"| {told}, {found['dtype']} | {found['engine']:,.0f} | {found['together']:,.0f} "
            f"({found['of_engine']:.2f} of it) | {found['one']:,.0f} | {first} ms, {last} ms |"
        )
    return ["- **Quick to serve.** (`python bench/serve.py --shape depth4`, or gpt2)", "", *rows]


def safety_lines(path: Path) -> list[str]:
    """What the safety filter catches and flags in error, from bench/safety.py's JSON."""
    found = json.loads(path.read_text(encoding="utf-8"))
    shipped, at = found["at the shipped limit"], found["at 1% false alarms"]

    def cell(each: dict[str, float]) -> str:
        return f"{each['rate']:.1%} ({each['low']:.1%} to {each['high']:.1%})"

    rows = {
        "harmless instructions flagged": "benign",
        "harmless talk of the embedded world flagged": "everyday talk",
        "XSTest's safe prompts flagged": "xstest safe",
        "XSTest's unsafe prompts caught": "xstest unsafe",
        "AdvBench's requests caught": "advbench",
        "AdvBench's harmful answers caught": "harmful answers",
        "harmless answers flagged": "harmless answers",
    }
    lines = ["| | of | at the shipped limit | where 1% of the instructions are flagged |"]
    lines.append("|---|---|---|---|")
    for name, key in rows.items():
        count = shipped[key]["count"]
        cells = f"{cell(shipped[key])} | {cell(at[key])}"
        lines.append(f"| {name} | {count:,} | {cells} |")
    area = found["moderation"]["any"]
    kept = min(found["dressed up"].items(), key=lambda each: each[1]["kept"])
    cost = found["seconds"]
    return [
        *lines,
        "",
        f"(95% intervals.) OpenAI's {area['count']:,} moderation samples: area under the curve",
        f"{area['rate']:.3f} ({area['low']:.3f} to {area['high']:.3f}). Of requests dressed up in",
        f"{len(found['dressed up'])} ways, {kept[0]} leaves least of what is caught plain:",
        f"{kept[1]['kept']:.0%}. 2 KB take {1e3 * cost['2 KB, p99']:.1f} ms of processor",
        f"time at the 99th percentile, 1 MB {1e3 * cost['1 MB, of words']:.0f} ms.",
    ]


def refusal_lines(path: Path) -> list[str]:
    """What is refused with the filters off and on, from bench/refusals.py's JSON."""
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    rows = {
        "requests for harm refused": "world/refusal",
        "the same, by verbs that training never had": "world/refusal_verb",
        "harmless neighbours of them answered": "world/neighbour",
        "small talk answered": "world/smalltalk",
    }
    heads = ["filters off, then on", *(f"after {run['stage']}" for run in runs)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    cells = [
        each for run in runs for states in run["abilities"].values() for each in states.values()
    ]
    for name, key in rows.items():
        rates = [run["abilities"][key] for run in runs]
        shown = [f"{each['off']['rate']:.0%}, {each['on']['rate']:.0%}" for each in rates]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    widest = max(each["high"] - each["low"] for each in cells) / 2
    told = (
        f"({cells[0]['count']} cases each, the 95% intervals at most ± {100 * widest:.0f} points.)"
    )
    return [*lines, "", told]


# of each block: what makes its lines, and what they are made from
BLOCKS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "demo": (demo_lines, "runs/demo"),
    "bench": (bench_lines, "bench/results/train.json"),
    "speed": (speed_lines, "bench/results"),
    "reach": (reach_lines, "bench/results"),
    "infer": (infer_lines, "bench/results"),
    "serve": (serve_lines, "bench/results"),
    "safety": (safety_lines, "bench/results/safety.json"),
    "refusals": (refusal_lines, "bench/results/refusals.json"),
    "faults": (fault_lines, "bench/results/faults.jsonl"),
}


def main() -> None:
    """Update the blocks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, (_, source) in BLOCKS.items():
        parser.add_argument(f"--{name}", type=Path, metavar=source)
    for name, path in vars(parser.parse_args()).items():
        if path is not None:
            replace_block(name, BLOCKS[name][0](path))


if __name__ == "__main__":
    main()
