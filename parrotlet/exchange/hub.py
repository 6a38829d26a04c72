"""A model fetched by name from the Hugging Face hub, or from any server that speaks its protocol.

The revision is first resolved to a commit and every file is taken from that commit. Files grow as
NAME.part, so that a download that was cut goes on where it was; a file gets its name only when its
size and hash are those the hub gives. Only weights in safetensors, configurations and tokenizers
are fetched: never pickles, never code.

huggingface_hub gives the metadata, the session and the login. Its own download of files is not
used: it forgets what it has when a process ends, and does not check hashes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parrotlet.core.errors import CheckpointError, RunError, UsageError
from parrotlet.core.rundir import finish_file, growing_file, lock, part_of
from parrotlet.exchange.hub_client import HubClient

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
PICKLE = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LARGE = 20_000_000  # bytes; of larger files every tenth is told
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a commit: what the hub says its content is."""

    name: str
    size: int  # bytes
    sha256: str | None  # of large files
    blob: str | None  # git's sha1 of others


def fetch_model(
    name: str,
    directory: Path,
    *,
    revision: str = "main",
    endpoint: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """The folder under `directory` with the model `name` ("owner/model") at `revision`.

    `revision` is a branch, a tag or a commit; `endpoint` a hub's address, by default the one that
    huggingface_hub knows. UsageError for a name that cannot be one, RunError where there is no
    space (known before the download starts) or nothing can be written, CheckpointError for what
    the hub refuses, lacks or breaks: run it again and it goes on.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a model on the hub; write owner/model")
    client = HubClient(name, revision, endpoint)
    info = client.model_info()
    commit = str(info.sha)
    if not COMMIT.fullmatch(commit):
        raise CheckpointError(
            f"{client.address} names no commit for {name}; try another --endpoint"
        )
    files = wanted_files(name, info.siblings)
    folder = directory / name.replace("/", "--") / commit
    say(f"{name} at {revision} is commit {commit}, to {folder}")
    try:
        with lock(folder.parent):
            missing = [file for file in files if not _is_whole(folder / file.name, file)]
            _check_space(folder, missing)
            for file in missing:
                say(f"{file.name}: {file.size:,} bytes")
                _fetch(client, commit, folder / file.name, file, say)
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror or error}; free some space or choose another "
            "folder, and run it again to go on"
        ) from error
    return folder


def wanted_files(name: str, siblings: Iterable[Any]) -> list[RemoteFile]:
    """The files to fetch of those that a model has; CheckpointError where it has no safetensors."""
    there = {each.rfilename: each for each in siblings}
    whole = WEIGHTS in there
    weights = {WEIGHTS} if whole else {each for each in there if SHARD.fullmatch(each)} | {INDEX}
    if not whole and len(weights) == 1:
        pickles = sorted(each for each in there if each.endswith(PICKLE))
        raise CheckpointError(
            f"{name} has no safetensors"
            + (f" but {', '.join(pickles)}, and a pickle can run code" if pickles else "")
            + "; choose a --revision or a model with safetensors, or convert it with "
            "transformers' save_pretrained and import the folder"
        )
    if "config.json" not in there:
        raise CheckpointError(f"{name} has no config.json; it is not a model of transformers")
    return [_remote(there[each]) for each in (*SMALL, *sorted(weights)) if each in there]


def _remote(sibling: Any) -> RemoteFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    if sibling.size is None or not (sha256 or sibling.blob_id):
        raise CheckpointError(
            f"the hub gives no size or hash to check {sibling.rfilename} by; try another --endpoint"
        )
    blob = None if sha256 else sibling.blob_id
    return RemoteFile(name=sibling.rfilename, size=sibling.size, sha256=sha256, blob=blob)


def _fetch(
    client: HubClient, commit: str, path: Path, file: RemoteFile, say: Callable[[str], None]
) -> None:
    """Download until the file is whole, check it, give it its name."""
    client.until_done(
        attempt=lambda: _attempt(client, commit, path, file, say),
        progress=lambda: _size(part_of(path)),
        doing=f"the download of {file.name} from {client.address}",
    )
    if not _is_whole(part_of(path), file):
        part_of(path).unlink()
        raise CheckpointError(
            f"{file.name} of {client.name} arrived with another hash than {client.address} gives "
            "for it, and was thrown away; run it again, and if that does not help, the hub's copy "
            "or something on the way is damaged"
        )
    finish_file(path)


def _attempt(
    client: HubClient, commit: str, path: Path, file: RemoteFile, say: Callable[[str], None]
) -> None:
    """Go on with the file, by one request; ConnectionError where less came than was to come."""
    with growing_file(path) as part:
        if part.tell() < file.size:
            with client.open(commit, file.name, part.tell()) as response:
                _receive(response, part, file, say)
        if part.tell() < file.size:
            raise ConnectionError(f"it ended after {part.tell():,} of {file.size:,} bytes")


def _receive(response: Any, part: IO[bytes], file: RemoteFile, say: Callable[[str], None]) -> None:
    """Append what comes, up to the file's size; every tenth of a large file is told."""
    if response.status_code != 206:  # the whole file, whatever was asked for
        part.truncate(0)
        part.seek(0)
    for chunk in response.iter_raw():
        before = part.tell()
        part.write(chunk[: file.size - before])
        tenth = part.tell() * 10 // file.size
        if file.size > LARGE and tenth > before * 10 // file.size:
            say(f"{file.name}: {tenth * 10}%")
        if part.tell() == file.size:
            break


def _is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether the file is there with the right size and hash."""
    if _size(path) != file.size or not path.is_file():
        return False
    with open(path, "rb") as opened:
        if file.sha256:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
        # git hashes a header with the content
        content = opened.read()
    return hashlib.sha1(b"blob %d\0" % file.size + content).hexdigest() == file.blob


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_space(folder: Path, missing: Iterable[RemoteFile]) -> None:
    """RunError where the disk has less room than what is still to come."""
    needed = sum(file.size - _size(part_of(folder / file.name)) for file in missing)
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise RunError(
            f"the download needs {needed:,} bytes more and {folder.parent} has {free:,} free; free "
            "some space or choose another folder"
        )
