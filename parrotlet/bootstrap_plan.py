"""What a set-up would do on a machine: commands, none of which is run here.

As bootstrap.py, it keeps to the standard library and the syntax of Python 3.6.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
QUIET = ("--quiet", "--no-input", "--disable-pip-version-check")
# A "user = true" in pip.conf would fail. Compiling every file is most of the work of installing
# PyTorch (LOG.md); Python compiles those that are imported, once.
INSTALL = ("-m", "pip", "install", "--no-user", "--no-compile") + QUIET


class SetupError(Exception):
    """The set-up cannot go on; the message is for a person."""


class Facts(NamedTuple):
    """What the plan depends on."""

    system: str  # platform.system(): Linux, Darwin, Windows
    has_driver: bool  # an NVIDIA driver is installed
    has_venv: bool  # .venv holds a Python that runs pip
    was_killed: bool  # an earlier set-up was killed half-way
    torch: str  # the pinned version
    extras: "tuple[str, ...]"


class Phase(NamedTuple):
    """One line of progress; `commands` are alternatives, tried in order until one succeeds."""

    title: str
    commands: "tuple[tuple[str, ...], ...]"


def venv_python(root: Path) -> Path:
    """Where the Python of `.venv` is, or will be."""
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return root / ".venv" / inside


def pinned(constraints: str, name: str) -> str:
    """The version that constraints.txt pins for `name`."""
    for line in constraints.splitlines():
        if line.startswith(name + "=="):
            return line[len(name) + 2 :].split(";")[0].split("#")[0].strip()
    raise SetupError(f"constraints.txt does not pin {name}; restore it with git checkout")


def plan(facts: Facts, root: Path) -> "list[Phase]":
    """The phases of a set-up. A command's first word is the Python that runs it."""
    python = str(venv_python(root))
    constrained = ("--constraint", str(root / "constraints.txt"))
    phases = []
    if facts.was_killed or not facts.has_venv:
        why = " afresh, since the last set-up was interrupted" if facts.was_killed else ""
        make = (sys.executable, "-m", "venv", "--clear", str(root / ".venv"))
        phases.append(Phase(f"creating .venv{why}", (make,)))
    build_tool = (python,) + INSTALL + constrained + ("setuptools",)
    phases.append(Phase("installing setuptools", (build_tool,)))
    phases.append(_torch_phase(facts, (python,) + INSTALL, constrained))
    target = str(root) + ("[{}]".format(",".join(facts.extras)) if facts.extras else "")
    package = ("--no-build-isolation", "--editable", target)  # builds with the pinned setuptools
    phases.append(
        Phase("installing parrotlet and the rest", ((python,) + INSTALL + constrained + package,))
    )
    return phases


def _torch_phase(facts: Facts, install: "tuple[str, ...]", constrained: "tuple[str, ...]") -> Phase:
    """PyTorch, without its CUDA libraries (gigabytes) where they would be of no use."""
    torch = f"torch=={facts.torch}"
    plain = install + constrained + (torch,)
    if facts.system != "Linux" or facts.has_driver:  # elsewhere pip's own choice is right
        return Phase(f"installing PyTorch {facts.torch}", (plain,))
    # The index carries few other packages, and other versions of them: they come afterwards.
    patient = install + ("--no-deps", "--index-url", CPU_INDEX, torch)
    quick = patient + ("--timeout", "5", "--retries", "0")
    return Phase(f"installing PyTorch {facts.torch}, CPU build", (quick, patient, plain))
