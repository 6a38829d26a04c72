"""The set-up's plan and stamp, with nothing installed: pip is replaced by a list of answers."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from parrotlet import bootstrap
from parrotlet.bootstrap import CPU_INDEX, Facts, Phase, SetupError

FACTS = Facts(
    system="Linux", has_driver=False, has_venv=True, was_killed=False, torch="9.9.9", extras=()
)
PYPROJECT = '[project]\nname = "x"\n[project.optional-dependencies]\ndev = ["pytest"]\nweb = []\n'
ENTRY_POINTS = ("__init__.py", "__main__.py", "bootstrap.py", "bootstrap_plan.py")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "constraints.txt").write_text("# pins\ntorchvision==1.0\ntorch==9.9.9  # why\n")
    return tmp_path


class FakeCommands:
    """Stands in for bootstrap._run: records commands, answers with what `fails` says."""

    def __init__(self, root: Path, fails: dict[str, str] | None = None) -> None:
        self.root, self.fails = root, fails or {}
        self.seen: list[tuple[str, ...]] = []

    def __call__(self, command: tuple[str, ...]) -> tuple[int, str]:
        self.seen.append(command)
        if "venv" in command:
            python = bootstrap.venv_python(self.root)
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        for part, output in self.fails.items():
            if part in command:
                return 1, output
        return 0, ""


def torch_commands(facts: Facts) -> tuple[tuple[str, ...], ...]:
    (phase,) = [each for each in bootstrap.plan(facts, Path("/clone")) if "PyTorch" in each.title]
    return phase.commands


def test_linux_without_driver_tries_the_cpu_index_first() -> None:
    quick, patient, plain = torch_commands(FACTS)
    assert CPU_INDEX in quick and "--no-deps" in quick and quick[-1] == "0"
    assert CPU_INDEX in patient and "--retries" not in patient
    assert not any("pytorch.org" in word for word in plain)
    assert all("torch==9.9.9" in command for command in (quick, patient, plain))


@pytest.mark.parametrize(
    "facts",
    [
        FACTS._replace(has_driver=True),
        FACTS._replace(system="Darwin"),
        FACTS._replace(system="Windows"),
    ],
)
def test_elsewhere_pip_chooses_the_build(facts: Facts) -> None:
    (command,) = torch_commands(facts)
    assert "torch==9.9.9" in command and CPU_INDEX not in command


def test_venv_is_made_only_where_it_is_missing_or_half_made() -> None:
    titles = {
        (has_venv, killed): bootstrap.plan(
            FACTS._replace(has_venv=has_venv, was_killed=killed), Path("/clone")
        )[0].title
        for has_venv in (True, False)
        for killed in (True, False)
    }
    assert titles[True, False] == "installing setuptools"
    assert titles[False, False] == "creating .venv"
    assert titles[True, True] == titles[False, True]
    assert "interrupted" in titles[True, True]


def test_every_install_is_constrained_and_extras_are_named() -> None:
    phases = bootstrap.plan(FACTS._replace(extras=("dev", "serve")), Path("/clone"))
    assert phases[-1].commands[0][-1] == f"{Path('/clone')}[dev,serve]"
    for phase in phases:
        for command in phase.commands:
            assert "--constraint" in command or "torch==9.9.9" in command
            assert "--no-user" in command


def test_unreachable_index_falls_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeCommands(Path("/clone"), {CPU_INDEX: f"ERROR: {bootstrap.NOT_FOUND} for torch"})
    monkeypatch.setattr(bootstrap, "_run", run)
    bootstrap.run_phase(Phase("installing PyTorch", torch_commands(FACTS)))
    quick, _, plain = torch_commands(FACTS)
    assert run.seen == [quick, plain]


def test_broken_download_is_tried_again_before_the_large_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = FakeCommands(Path("/clone"), {"--retries": "ERROR: ReadTimeoutError"})
    monkeypatch.setattr(bootstrap, "_run", run)
    bootstrap.run_phase(Phase("installing PyTorch", torch_commands(FACTS)))
    assert run.seen == list(torch_commands(FACTS)[:2])


def test_failure_shows_the_end_of_the_output_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = "\n".join(f"line {number}" for number in range(100))
    monkeypatch.setattr(bootstrap, "_run", FakeCommands(Path("/clone"), {"pip": output}))
    with pytest.raises(SetupError) as caught:
        bootstrap.run_phase(Phase("installing X", (("python", "-m", "pip"),)))
    lines = str(caught.value).splitlines()
    assert lines[0] == "  line 85" and lines[-2] == "  line 99"
    assert "failed while installing X" in lines[-1] and "again" in lines[-1]


def test_second_run_does_nothing(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeCommands(clone)
    monkeypatch.setattr(bootstrap, "_run", run)
    assert bootstrap.ensure(clone, ()) == bootstrap.venv_python(clone)
    assert len(run.seen) == 4  # venv, setuptools, torch, the package
    started = time.monotonic()
    bootstrap.ensure(clone, ())
    assert len(run.seen) == 4
    assert time.monotonic() - started < 0.3


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(
    clone: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(bootstrap, "_run", FakeCommands(clone))
    bootstrap.ensure(clone, ())
    with open(clone / name, "a") as file:
        file.write("# changed\n")
    assert not bootstrap.is_ready(clone, ())


def test_extras_are_kept(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeCommands(clone)
    monkeypatch.setattr(bootstrap, "_run", run)
    bootstrap.ensure(clone, ())
    assert not bootstrap.is_ready(clone, ("dev",))
    bootstrap.ensure(clone, ("dev",))
    assert bootstrap.is_ready(clone, ()) and bootstrap.is_ready(clone, ("dev",))
    (clone / "constraints.txt").write_text("torch==9.9.10\n")
    bootstrap.ensure(clone, ())
    assert run.seen[-1][-1].endswith("[dev]")


@pytest.mark.parametrize(
    ("terminal", "serve", "wanted"),
    [(True, None, ("web",)), (True, "0", ()), (False, None, ())],
)
def test_a_demo_brings_the_page_where_it_will_be_opened(
    clone: Path,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    serve: str | None,
    wanted: tuple[str, ...],
) -> None:
    monkeypatch.setattr(bootstrap, "_run", FakeCommands(clone))
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal)
    monkeypatch.delenv("SERVE", raising=False)
    if serve is not None:
        monkeypatch.setenv("SERVE", serve)
    bootstrap.ensure_for_demo(clone)
    assert bootstrap.installed_extras(clone) == wanted


def test_a_demo_does_without_a_page_that_cannot_be_installed(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeCommands(clone, {f"{clone}[web]": "no network"})
    monkeypatch.setattr(bootstrap, "_run", run)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.delenv("SERVE", raising=False)
    bootstrap.ensure_for_demo(clone)
    assert bootstrap.is_ready(clone, ()) and not bootstrap.is_ready(clone, ("web",))
    assert "the chat will be in the terminal" in capsys.readouterr().err


def test_torn_stamp_or_lost_python_is_not_ready(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_run", FakeCommands(clone))
    bootstrap.ensure(clone, ())
    stamp = clone / ".venv" / "parrotlet-stamp.json"
    whole = stamp.read_text()
    for torn in ("", whole[: len(whole) // 2], "[]"):
        stamp.write_text(torn)
        assert not bootstrap.is_ready(clone, ())
    stamp.write_text(whole)
    assert bootstrap.is_ready(clone, ())
    bootstrap.venv_python(clone).unlink()
    assert not bootstrap.is_ready(clone, ())


def test_killed_set_up_starts_afresh_and_failed_one_goes_on(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """What a kill looks like from inside."""

    def kill(command: tuple[str, ...]) -> tuple[int, str]:
        raise Killed

    run = FakeCommands(clone, {"setuptools": "no network"})
    monkeypatch.setattr(bootstrap, "_run", run)
    with pytest.raises(SetupError):
        bootstrap.ensure(clone, ())
    run.fails = {}
    assert not bootstrap.gather_facts(clone, ()).was_killed

    bootstrap.ensure(clone, ())
    with open(clone / "constraints.txt", "a") as file:
        file.write("numpy==1.0\n")
    monkeypatch.setattr(bootstrap, "run_phase", kill)
    with pytest.raises(Killed):
        bootstrap.ensure(clone, ())
    assert not bootstrap.is_ready(clone, ())
    assert bootstrap.gather_facts(clone, ()).was_killed


def test_ctrl_c_is_one_sentence_and_the_next_run_starts_afresh(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(command: tuple[str, ...]) -> tuple[int, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "_run", interrupt)
    with pytest.raises(SetupError, match="interrupted; the same command starts it afresh"):
        bootstrap.ensure(clone, ())
    monkeypatch.setattr(bootstrap, "_run", FakeCommands(clone))
    assert bootstrap.gather_facts(clone, ()).was_killed
    bootstrap.ensure(clone, ())
    assert bootstrap.is_ready(clone, ()) and not bootstrap.gather_facts(clone, ()).was_killed


def test_unknown_extra_is_refused_before_anything_is_made(clone: Path) -> None:
    told = r"--extras foo is not in pyproject\.toml; there are: dev, web"
    with pytest.raises(SetupError, match=told):
        bootstrap.ensure(clone, ("foo",))
    assert not (clone / ".venv").exists()


def test_missing_venv_module_is_one_sentence(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="python3-venv") as caught:
        bootstrap.ensure(clone, ())
    assert "\n" not in str(caught.value)


def test_old_python_is_told_so() -> None:
    with pytest.raises(SetupError, match=r"needs Python 3\.11 or later and this is 3\.9;"):
        bootstrap.check_python((3, 9, 18))
    bootstrap.check_python((3, 11, 0))


def test_old_python_can_read_the_entry_points() -> None:
    package = Path(bootstrap.__file__).parent
    for name in ENTRY_POINTS:
        source = (package / name).read_text(encoding="utf-8")
        ast.parse(source, feature_version=(3, 7))
        assert "from __future__ import annotations" not in source  # Python 3.6 has none


def test_entry_points_need_no_third_party_package() -> None:
    """With site-packages shut off, the module starts, and a verb tells what to run first."""
    root = bootstrap.ROOT
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _ISOLATED, str(root)], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "is not installed; run `make demo`" in done.stderr


_ISOLATED = """
import sys
sys.path.insert(0, sys.argv.pop())
sys.argv[1:] = ["chat"]
import parrotlet.__main__ as entry
entry.bootstrap.is_ready = lambda root, extras: False
sys.exit(entry.main())
"""


def test_constraints_pin_every_dependency_exactly() -> None:
    """Whatever pyproject.toml asks for, directly or not, has one line with one version."""
    text = (bootstrap.ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 and "*" not in line for line in pins)
    pinned = {canonicalize_name(line.split("==")[0]) for line in pins}
    with open(bootstrap.ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    waiting = [Requirement(each) for each in project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        waiting += map(Requirement, extra)
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == project["name"]:  # an extra that takes in another one
            continue
        assert name in pinned, f"{name} is not in constraints.txt"
        if name in seen:
            continue
        seen.add(name)
        try:
            needs = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            needs = ()  # of an extra that developers do without
        for text in needs:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed)
    assert len(seen) > 20


def test_pinned_reads_one_name() -> None:
    assert bootstrap.pinned("torchvision==1\ntorch==2.1 ; x  # y\n", "torch") == "2.1"
    with pytest.raises(SetupError, match="does not pin absent"):
        bootstrap.pinned("torch==2.1", "absent")
