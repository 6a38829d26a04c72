"""Invariant 2 over ranks: two and four processes learn what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

SCRIPT = Path(__file__).parent / "two_ranks.py"


def learn(path: Path, ranks: int) -> list[dict[str, torch.Tensor]]:
    """One optimizer step with so many processes: what each found."""
    command = [sys.executable, str(SCRIPT), str(path)]
    if ranks > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        command = [sys.executable, *launcher, *command[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [safetensors.torch.load_file(f"{path}.{rank}") for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_learn_what_one_process_does(tmp_path: Path, ranks: int) -> None:
    (alone,) = learn(tmp_path / "alone", 1)
    together = learn(tmp_path / "together", ranks)
    assert all(int(each["stopped"]) == 1 for each in together)  # one rank's wish is everyone's
    for each in together:
        assert int(each["units"]) == int(alone["units"])
        assert torch.allclose(each["loss"], alone["loss"], atol=1e-5)
        for name, value in alone.items():
            if name.startswith("gradient/"):
                assert value.abs().max() > 0, name
                assert torch.allclose(each[name], value, atol=1e-5), name
            if name.startswith("weight/"):
                assert torch.equal(each[name], together[0][name]), name
                if value.ndim == 2 and "blocks." in name:  # Muon's, each rank's share of them
                    assert torch.allclose(each[name], value, atol=1e-4), name
