"""Shared set-up: one thread, shapes checked in every call, real data where it is at hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
install_import_hook(
    ["parrotlet.model", "parrotlet.data.batch", "parrotlet.train.losses", "parrotlet.engine"],
    "beartype.beartype",
)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public data named by PARROTLET_TEST_DATA; skips where it is not set."""
    named = os.environ.get("PARROTLET_TEST_DATA", "")
    if not named:
        pytest.skip("PARROTLET_TEST_DATA is not set: no real data to test on")
    path = Path(named)
    if not path.is_dir():
        pytest.fail(f"PARROTLET_TEST_DATA is {named}, which is not a folder")
    return path
