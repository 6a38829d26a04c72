"""bench/reach.py: the peer's numbers are read from its own file, its schedules are as it says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "reach.py"


@pytest.fixture
def reach() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reach", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reach"] = module
    spec.loader.exec_module(module)
    return module


def test_settings_are_read_from_the_peer(reach: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "base_train.py").write_text(
        'parser.add_argument("--run", type=str, default="dummy", help="a name")\n'
        'parser.add_argument("--matrix-lr", type=float, default=0.02, help="a rate")\n'
        'parser.add_argument("--warmup-steps", type=int, default=40, help="steps")\n'
        'parser.add_argument("--target-flops", type=float, default=-1.0, help="none")\n'
    )
    found = reach.settings(tmp_path)
    assert found == {"matrix_lr": 0.02, "warmup_steps": 40.0, "target_flops": -1.0}


def test_schedules(reach: ModuleType) -> None:
    known = {"warmup_steps": 40.0, "warmdown_ratio": 0.65, "final_lr_frac": 0.05}
    made = [reach.factors(step, 200, known) for step in range(200)]
    rates, momenta, decays = zip(*made, strict=True)
    assert rates[0] == 1 / 40 and rates[39] == rates[69] == 1.0
    assert rates[135] == pytest.approx(0.5 + 0.5 * 0.05) and rates[199] > 0.05
    assert momenta[0] == 0.85 and momenta[199] == pytest.approx(0.85 + 0.12 * 199 / 400)
    assert decays[0] == 1.0 and decays[100] == pytest.approx(0.5)
    late = reach.factors(900, 1000, known)  # the momentum goes down with the rate
    assert late[1] == pytest.approx(0.90 + 0.07 * 100 / 650)
