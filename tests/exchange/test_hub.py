"""Fetching from a hub: whole, pinned and checked files, or one sentence and no harm."""

from __future__ import annotations

import random
import socket
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Fault, Hub, git_sha1, serve

from parrotlet.core.errors import CheckpointError, ParrotletError, RunError, UsageError
from parrotlet.core.rundir import lock
from parrotlet.exchange import hub as hub_module
from parrotlet.exchange import hub_client
from parrotlet.exchange.hub import fetch_model

OLD, NEW = "a" * 40, "b" * 40
WEIGHTS = random.Random(0).randbytes(700_000)
FILES = {
    "config.json": b'{"model_type": "gpt2"}\n',
    "merges.txt": b"#version: 0.2\n" + b"a b\n" * 1000,
    "model.safetensors": WEIGHTS,
}
UNWANTED = {
    "pytorch_model.bin": b"a pickle",
    "modeling_evil.py": b"import os",
    "README.md": b"# words",
    "onnx/config.json": b"{}",
    "../../config.json": b"{}",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    model = Hub("ann/tiny", {OLD: FILES | UNWANTED, NEW: FILES | {"config.json": b"{}"}}, {})
    model.revisions = {"main": OLD, "v2": NEW}
    with serve(model) as served:
        yield served


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made, which take no time here; and no login of whoever runs the tests."""
    made: list[float] = []
    monkeypatch.setattr(hub_client.time, "sleep", made.append)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return made


def fetch(hub: Hub, into: Path, revision: str = "main") -> Path:
    return fetch_model(hub.name, into, revision=revision, endpoint=hub.address)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(hub: Hub, into: Path, revision: str = "main") -> str:
    """The one sentence in which fetching fails."""
    with pytest.raises(ParrotletError) as raised:
        fetch(hub, into, revision)
    assert raised.type in (CheckpointError, RunError, UsageError)
    message = str(raised.value)
    assert "\n" not in message and not message.endswith(".")
    return message


def test_whole_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    folder = fetch(hub, tmp_path)
    assert folder == tmp_path / "ann--tiny" / OLD
    assert contents(folder) == FILES
    assert set(tmp_path.rglob("*.*")) == set(folder.iterdir())


def test_every_file_is_of_the_commit_of_the_revision(hub: Hub, tmp_path: Path) -> None:
    assert contents(fetch(hub, tmp_path, "v2"))["config.json"] == b"{}"
    assert len(hub.paths("/resolve/")) == len(hub.paths(f"/resolve/{NEW}/")) == 3
    hub.revisions["v2"] = OLD  # the tag moves
    assert fetch(hub, tmp_path, "v2").name == OLD
    assert contents(fetch(hub, tmp_path, NEW))["config.json"] == b"{}", "a commit stays"


def test_what_is_there_is_checked_not_fetched(hub: Hub, tmp_path: Path) -> None:
    folder = fetch(hub, tmp_path)
    hub.requests.clear()
    fetch(hub, tmp_path)
    assert hub.paths("/resolve/") == []
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"?")
    (folder / "merges.txt").write_bytes(FILES["merges.txt"].upper())
    fetch(hub, tmp_path)
    assert contents(folder) == FILES
    assert len(hub.paths("/resolve/")) == 2


def test_cut_connection_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [Fault("/cdn/", cut=300_000), Fault("/cdn/", cut=200_000)]
    assert contents(fetch(hub, tmp_path)) == FILES
    assert hub.ranges("/cdn/") == [None, "bytes=300000-", "bytes=500000-"]


def test_stopped_download_goes_on_next_time(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [Fault("/cdn/", cut=100_000), Fault("/cdn/", cut=0, times=10)]
    said = refused(hub, tmp_path)
    assert "model.safetensors" in said and "run it again" in said
    assert not (tmp_path / "ann--tiny" / OLD / "model.safetensors").exists()
    hub.faults, hub.requests = [], []
    assert contents(fetch(hub, tmp_path)) == FILES
    assert hub.ranges("/cdn/") == ["bytes=100000-"]
    assert hub.paths("config.json") == []


def test_server_that_sends_the_whole_file_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [Fault("/cdn/", cut=300_000), Fault("/cdn/", whole=True)]
    assert contents(fetch(hub, tmp_path)) == FILES


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("where", ["/api/", "merges.txt", "/cdn/"])
def test_busy_for_a_while(
    hub: Hub, tmp_path: Path, waits: list[float], status: int, where: str
) -> None:
    hub.faults = [Fault(where, status=status, times=3)]
    assert contents(fetch(hub, tmp_path)) == FILES
    assert waits == [1, 2, 4]


@pytest.mark.parametrize("status", [429, 503])
def test_busy_for_ever(hub: Hub, tmp_path: Path, waits: list[float], status: int) -> None:
    hub.faults = [Fault("/cdn/", status=status, times=99)]
    said = refused(hub, tmp_path)
    assert str(status) in said and "run it again later" in said
    assert len(waits) == hub_client.ATTEMPTS - 1


def test_the_hub_says_how_long_to_wait(hub: Hub, tmp_path: Path, waits: list[float]) -> None:
    hub.faults = [Fault("/api/", status=429, headers={"Retry-After": "17"})]
    fetch(hub, tmp_path)
    assert waits == [17]
    hub.faults = [Fault("/api/", status=429, headers={"Retry-After": "3600"})]
    assert "3600 seconds" in refused(hub, tmp_path)
    assert waits == [17]


@pytest.mark.parametrize("where", ["/cdn/", "merges.txt"])
def test_wrong_hash(hub: Hub, tmp_path: Path, where: str) -> None:
    hub.faults = [Fault(where, flip=True)]
    assert "hash" in refused(hub, tmp_path)
    left = [path.name for path in (tmp_path / "ann--tiny" / OLD).iterdir()]
    assert not {"model.safetensors.part", "merges.txt.part"} & set(left)
    assert contents(fetch(hub, tmp_path)) == FILES


def test_more_than_was_said(hub: Hub, tmp_path: Path) -> None:
    hub.claims["merges.txt"] = {"size": 10}
    assert "hash" in refused(hub, tmp_path)


def test_hash_of_small_files_is_gits(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    known = "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    assert git_sha1(b"hello\n") == known
    remote = hub_module.RemoteFile(name="hello", size=6, sha256=None, blob=known)
    assert hub_module._is_whole(path, remote)


def test_the_login_stays_with_the_hub(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    sent = {path.split("/")[1]: headers for path, headers in hub.requests}
    assert sent["api"]["authorization"] == sent["ann"]["authorization"] == "Bearer hf_secret"
    assert "authorization" not in sent["cdn"], "redirected to another host"


def test_redirect_that_never_ends(hub: Hub, tmp_path: Path) -> None:
    loop = {"Location": f"{hub.address}/ann/tiny/resolve/{OLD}/config.json"}
    hub.faults = [Fault("config.json", status=302, headers=loop, times=99)]
    assert "redirect" in refused(hub, tmp_path)


@pytest.mark.parametrize(
    "fault, said",
    [
        (Fault("/api/", status=401), "no model ann/tiny"),
        (Fault("/api/", status=404, headers={"X-Error-Code": "RepoNotFound"}), "no model ann/tiny"),
        (Fault("/api/", status=403), "gated or forbidden"),
        (Fault("/resolve/", status=403, headers={"X-Error-Code": "GatedRepo"}), "gated"),
        (Fault("/resolve/", status=401, headers={"X-Error-Code": "GatedRepo"}), "gated"),
        (Fault("config.json", status=404, headers={"X-Error-Code": "EntryNotFound"}), "lists"),
        (Fault("/cdn/", status=410), "410"),
        (Fault("/api/", status=200), "as a hub does"),
    ],
    ids=str,
)
def test_refusals(hub: Hub, tmp_path: Path, waits: list[float], fault: Fault, said: str) -> None:
    fault.times = 99
    hub.faults = [fault]
    assert said in refused(hub, tmp_path)
    assert waits == [], "no hope, no second attempt"
    fault.times = 0


def test_other_names(hub: Hub, tmp_path: Path) -> None:
    assert "no revision 'v9'" in refused(hub, tmp_path, "v9")
    for name in ("../../etc", "a/b/c", "", "ann/", "/ann", "ann/t iny", "ann/a--b"):
        with pytest.raises(ParrotletError):
            fetch_model(name, tmp_path, endpoint=hub.address)
    with pytest.raises(UsageError, match="--endpoint"):
        fetch_model("ann/tiny", tmp_path, endpoint="example.org")
    with pytest.raises(CheckpointError, match="no model ann/other"):
        fetch_model("ann/other", tmp_path, endpoint=hub.address)


def test_nobody_there(tmp_path: Path, waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CheckpointError, match=f"127.0.0.1:{port}"):
        fetch_model("ann/tiny", tmp_path, endpoint=f"http://127.0.0.1:{port}")


def test_no_space_is_known_before(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")(len(WEIGHTS))
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda path: usage)
    said = refused(hub, tmp_path)
    needed = sum(map(len, FILES.values()))
    assert f"{needed:,}" in said and f"{len(WEIGHTS):,}" in said
    assert hub.paths("/resolve/") == []


def test_disk_that_fills_up(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub_module, "_receive", full)
    assert "No space left on device" in refused(hub, tmp_path)


@pytest.mark.parametrize(
    "files, said",
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"?"}, "pytorch_model.bin"),
        ({"config.json": b"{}"}, "no safetensors"),
        ({"model.safetensors": b"?"}, "config.json"),
    ],
)
def test_models_that_cannot_be_used(
    hub: Hub, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    hub.files[OLD] = files
    assert said in refused(hub, tmp_path)
    assert hub.paths("/resolve/") == []


def test_shards(hub: Hub, tmp_path: Path) -> None:
    shards = {
        "config.json": b"{}",
        "model.safetensors.index.json": b'{"weight_map": {}}',
        "model-00001-of-00002.safetensors": WEIGHTS[:1000],
        "model-00002-of-00002.safetensors": WEIGHTS[1000:3000],
    }
    hub.files[OLD] = shards | {"consolidated.safetensors": b"the same again"}
    assert contents(fetch(hub, tmp_path)) == shards


def test_file_without_hash(hub: Hub, tmp_path: Path) -> None:
    hub.claims["merges.txt"] = {"blobId": None}
    assert "merges.txt" in refused(hub, tmp_path)


def test_one_at_a_time(hub: Hub, tmp_path: Path) -> None:
    with lock(tmp_path / "ann--tiny"):
        assert "in use" in refused(hub, tmp_path)


def test_says_what_it_does(hub: Hub, tmp_path: Path) -> None:
    lines: list[str] = []
    fetch_model("ann/tiny", tmp_path, endpoint=hub.address, say=lines.append)
    assert OLD in lines[0] and any("700,000 bytes" in line for line in lines)


def test_large_files_say_how_far_they_are(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "LARGE", 500_000)
    lines: list[str] = []
    fetch_model("ann/tiny", tmp_path, endpoint=hub.address, say=lines.append)
    told = [line for line in lines if line.endswith("%")]
    assert told[-1] == "model.safetensors: 100%" and len(told) <= 10


def test_empty_files(hub: Hub, tmp_path: Path) -> None:
    hub.files[OLD] = FILES | {"added_tokens.json": b""}
    assert contents(fetch(hub, tmp_path)) == hub.files[OLD]


def test_offline(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(hub, tmp_path)
    assert hub.requests == []


def test_package_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"parrotlet\[hub\]"):
        fetch_model("ann/tiny", tmp_path)
