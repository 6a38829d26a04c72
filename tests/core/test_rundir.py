"""Writing whole or not at all, names that stay inside, one process at a time."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parrotlet.core import rundir
from parrotlet.core.errors import RunError
from parrotlet.core.rundir import (
    STEP,
    check_name,
    finish_file,
    growing_file,
    lock,
    part_of,
    read_json,
    step_name,
    write_file,
    write_json,
)

OLD, NEW = b"old bytes\n", b"new and longer bytes\n"
STEPS = 4  # fsync of the file, rename, and on a POSIX system open and fsync of the folder


class Killed(BaseException):
    """The process ends here: no handler of ours may clean up after it."""


def fail_at(
    monkeypatch: pytest.MonkeyPatch, number: int, error: Callable[[], BaseException]
) -> list[str]:
    """Let the call `number` (from 1) to os.fsync, os.replace or os.open raise; lists the calls."""
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                raise error()
            return original(*arguments, **options)

        return call

    for name in ("fsync", "replace", "open"):
        monkeypatch.setattr(rundir.os, name, counted(name))
    return calls


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_order_is_flush_rename_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes reach the disk before the name does, and the name before the function returns."""
    calls = fail_at(monkeypatch, 0, full_disk)
    write_file(tmp_path / "file", NEW)
    expected = ["fsync", "replace", "open", "fsync"]
    assert calls == (expected[:2] if os.name == "nt" else expected)


@pytest.mark.parametrize("number", range(1, STEPS + 1))
def test_failure_leaves_old_or_new_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    write_file(path, OLD)
    fail_at(monkeypatch, number, full_disk)
    with pytest.raises(RunError) as caught:
        write_file(path, NEW)
    assert str(path) in str(caught.value) and "No space left on device" in str(caught.value)
    assert path.read_bytes() == (OLD if number <= 2 else NEW)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("number", range(1, STEPS + 1))
def test_kill_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    write_file(path, OLD)
    with monkeypatch.context() as patch:
        fail_at(patch, number, Killed)
        with pytest.raises(Killed):
            write_file(path, NEW)
    assert path.read_bytes() == (OLD if number <= 2 else NEW)
    write_file(path, NEW)  # what lies about does not disturb the next one
    assert path.read_bytes() == NEW


def test_failing_write_of_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full already, there is no temporary file to be cleaned up."""

    def refuse(*arguments: object) -> None:
        raise full_disk()

    path = tmp_path / "file"
    write_file(path, OLD)
    monkeypatch.setattr(rundir, "open", refuse, raising=False)
    with pytest.raises(RunError, match="No space left"):
        write_file(path, NEW)
    assert path.read_bytes() == OLD and names(tmp_path) == ["file"]


def test_folders_are_made_and_obstacles_named(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b" / "file", NEW)
    assert (tmp_path / "a" / "b" / "file").read_bytes() == NEW
    for path in (tmp_path / "a" / "b" / "file" / "below", tmp_path / "a"):
        with pytest.raises(RunError, match=r"cannot write .*; (choose|a folder)") as caught:
            write_file(path, NEW)
        assert str(path) in str(caught.value)
        assert "free some space" not in str(caught.value)
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EISDIR, "a folder of that name is in the way"),
        (errno.EROFS, "choose a folder that can be written"),
        (errno.EACCES, "choose a folder that can be written"),
    ],
)
def test_advice_by_what_went_wrong(number: int, advice: str) -> None:
    assert rundir.advice_for(OSError(number, os.strerror(number))).startswith(advice)


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"name": "Papagei 🦜", "list": [1, 2.5, None, True]}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert text.endswith("}\n") and "🦜" in text and json.loads(text) == value


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"nonsense"])
def test_json_that_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"value\.json cannot be read as JSON"):
        read_json(path)


def test_json_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"value\.json does not exist"):
        read_json(tmp_path / "value.json")
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path)


@pytest.mark.parametrize("name", ["a", "7", "demo", "Run_2.final-3", "x" * 128])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../up", "a/b", "/etc", "a\\b", "..\\up", "C:", ".hidden", "-flag", "_x",
        "a b", "a\n", "\na", "a\0", "naïve", "٣", "a:b", "a*", "~", "$HOME", "x" * 129,
    ],
)  # fmt: skip
def test_bad_names(name: str) -> None:
    with pytest.raises(RunError, match="cannot name a run") as caught:
        check_name(name)
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)


def test_step_names_sort_and_come_back() -> None:
    found = [STEP.fullmatch(step_name(step)) for step in (0, 7, 999_999, 1_000_000)]
    assert [match and int(match[1]) for match in found] == [0, 7, 999_999, 1_000_000]
    assert step_name(99) < step_name(100)
    assert not STEP.fullmatch("step_000123.tmp-1")


HOLD = """
import sys
from pathlib import Path
from parrotlet.core.rundir import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_keeps_another_process_out_until_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="is in use by another process"), lock(tmp_path):
            pass
        holder.kill()
    with lock(tmp_path), pytest.raises(RunError, match="in use"), lock(tmp_path):
        pass
    with lock(tmp_path):  # let go of at the end of the block
        pass


def test_whoever_holds_the_lock_clears_away_what_a_killed_process_left(tmp_path: Path) -> None:
    killed = "import os, sys; from pathlib import Path; from parrotlet.core import rundir\n"
    killed += "os.replace = lambda *_: os._exit(9)\n"
    killed += "rundir.write_file(Path(sys.argv[1]) / 'samples.jsonl', b'half')"
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path)]).returncode == 9
    assert len(list(tmp_path.glob("*.tmp-*"))) == 1
    (tmp_path / ".other.tmp-1-ab").mkdir()  # an export under way
    with lock(tmp_path):
        assert [each.name for each in tmp_path.glob("*.tmp-*")] == [".other.tmp-1-ab"]


@pytest.mark.skipif(sys.platform == "win32", reason="another call locks there")
def test_a_disk_without_locks_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    wanted = pytest.raises(RunError, match=r"cannot lock .*No locks available; choose")
    with wanted as caught, lock(tmp_path):
        pass
    assert "in use" not in str(caught.value)


def test_lock_is_let_go_of_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "new" / "run"):
        raise ZeroDivisionError
    with lock(tmp_path / "new" / "run"):
        pass


def test_lock_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write in"), lock(tmp_path / "file" / "run"):
        pass


def test_file_that_grows_in_several_attempts(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "large"
    with pytest.raises(Killed), growing_file(path) as file:
        file.write(OLD)
        raise Killed
    assert not path.exists()
    with growing_file(path) as file:
        assert file.tell() == len(OLD)
        file.write(NEW)
    assert part_of(path).read_bytes() == OLD + NEW
    finish_file(path)
    assert path.read_bytes() == OLD + NEW
    assert [each.name for each in path.parent.iterdir()] == ["large"]
