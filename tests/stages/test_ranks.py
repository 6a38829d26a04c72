"""Stages over several processes: the same run, and one rank's end is everyone's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from survived import survived, times

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import RECIPE, read_json
from parrotlet.train.checkpoint import find

SCRIPT = Path(__file__).parent / "several_ranks.py"
WATCHDOG = 240  # seconds; a hang, not a slow machine
pytestmark = pytest.mark.timeout(times(1_200, 2_400, 36_000))  # seconds, of a test
STEPS = 6


def launch(ranks: int, *arguments: object, module: str = "") -> subprocess.CompletedProcess[str]:
    """The script, or a module, in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    target = ["-m", module] if module else [str(SCRIPT)]
    return subprocess.run(
        [sys.executable, *(launcher if ranks > 1 else []), *target, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=WATCHDOG,
    )  # fmt: skip


def losses(run: Path) -> list[float]:
    return [each["loss"] for each in JsonLines(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages in one process."""
    runs = tmp_path_factory.mktemp("alone")
    done = launch(1, runs, "base,sft")
    assert done.returncode == 0, done.stderr
    return runs


def test_two_stages_in_one_process_a_rank(alone: Path, tmp_path: Path) -> None:
    done = launch(2, tmp_path, "base,sft")
    assert done.returncode == 0, done.stderr
    for name in ("base", "sft"):
        assert losses(tmp_path / name) == pytest.approx(losses(alone / name), rel=1e-5)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4)])
def test_f11_stopped_on_some_ranks_and_gone_on_with_on_others(
    alone: Path, tmp_path: Path, before: int, after: int
) -> None:
    """SIGTERM to one rank stops all of them after the same step."""
    done = launch(before, tmp_path, "base", "term", 3)
    assert done.returncode == 0, done.stderr
    assert find(tmp_path / "base").step == 3
    assert len(losses(tmp_path / "base")) == 3
    done = launch(after, tmp_path, "base")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "base") == pytest.approx(losses(alone / "base"), rel=1e-5)
    assert find(tmp_path / "base").step == STEPS
    survived("F11", 1, f"stopped on {before} ranks and gone on with on {after}: the same losses")


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
def test_f10_a_rank_that_is_killed_ends_all_and_the_run_goes_on(
    alone: Path, tmp_path: Path
) -> None:
    for _ in range(count := times(1, 10, 100)):
        done = launch(2, tmp_path, "base", "kill", 4)
        assert done.returncode != 0
        assert len(losses(tmp_path / "base")) < STEPS
    done = launch(2, tmp_path, "base")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "base") == pytest.approx(losses(alone / "base"), rel=1e-5)
    survived("F10", count, "one of two ranks killed: all ended, the run went on")


def test_ranks_that_cannot_share_the_rows_say_so(alone: Path) -> None:
    assert read_json(alone / "base" / RECIPE)["rows_per_step"] == 8
    done = launch(3, alone, "base")
    assert done.returncode == 1
    assert "8 rows in a step, which 3 ranks cannot share" in done.stderr


@pytest.mark.parametrize(
    ("misfortune", "said"), [("fail", "rank 1: the last rank failed"), ("full", "no space left")]
)
def test_one_rank_that_fails_ends_all_with_one_sentence(
    tmp_path: Path, misfortune: str, said: str
) -> None:
    done = launch(2, tmp_path, "base", misfortune, 3)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("Traceback") == 1, done.stderr  # torchrun's own, of its launcher


def test_a_mistake_is_told_by_one_rank(tmp_path: Path) -> None:
    command = ["pretrain", "--recipe", "smoke", "--device", "cpu", "--runs", tmp_path]
    done = launch(2, *command, "--data", tmp_path / "typo.txt", module="parrotlet")
    assert done.returncode == 1
    assert done.stderr.count("parrotlet: ") == 1, done.stderr
    assert done.stderr.count("does not exist") == 1, done.stderr


def test_a_demo_refuses_ranks(tmp_path: Path) -> None:
    done = launch(2, "demo", "--recipe", "smoke", "--runs", tmp_path, module="parrotlet")
    assert done.stderr.count("a demo is one process") == 1, done.stderr
    assert not list(tmp_path.iterdir())
