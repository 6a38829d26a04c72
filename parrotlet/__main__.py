"""`python -m parrotlet VERB`: the command line, also from a clone with nothing installed.

There, `demo` first makes `.venv`; once it is there, every verb runs itself again inside it.
"""

import importlib.util
import os
import subprocess
import sys
from typing import NoReturn

from parrotlet import bootstrap
from parrotlet.bootstrap_plan import SetupError, venv_python

NEEDED = ("torch", "numpy", "tyro", "rich", "tiktoken", "rustbpe", "safetensors")


def main() -> int:
    """Run the command line, in `.venv` where this Python lacks what it needs; the exit status."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    is_clone = (bootstrap.ROOT / "pyproject.toml").exists()
    try:
        bootstrap.check_python(sys.version_info[:2])
        if missing and is_clone:
            _run_inside(missing)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    from parrotlet.cli import main as command_line  # imports what may have been missing

    return command_line()


def _run_inside(missing: "list[str]") -> NoReturn:
    """Run this command in `.venv`, which only `demo` makes."""
    root = bootstrap.ROOT
    if os.path.abspath(sys.prefix) == str(root / ".venv"):
        raise SetupError(
            f"{missing[0]} is missing from .venv; delete that folder and run `make demo` or "
            "`python -m parrotlet demo` again"
        )
    if sys.argv[1:2] == ["demo"]:
        bootstrap.ensure_for_demo(root)
    elif not bootstrap.is_ready(root, ()):
        raise SetupError(
            f"{missing[0]} is not installed; run `make demo` or `python -m parrotlet demo` first"
        )
    command = [str(venv_python(root)), "-m", "parrotlet"] + sys.argv[1:]
    if os.name == "nt":  # there, exec would come back before the new process ends
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
