"""The README says what is there: every file in the map, every verb and flag it names."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from parrotlet.cli import VERBS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_WORDS = 8


def mapped() -> dict[str, str]:
    """{module path: purpose} as the map has it."""
    found, folder = {}, ""
    text = README.split("## The map")[1].split("\n\n", 1)[1].split("\n\n", 1)[0]
    for line in text.splitlines():
        name, _, purpose = line.strip().partition(" ")
        if line.startswith("      "):
            found[folder + name] = purpose.strip()
        elif name.endswith("/"):
            folder = name
        else:
            found[name] = purpose.strip()
            folder = ""
    return found


def test_every_file_is_in_the_map_and_nothing_else() -> None:
    package = ROOT / "parrotlet"
    there = {
        path.relative_to(package).with_suffix("").as_posix()
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert set(mapped()) == there


def test_purposes_are_short() -> None:
    for name, purpose in mapped().items():
        assert 1 <= len(purpose.split()) <= MOST_WORDS, name


def commands() -> list[list[str]]:
    """Every parrotlet command of the README, as words."""
    lines = re.findall(r"^    (?:torchrun .* -m )?parrotlet (.*)$", README, flags=re.MULTILINE)
    return [line.split("  ")[0].split() for line in lines]


def test_there_are_commands() -> None:
    assert {"pretrain", "sample", "sft", "chat", "resume"} <= {words[0] for words in commands()}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist_with_their_flags(words: list[str]) -> None:
    assert words[0] in VERBS
    said = subprocess.run(
        [sys.executable, "-m", "parrotlet", words[0], "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for flag in (word for word in words if word.startswith("--")):
        assert flag in said


def update_readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("update_readme", ROOT / "docs/update_readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [each for each in update_readme().BLOCKS if each != "demo"])
def test_figures_are_those_of_the_files_they_come_from(name: str) -> None:
    """Of a demo's run nothing is kept here, so its block is left out."""
    make, source = update_readme().BLOCKS[name]
    block = re.search(rf"<!-- begin {name}: [^>]*-->\n(.*?)<!-- end {name} -->", README, re.DOTALL)
    assert block is not None and block[1].splitlines() == make(ROOT / source)


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        if target not in ("and",):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
