"""Checkpoints: directories that exist whole and verified, or not at all.

    step_000123/
      parrotlet.json              format version, model shape, stage, step
      model.safetensors           float32 weights
      parrotlet-tokenizer.json    the tokenizer, so that the directory stands alone
      training.safetensors        optimizer state and random state: only for resuming
      training.json               counters (an imported model has neither of the two)
      manifest.json               size and sha256 of every file above; written last

A save writes everything into step_000123.tmp-*, syncs it, and renames the directory. A process
killed at any moment leaves the last checkpoint as it was. Neither safetensors nor the file system
notices a flipped bit, so every load checks the hashes. Nothing is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from parrotlet.core.errors import CheckpointError, RunError
from parrotlet.core.log import get_logger
from parrotlet.core.rundir import STEP, step_name, sync_directory, write_file, write_json
from parrotlet.core.runtime import Runtime
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.model import Model
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.loop import TrainState

FORMAT = 1
ABOUT, MODEL, TRAINING, COUNTERS, MANIFEST = (
    "parrotlet.json",
    "model.safetensors",
    "training.safetensors",
    "training.json",
    "manifest.json",
)
KEEP = 2  # checkpoints kept of a run; the older is the fallback when the newest is damaged
STAGES = ("rl", "dpo", "sft", "base")  # folders of a run with several stages, the last first
log = get_logger("checkpoint")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint directory."""

    path: Path
    step: int
    stage: str
    config: ModelConfig
    about: Mapping[str, Any]


def save(directory: Path, state: TrainState, tokenizer: Tokenizer, *, stage: str) -> Path:
    """Write the checkpoint of `state` under `directory` and forget the ones before the last two.

    Raises RunError where the disk is full or the folder cannot be written; what was there stays.
    """
    weights = {name: value.detach() for name, value in state.model.named_parameters()}
    training = state.optimizers.state_tensors() | {"random/cpu": torch.get_rng_state()}
    counters = {"step": state.step, "units": state.units, "skipped": state.skipped}
    about = {"stage": stage, "step": state.step, "model": state.model.config.to_json()}
    return _write(directory, about, weights, tokenizer, (training, counters))


def save_weights(
    directory: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    *,
    stage: str,
) -> Path:
    """A checkpoint of step 0 without training state: stages start from it, nothing resumes it."""
    about = {"stage": stage, "step": 0, "model": config.to_json()}
    return _write(directory, about, weights, tokenizer, None)


def _write(
    directory: Path,
    about: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    resuming: tuple[Mapping[str, Tensor], Mapping[str, int]] | None,
) -> Path:
    target = directory / step_name(about["step"])
    if target.exists():
        return target
    staging = directory / f"{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
    _check_space(directory, weights, resuming[0] if resuming else {})
    try:
        staging.mkdir(parents=True)
        write_json(staging / ABOUT, {"format": FORMAT, **about})
        write_file(staging / MODEL, _tensor_bytes(weights))
        tokenizer.save(staging)
        if resuming:
            write_file(staging / TRAINING, _tensor_bytes(resuming[0]))
            write_json(staging / COUNTERS, resuming[1])
        write_json(staging / MANIFEST, _manifest(staging))
        staging.rename(target)
        sync_directory(directory)
    except (OSError, RunError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, RunError):
            raise
        raise RunError(f"cannot write {target}: {error.strerror or error}") from error
    _forget_old(directory)
    return target


def _tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: each.cpu().contiguous() for name, each in tensors.items()})


def _check_space(directory: Path, *groups: Mapping[str, Tensor]) -> None:
    """RunError where the disk has less room than the checkpoint and a fifth more."""
    needed = sum(each.nbytes for group in groups for each in group.values())
    needed += needed // 5
    parent = next(each for each in (directory, *directory.parents) if each.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise RunError(
            f"a checkpoint needs {needed:,} bytes and {directory} has {free:,} free; free some "
            "space or choose another folder with --runs (the last checkpoint is untouched)"
        )


def _manifest(directory: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(directory.iterdir())
        },
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget_old(directory: Path) -> None:
    """Keep the last KEEP checkpoints; clear away what interrupted saves left."""
    for path in steps_in(directory)[:-KEEP]:
        shutil.rmtree(path, ignore_errors=True)
    for path in directory.glob("step_*.tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def steps_in(directory: Path) -> list[Path]:
    """Checkpoint directories by step, the oldest first; not yet verified."""
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if STEP.fullmatch(path.name)),
        key=lambda path: int(path.name.removeprefix("step_")),
    )


