"""One real server process for the tests that only ask it things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tiny_server import PATIENT, Running, float32, save_tiny, serving


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs: `tiny` was taught to answer, `raw` was not."""
    folder = tmp_path_factory.mktemp("runs")
    save_tiny(folder / "tiny")
    save_tiny(folder / "raw", "base", seed=1)
    return folder


@pytest.fixture(scope="session")
def server(runs: Path) -> Iterator[Running]:
    """Both of them, served; the first one is the default."""
    patience = ("--queue-timeout", str(PATIENT))
    with serving(*float32(runs / "tiny", runs / "raw", "--inspect", *patience)) as running:
        yield running


@pytest.fixture
def http(server: Running) -> Iterator[httpx2.Client]:
    """A plain client of that server."""
    with httpx2.Client(base_url=server.address, timeout=PATIENT) as client:
        yield client
