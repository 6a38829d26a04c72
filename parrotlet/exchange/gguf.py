"""Export to GGUF, the one-file format of llama.cpp and Ollama, for gpt2 and qwen3.

    model.gguf   shape, tokenizer, chat template and tensors
    Modelfile    what Ollama wants to know

Matrices are written in the kind asked for, everything else in float32: norms and biases, GPT-2's
positions, and for q8_0 what does not divide into blocks. The file is written by the gguf package,
read back, and compared field by field and tensor by tensor.

Not covered: tools. llama.cpp takes <|call|> for the end of an answer, as another model's token of
that name is, and Ollama looks for calls in JSON.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parrotlet.core.errors import CheckpointError, UsageError
from parrotlet.core.rundir import write_file
from parrotlet.exchange.config import GgufKind
from parrotlet.exchange.gguf_fields import Value, shape_fields, tokenizer_fields
from parrotlet.exchange.gguf_names import entries
from parrotlet.exchange.ollama import modelfile
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.train.checkpoint import MODEL, Checkpoint, load_tensors, load_tokenizer

FILE = "model.gguf"
BLOCK = 32  # numbers of a row that share a scale in q8_0
# llama.cpp's numbers for "mostly of this kind" (llama_ftype)
FILE_TYPES: dict[GgufKind, int] = {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}


def export_gguf(checkpoint: Checkpoint, folder: Path, *, kind: GgufKind = "f16") -> list[str]:
    """Write FILE and Modelfile into the empty `folder`; what was proved, in lines.

    UsageError where llama.cpp has no form for the model or its tokenizer, or where the gguf package
    is missing; CheckpointError where what was written does not say what the checkpoint says, as
    where a number is too large for f16.
    """
    config = checkpoint.config
    if config.arch == "swift":
        raise UsageError(
            "llama.cpp and Ollama do not know the architecture swift; train with --arch qwen3 to "
            "export to gguf, or export this one with --to hf"
        )
    library = _library()
    tokenizer = load_tokenizer(checkpoint)
    fields: dict[str, Value] = {
        "general.name": checkpoint.path.parent.name,
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": library.GGML_QUANT_VERSION,
        **shape_fields(config),
        **tokenizer_fields(tokenizer, config.vocab_size),
    }
    ours = load_tensors(checkpoint.path / MODEL)
    tensors = {
        each.theirs: each.join([ours[name] for name in each.ours]).numpy()
        for each in entries(config)
    }
    _write(library, folder / FILE, config, fields, tensors, kind)
    chat = checkpoint.stage != "base" and "tokenizer.chat_template" in fields
    text = modelfile(tokenizer, model=FILE, context=config.context, chat=chat)
    write_file(folder / "Modelfile", text.encode())
    return _prove(library, folder / FILE, config, fields, ours, kind)


def read_tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a GGUF file in float32, by their names there."""
    library = _library()
    tensors = library.GGUFReader(path).tensors
    return {
        each.name: np.array(
            library.quants.dequantize(each.data, each.tensor_type), dtype=np.float32
        )
        for each in tensors
    }


def _library() -> Any:
    """The gguf package, loaded when it is needed."""
    try:
        return importlib.import_module("gguf")
    except ImportError as error:
        raise UsageError(
            "exporting to gguf needs the package gguf: pip install 'parrotlet[export]'"
        ) from error


def _kind_of(name: str, tensor: np.ndarray[Any, Any], kind: GgufKind) -> GgufKind:
    """How a tensor is written when `kind` is asked for, as by llama.cpp's own converter."""
    whole_blocks = kind != "q8_0" or tensor.shape[-1] % BLOCK == 0
    if tensor.ndim == 1 or name.startswith("position_embd") or not whole_blocks:
        return "f32"
    return kind


