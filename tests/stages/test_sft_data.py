"""Fine-tuning on people's files: what is said and shown, mixtures, LoRA, and starting anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_resume import Stopping, bits, check, pretrain_config, sft_config

from parrotlet.core.errors import UsageError
from parrotlet.data.packing import PackedRows
from parrotlet.stages.config import LoraConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.sft import sft
from parrotlet.train.checkpoint import find, load_tensors


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert pretrain(pretrain_config(folder, "base"), Stopping())
    return folder


def with_data(runs: Path, name: str, *files: Path, weights: tuple[float, ...] = ()) -> SftConfig:
    config = sft_config(runs, name)
    data = replace(config.data, data=files, weights=weights, bad_records="skip")
    return replace(config, data=data, budget=replace(config.budget, steps=1))


def write(folder: Path, name: str, count: int) -> Path:
    file = folder / f"{name}.jsonl"
    talk = [{"prompt": f"Say {name} {i}", "response": f"{name} {i}"} for i in range(count)]
    file.write_text("".join(json.dumps(each) + "\n" for each in talk))
    return file


def test_examples_and_notes_are_shown(runs: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "one", 9)
    file.write_text(file.read_text() + '{"prompt": "no answer"}\n')
    display = Stopping()
    assert sft(with_data(runs, "shown", file), display)
    said = "\n".join(display.said)
    assert "read as: 9 of question and answer" in said
    assert "1 bad records left out, the first: line 10 of" in said
    shown = [line for line in display.said if line.startswith("<|bos|><|user|>")]
    assert len(shown) == 3
    assert all("<|assistant|>« one" in line and line.endswith("<|end|>»") for line in shown)


def test_mixtures_by_weight(runs: Path, tmp_path: Path) -> None:
    files = [write(tmp_path, name, 40) for name in ("aa", "bb", "cc")]
    config = with_data(runs, "mixed", *files, weights=(2.0, 0.5, 0.0))
    assert sft(config, Stopping())
    manifest = json.loads((runs / "mixed/data/train/manifest.json").read_text())
    rows = PackedRows.open(runs / "mixed/data/train", manifest["key"])
    segments = int(np.asarray(rows.segments).max(axis=1).sum())
    assert 2 * 36 + 8 <= segments <= 2 * 40 + 32  # a twentieth is held out; cc not at all
    with pytest.raises(UsageError, match=r"--weights 1\.0: .* each of the 3"):
        sft(with_data(runs, "wrong", *files, weights=(1.0,)), Stopping())


def test_lora_is_resumed_bit_for_bit_and_its_start_is_kept(runs: Path) -> None:
    def go(name: str, display: Stopping) -> Path | None:
        config = replace(sft_config(runs, name), lora=LoraConfig(lora_rank=2))
        return sft(config, display)

    assert go("lora", Stopping())
    check(go, runs, "lora")
    base, tuned = (
        load_tensors(find(runs / name).path / "model.safetensors") for name in ("base", "lora")
    )
    assert base.keys() == tuned.keys()
    assert torch.equal(base["embed.weight"], tuned["embed.weight"])
    name = "blocks.0.attention.query.weight"
    change = tuned[name] - base[name]
    assert 0 < torch.linalg.matrix_rank(change, rtol=1e-3) <= 2
    further = replace(sft_config(runs, "further"), start=runs / "lora")  # from one that chats
    assert sft(further, Stopping())
    assert bits(runs / "further") != bits(runs / "lora")
