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

from parrotlet.core.errors import CheckpointError, FormatError, RunError, TrainingError
from parrotlet.core.log import get_logger
from parrotlet.core.rundir import (
    RECIPE,
    STAGES,
    STEP,
    step_name,
    sync_directory,
    write_file,
    write_json,
)
from parrotlet.core.runtime import Runtime
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.lora import lora_weights, merged_weights
from parrotlet.model.model import Model
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.loop import TrainState
from parrotlet.train.manifest import FORMAT, MANIFEST, check_files, check_format, make_manifest

ABOUT, MODEL, TRAINING, COUNTERS = (
    "parrotlet.json",
    "model.safetensors",
    "training.safetensors",
    "training.json",
)
LORA = "lora/"  # before the names of weights that only resuming needs
KEEP = 2  # checkpoints kept of a run; the older is the fallback when the newest is damaged
COUNTED = ("step", "units", "skipped", "skipped_in_a_row")  # fields of TrainState kept
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
    Raises TrainingError where a weight is not finite: such weights are never kept.
    """
    weights = merged_weights(state.model)
    broken = [name for name, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise TrainingError(
            f"{len(broken)} weights are no longer finite at step {state.step}, the first is "
            f"{broken[0]}; the checkpoint before is whole: lower the learning rates"
        )
    training = state.optimizers.state_tensors() | {"random/cpu": torch.get_rng_state()}
    training |= {f"{LORA}{name}": value for name, value in lora_weights(state.model).items()}
    counters = {name: getattr(state, name) for name in COUNTED}
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
        write_json(staging / MANIFEST, make_manifest(staging))
        staging.rename(target)
        sync_directory(directory)
    except (OSError, RunError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, RunError):
            raise
        raise RunError(f"cannot write {target}: {error.strerror or error}") from error
    verify(target)  # before any older one is let go
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
    check_files(path)
    return _describe(path)


def _describe(path: Path) -> Checkpoint:
    try:
        about = json.loads((path / ABOUT).read_bytes())
        check_format(path / ABOUT, about.get("format"), about.get("model", {}).get("arch", ""))
        config = ModelConfig.from_json(about["model"])
        return Checkpoint(
            path=path, step=about["step"], stage=about["stage"], config=config, about=about
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path / ABOUT} cannot be understood: {error!r}") from error


def newest(directory: Path, *, set_aside: bool = False) -> Checkpoint | None:
    """The newest whole checkpoint of a run; None where there is no checkpoint at all.

    Falls back to the one before a damaged one, loudly; `set_aside` renames the damaged one to
    .corrupt. Raises CheckpointError where none is whole, or one is of another version: a run
    never begins anew by itself.
    """
    damaged: list[tuple[Path, CheckpointError]] = []
    for path in reversed(steps_in(directory)):
        try:
            found = verify(path)
        except FormatError:
            raise
        except CheckpointError as error:
            damaged.append((path, error))
            continue
        for broken, problem in damaged:
            log.warning("%s; going on with %s", problem, found.path)
            if set_aside:
                broken.rename(broken.with_name(f"{broken.name}.corrupt-{secrets.token_hex(4)}"))
        return found
    if damaged:
        raise CheckpointError(
            f"{damaged[0][1]}; no other checkpoint of {directory} is whole: bring back a copy, or "
            "train again under another --name"
        )
    return None


def find(path: Path) -> Checkpoint:
    """The checkpoint meant by a checkpoint directory, a run, or a run of several stages.

    Of a run it is the newest whole one. Raises CheckpointError where there is none, or where the
    checkpoint named is damaged: then never another in its place.
    """
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; name a run or checkpoint directory")
    if STEP.fullmatch(path.name) or (path / MANIFEST).exists():
        return verify(path)
    for directory in (path, *(path / stage for stage in reversed(STAGES))):
        # the folders of stages count in a run of several stages only, which has a recipe
        if directory == path or (path / RECIPE).exists():
            found = newest(directory)
            if found is not None:
                return found
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
        raise CheckpointError(
            f"{origin} does not fit the model: {len(missing)} weights are missing and {len(extra)} "
            f"are not known ({', '.join([*missing, *extra][:3])}); load it with the version that "
            "saved it, or train again"
        )
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


def optimizer_state(path: Path) -> dict[str, Tensor]:
    """What the optimizers of a checkpoint remembered; nothing where no training was saved."""
    training = load_tensors(path / TRAINING) if (path / TRAINING).exists() else {}
    return {k: each for k, each in training.items() if not k.startswith((LORA, "random/"))}


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Put `state` back to what it was when the checkpoint was saved: weights, optimizers, random
    state and counters."""
    training = load_tensors(checkpoint.path / TRAINING)
    apart = [name for name in training if name.startswith(LORA)]
    weights = load_tensors(checkpoint.path / MODEL)
    weights |= {name.removeprefix(LORA): training.pop(name) for name in apart}
    names = {name for name, _ in state.model.named_parameters()}
    if apart:  # a merged matrix is there in parts too
        weights = {name: value for name, value in weights.items() if name in names}
    load_weights(state.model, weights, checkpoint.path / MODEL)
    torch.set_rng_state(training.pop("random/cpu"))
    state.optimizers.load_state_tensors(training)
    counters = json.loads((checkpoint.path / COUNTERS).read_bytes())
    for name in COUNTED:
        setattr(state, name, counters[name])