def _write(
    library: Any,
    path: Path,
    config: ModelConfig,
    fields: Mapping[str, Value],
    tensors: Mapping[str, np.ndarray[Any, Any]],
    kind: GgufKind,
) -> None:
    writer = library.GGUFWriter(path, config.arch)
    adders = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for name, value in fields.items():
        adders[type(value)](name, value)
    for name, tensor in tensors.items():
        quant = library.GGMLQuantizationType[_kind_of(name, tensor, kind).upper()]
        with np.errstate(over="ignore"):  # too large for the kind: the proof says so
            writer.add_tensor(name, library.quants.quantize(tensor, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _prove(
    library: Any,
    path: Path,
    config: ModelConfig,
    fields: Mapping[str, Value],
    ours: Mapping[str, Tensor],
    kind: GgufKind,
) -> list[str]:
    """What reading the file back shows; CheckpointError where it differs from what it should be."""
    found = library.GGUFReader(path).fields
    for name, value in fields.items():
        wanted = float(np.float32(value)) if isinstance(value, float) else value
        if name not in found or found[name].contents() != wanted:
            raise CheckpointError(f"{path.name}: the field {name} was not written as it is")
    read = read_tensors(path)
    expected = {each.theirs: each for each in entries(config)}
    if set(read) != set(expected):
        raise CheckpointError(f"{path.name} holds other tensors than were written: {sorted(read)}")
    back: dict[str, Tensor] = {}
    for name, entry in expected.items():
        tensor = entry.join([ours[each] for each in entry.ours]).numpy()
        _compare(name, tensor, read[name], _kind_of(name, tensor, kind))
        back |= zip(entry.ours, entry.cut(torch.from_numpy(read[name])), strict=True)
    difference = _logit_difference(config, ours, back)
    return [
        f"{path.name}: {len(fields)} fields read back the same, {len(read)} tensors "
        + ("bit for bit" if kind == "f32" else f"within the rounding of {kind}"),
        f"logits with the tensors read back differ from the checkpoint's by {difference:.3g}",
    ]


def _compare(
    name: str, wanted: np.ndarray[Any, Any], found: np.ndarray[Any, Any], kind: GgufKind
) -> None:
    """CheckpointError where numbers differ by more than the kind's rounding."""
    same = wanted.shape == found.shape
    if same and kind == "f32":
        same = wanted.tobytes() == found.tobytes()
    elif same:
        same = bool((np.abs(wanted - found) <= rounding(wanted, kind)).all())
    if not same:
        raise CheckpointError(
            f"the tensor {name} (numbers up to {np.abs(wanted).max():.3g}) cannot be written as "
            f"{kind} within its rounding; export with --kind f32"
        )


def rounding(tensor: np.ndarray[Any, Any], kind: GgufKind) -> np.ndarray[Any, Any]:
    """The largest error of each number in `kind`, from the definition of the format.

    f16 has 11 bits and no exponent below -14, bf16 has 8. A block of q8_0 has a scale of its
    largest number / 127, kept in f16; each number is rounded to half a step of it.
    """
    size = np.abs(tensor)
    if kind == "f16":
        return np.asarray(size * 2.0**-11 + 2.0**-25)
    if kind == "bf16":
        return np.asarray(size * 2.0**-8)
    if kind == "f32":
        return np.zeros_like(tensor)
    blocks = size.reshape(*tensor.shape[:-1], -1, BLOCK)
    step = np.broadcast_to(blocks.max(-1, keepdims=True) / 127, blocks.shape)
    return np.asarray(step * 0.501 + 127 * (step * 2.0**-11 + 2.0**-25)).reshape(tensor.shape)


def _logit_difference(
    config: ModelConfig, ours: Mapping[str, Tensor], back: Mapping[str, Tensor]
) -> float:
    """The largest difference of the two models' logits, on random ids."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (1, min(config.context, 32)), generator=generator)
    model = build_model(config)
    logits = []
    for tensors in (ours, back):
        model.load_state_dict(tensors)
        with torch.no_grad():
            logits.append(model(ids, CausalContext.of(ids)))
    return float((logits[0] - logits[1]).abs().max())
