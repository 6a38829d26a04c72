"""The weights of a transformers folder: one safetensors file or several with an index.

A safetensors file says in its header where each tensor lies; the library refuses one whose header
does not cover the file exactly. Names and shapes are compared with the model's before any tensor
is read. Pickles (pytorch_model.bin) can run code when they are read, so they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from parrotlet.core.errors import CheckpointError, RunError
from parrotlet.core.rundir import read_json
from parrotlet.exchange.names import their_shapes, to_ours
from parrotlet.model.config import ModelConfig

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
# constants that old versions saved with the weights: causal masks and rotary frequencies
CONSTANTS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
MOST_LISTED = 6


def read_weights(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Our tensors, in float32; CheckpointError naming what is missing, extra or of wrong shape."""
    files = _files(folder)
    shapes = {name: shape for file in files for name, shape in _shapes(file).items()}
    known = _known_names(config, shapes)
    extra_head = config.tied and "lm_head.weight" in known
    wanted = _check(folder, config, known, extra_head)
    tensors = {}
    for file in files:
        for name, tensor in _tensors(file):
            if name in wanted:
                tensors[wanted[name]] = tensor
    if extra_head:
        _check_head(folder, config, tensors)
    return to_ours(config, tensors)


def _files(folder: Path) -> list[Path]:
    """The safetensors files; all of them are there."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for each in PICKLES for path in folder.glob(each))
        if pickles:
            raise CheckpointError(
                f"{folder} has its weights as a pickle ({pickles[0]}), which could run code and is "
                "not read; convert it where you trust it: load it with transformers and call "
                "save_pretrained, which writes safetensors"
            )
        raise CheckpointError(f"{folder} has no weights: neither {WEIGHTS} nor {INDEX}")
    try:
        names = set(read_json(folder / INDEX)["weight_map"].values())
    except (RunError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / INDEX} is not an index of weights: {error}") from error
    for name in sorted(map(str, names)):
        if Path(name).name != name or "\\" in name:
            raise CheckpointError(f"{folder / INDEX} names {name!r}, which is not a file beside it")
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name} is missing, which {INDEX} names; download the model again"
            )
    return [folder / name for name in sorted(map(str, names))]


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """What the header says; CheckpointError where it and the file do not agree."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{file} is not a whole safetensors file ({error}); download the model again"
        ) from error


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a file, in float32."""
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118
            tensor = opened.get_tensor(name)
            if tensor.dtype not in DTYPES and not name.endswith(CONSTANTS):
                raise CheckpointError(
                    f"{file}: {name} is {tensor.dtype}; quantised weights are not supported, take "
                    "the model in float32, float16 or bfloat16"
                )
            yield name, tensor.float()


def _known_names(
    config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """{name as transformers has it today: (name in the file, shape)}, without constants.

    GPT-2 as it was first published has no "transformer." before its names.
    """
    known = {}
    for name, shape in shapes.items():
        if name.endswith(CONSTANTS):
            continue
        bare = config.arch == "gpt2" and not name.startswith(("transformer.", "lm_head."))
        known[f"transformer.{name}" if bare else name] = (name, shape)
    return known


def _check(
    folder: Path,
    config: ModelConfig,
    known: Mapping[str, tuple[str, tuple[int, ...]]],
    extra_head: bool,
) -> dict[str, str]:
    """{name in the file: name today}; CheckpointError where names or shapes are not the model's."""
    if config.depth > len(known):  # before a model of that depth is thought of
        raise CheckpointError(
            f"{folder}: config.json says {config.depth} layers and there are {len(known)} tensors"
        )
    wanted = their_shapes(config)
    missing = sorted(wanted.keys() - known.keys())
    extra = sorted(known.keys() - wanted.keys() - ({"lm_head.weight"} if extra_head else set()))
    if missing or extra:
        raise CheckpointError(
            f"the weights in {folder} are not those of its config.json: "
            f"missing {_listed(missing)}; extra {_listed(extra)}"
        )
    for name, shape in wanted.items():
        if known[name][1] != shape:
            raise CheckpointError(
                f"{folder}: {name} has the shape {known[name][1]} and by config.json it must have "
                f"{shape}"
            )
    return {file_name: name for name, (file_name, _) in known.items()}


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "") or "none"


def _check_head(folder: Path, config: ModelConfig, tensors: dict[str, Tensor]) -> None:
    """A tied model may be saved with a head too, but then it is the embedding."""
    embed = "transformer.wte.weight" if config.arch == "gpt2" else "model.embed_tokens.weight"
    if not torch.equal(tensors.pop("lm_head.weight"), tensors[embed]):
        raise CheckpointError(
            f"{folder}: config.json ties head and embedding, and lm_head.weight is not {embed}; "
            "set tie_word_embeddings to false"
        )
