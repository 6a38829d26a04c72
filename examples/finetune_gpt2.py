"""nanoGPT's fine-tune of GPT-2 on Shakespeare: measure, go on learning, measure again.

    python examples/finetune_gpt2.py --gpt2 openai-community/gpt2 --data input.txt

--gpt2 is a model's name on the hub, or a folder with the model; input.txt is tinyshakespeare. The
settings are those of nanoGPT's config/finetune_shakespeare.py: AdamW at a small rate that stays,
for 20 steps of 32 rows of 1,024 tokens. Everything is done by parrotlet's own commands, and each is
shown before it is run. The last tenth of the text is not learned from, and is what is measured.

Without arguments the same happens in small and offline: a GPT-2 of two blocks, which read a little
of the embedded world and was exported as others publish theirs, is given the world's stories.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from parrotlet.cli import main as parrotlet
from parrotlet.core.rundir import read_json, write_file
from parrotlet.world.entities import World
from parrotlet.world.show import samples

NANOGPT = """--context 1024 --steps 20 --batch-tokens 32768 --micro-tokens 1024 --optimizer adamw
    --matrix-lr 3e-5 --embedding-lr 3e-5 --scalar-lr 3e-5 --beta1 0.9 --weight-decay 0.1 --clip 1
    --warmup-steps 0 --cooldown 0"""
TOY = "--steps 40 --batch-tokens 1024 --optimizer adamw --matrix-lr 2e-3 --embedding-lr 2e-3"
TOY_SHAPE = "--arch gpt2 --depth 2 --width 64 --context 64 --vocab-size 512 --world-documents 2000"


def run(*words: str | Path) -> None:
    """One command, shown and run; SystemExit where it fails."""
    line = [str(word) for word in words]
    print("\n$ parrotlet", shlex.join(line), flush=True)
    if status := parrotlet(line):
        raise SystemExit(status)


def held_out_loss(model: Path, text: Path) -> float:
    """Nats a token of the model on a text."""
    run("eval", model, "bpb", "--data", text)
    loss: float = read_json(model / "eval-bpb.json")["validation_loss"]
    return loss


def small_gpt2(folder: Path) -> Path:
    """A small GPT-2 as others publish theirs."""
    run("pretrain", *TOY_SHAPE.split(), "--steps", "60", "--batch-tokens", "1024",
        "--runs", folder, "--name", "small")  # fmt: skip
    run("export", folder / "small", "--to", "hf", "--out", folder / "published")
    return folder / "published"


def finetune(gpt2: str | Path, text: Path, runs: Path, settings: Sequence[str]) -> list[float]:
    """The loss on what is held out, before and after."""
    words = text.read_text(encoding="utf-8")
    held = runs / "held-out.txt"
    write_file(held, words[int(0.9 * len(words)) :].encode())
    run("import", gpt2, "--runs", runs, "--name", "gpt2")
    before = held_out_loss(runs / "gpt2", held)
    run("pretrain", "--start", runs / "gpt2", "--data", text, *settings,
        "--runs", runs, "--name", "tuned", "--prompts", "ROMEO:")  # fmt: skip
    after = held_out_loss(runs / "tuned", held)
    run("sample", runs / "tuned", "ROMEO:", "--max-tokens", "50", "--seed", "1")
    print(f"\non held-out text: {before:.4f} nats a token before, {after:.4f} after")
    return [before, after]


def main() -> None:
    """With GPT-2 itself where it is named, in small otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpt2", help="a name on the hub, or a folder")
    parser.add_argument("--data", type=Path, help="the text; left out, stories of the world")
    parser.add_argument("--runs", type=Path, default=Path("runs/finetune_gpt2"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = arguments.data or folder / "stories.txt"
        if arguments.data is None:
            write_file(text, "\n\n".join(samples(World(0), "tale", 600)).encode())
        if arguments.gpt2 is None:
            finetune(small_gpt2(folder), text, folder, TOY.split())
        else:
            finetune(arguments.gpt2, text, arguments.runs, NANOGPT.split())


if __name__ == "__main__":
    main()
