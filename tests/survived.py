"""How often a fault is made, and a line for each that was survived.

PARROTLET_FAULTS says how often: a few times where it is not set, `ci` in .ci/run, `full` in `make
faults`. Where PARROTLET_FAULTS_OUT names a file, every line is appended to it as JSON too;
docs/update_readme.py makes the README's table of it.
"""

from __future__ import annotations

import json
import os

LEVEL = os.environ.get("PARROTLET_FAULTS", "few")
FULL = LEVEL == "full"


def times(few: int, ci: int, full: int) -> int:
    """The count for today's level."""
    return {"few": few, "ci": ci, "full": full}[LEVEL]


def survived(fault: str, count: int, what: str) -> None:
    """Say that a fault was made `count` times, and that all was as it should be each time."""
    print(f"{fault}: {count:,} times {what}: survived")
    out = os.environ.get("PARROTLET_FAULTS_OUT")
    if out:
        with open(out, "a") as file:
            print(json.dumps({"fault": fault, "count": count, "what": what}), file=file)