def verify(path: Path) -> Checkpoint:
    """The checkpoint in `path`; CheckpointError naming the file that is missing or altered."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        files = dict(manifest["files"])
        expected = {name: (int(of["size"]), str(of["sha256"])) for name, of in files.items()}
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is not a checkpoint: it has no {MANIFEST}; name a run or a step_... directory"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / MANIFEST} is damaged: {error}") from error
    _check_format(path / MANIFEST, manifest.get("format"))
    found = {each.name for each in path.iterdir()} - {MANIFEST}
    if found != set(expected):
        raise CheckpointError(
            f"{path} is damaged: missing {sorted(set(expected) - found)}, "
            f"not of this checkpoint {sorted(found - set(expected))}"
        )
    for name, (size, digest) in expected.items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise CheckpointError(f"{file} is not a plain file; copy the checkpoint again")
        if file.stat().st_size != size:
            raise CheckpointError(
                f"{file} is damaged: {file.stat().st_size:,} bytes instead of {size:,}"
            )
        if _sha256(file) != digest:
            raise CheckpointError(f"{file} is damaged: its sha256 is not the one in {MANIFEST}")
    return _describe(path)


def _check_format(path: Path, found: Any) -> None:
    if found != FORMAT:
        raise CheckpointError(
            f"{path} is of format {found!r}, and this parrotlet reads format {FORMAT}; "
            "use the version that wrote it"
        )


def _describe(path: Path) -> Checkpoint:
    try:
        about = json.loads((path / ABOUT).read_bytes())
        _check_format(path / ABOUT, about.get("format"))
        config = ModelConfig.from_json(about["model"])
        return Checkpoint(
            path=path, step=about["step"], stage=about["stage"], config=config, about=about
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path / ABOUT} cannot be understood: {error!r}") from error


def newest(directory: Path) -> Checkpoint | None:
    """The newest checkpoint that verifies. Damaged ones are set aside as .corrupt, loudly."""
    for path in reversed(steps_in(directory)):
        try:
            return verify(path)
        except CheckpointError as error:
            aside = path.with_name(f"{path.name}.corrupt-{secrets.token_hex(4)}")
            log.warning("%s; it is set aside as %s, going on with the one before", error, aside)
            path.rename(aside)
    return None


def find(path: Path) -> Checkpoint:
    """The checkpoint meant by a checkpoint directory, a run, or a run of several stages.

    Raises CheckpointError where there is none, or where the one named is damaged.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist; name a run or checkpoint directory")
    if STEP.fullmatch(path.name) or (path / MANIFEST).exists():
        return verify(path)
    for directory in (path, *(path / stage for stage in STAGES)):
        steps = steps_in(directory)
        if steps:
            return verify(steps[-1])
    raise CheckpointError(
        f"{path} holds no checkpoint; train one there first, or name another directory"
    )


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; CheckpointError where it is not one."""
    try:
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def load_model(checkpoint: Checkpoint, runtime: Runtime) -> Model:
    """The model of a checkpoint, in float32 on the runtime's device."""
    model = build_model(checkpoint.config, runtime.compute_dtype)
    load_weights(model, load_tensors(checkpoint.path / MODEL), checkpoint.path / MODEL)
    return model.to(runtime.device)


def load_weights(model: Model, tensors: Mapping[str, Tensor], origin: Path) -> None:
    """Copy `tensors` into the model; CheckpointError listing names or shapes that differ."""
    parameters = dict(model.named_parameters())
    missing, extra = sorted(parameters.keys() - tensors), sorted(tensors.keys() - parameters)
    if missing or extra:
        raise CheckpointError(f"{origin} does not fit the model: missing {missing}, extra {extra}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != tensors[name].shape:
                raise CheckpointError(
                    f"{origin}: {name} is {tuple(tensors[name].shape)} and the model's is "
                    f"{tuple(parameter.shape)}"
                )
            parameter.copy_(tensors[name])


def load_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer kept with a checkpoint."""
    return Tokenizer.load(checkpoint.path)


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Put `state` back to what it was when the checkpoint was saved: weights, optimizers, random
    state and counters."""
    load_weights(state.model, load_tensors(checkpoint.path / MODEL), checkpoint.path / MODEL)
    training = load_tensors(checkpoint.path / TRAINING)
    torch.set_rng_state(training.pop("random/cpu"))
    state.optimizers.load_state_tensors(training)
    counters = json.loads((checkpoint.path / COUNTERS).read_bytes())
    state.step, state.units = counters["step"], counters["units"]
    state.skipped = counters["skipped"]
