"""Fine-tuning on people's files: what is said and shown, mixtures, LoRA, and starting anywhere."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_resume import Stopping, bits, check, pretrain_config, sft_config

from parrotlet.core.errors import UsageError
from parrotlet.data.conversations import parse_conversations
from parrotlet.data.packing import PackedRows, pack_rows
from parrotlet.stages.config import LoraConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.sft import _split, _weighed, document_items, fit, sft
from parrotlet.text.chat import Conversation, render
from parrotlet.train.checkpoint import find, load_tensors, load_tokenizer
from parrotlet.world.entities import World
from parrotlet.world.records import documents


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
    assert "1 bad record left out, the first: line 10 of" in said
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
    for wrong in ((1.0,), (1.0, math.nan, 1.0), (math.inf, 1.0, 1.0), (0.0, 0.0, 0.0)):
        with pytest.raises(UsageError, match=r"--weights [\d.naif ]+: .* each of the 3"):
            sft(with_data(runs, "wrong", *files, weights=wrong), Stopping())
    with pytest.raises(UsageError, match=r"--weights 1\.0: .* each of the 0"):
        sft(with_data(runs, "wrong", weights=(1.0,)), Stopping())


def test_branches_of_one_talk_are_on_one_side(runs: Path, tmp_path: Path) -> None:
    talk = [
        [{"role": "user", "content": f"Say {i}"}, {"role": "assistant", "content": f"{i} {j}"}]
        for i in range(40)
        for j in range(3)
    ]
    made = [parse_conversations(each, "here")[0] for each in talk]
    data = replace(sft_config(runs, "any").data, data=(tmp_path,), validation_fraction=0.2)
    train, held = _split(made, data, 0)
    assert sorted(train + held) == list(range(120)) and len(held) == 24
    assert not {index // 3 for index in train} & {index // 3 for index in held}
    few = made[:6]  # two beginnings: whole ones would be too much to hold out
    train, held = _split(few, data, 0)
    assert len(held) == 1 and len(train) == 5


def test_copies_of_a_weight_lie_apart() -> None:
    assert _weighed([4, 2], [0, 0, 3.0, 0, 2.0], 0) == [4, 2, 4, 2, 2]


def test_long_conversations_are_cut_at_a_turn(runs: Path) -> None:
    tokenizer = load_tokenizer(find(runs / "base"))

    def talk(*texts: str) -> Conversation:
        roles = ("user", "assistant") * len(texts)
        return Conversation.of(*zip(roles, texts))  # type: ignore[arg-type]  # noqa: B905

    long = "word " * 100
    short, middle = talk("Hi", "Yes."), talk("Hi", "Yes.", "More?", "No.")
    items, cut, dropped = fit(
        [
            talk("Hi", "Yes.", long),
            talk("Hi", "Yes.", "More?", "No.", "On?", long),
            talk(long, "a"),
        ],
        tokenizer,
        64,
    )
    assert [each.ids for each in items] == [render(each, tokenizer).ids for each in (short, middle)]
    assert (cut, dropped) == (2, 1)


@pytest.mark.parametrize("over", [0, 1, 2])
def test_documents_leave_no_token_alone(runs: Path, over: int) -> None:
    tokenizer = load_tokenizer(find(runs / "base"))
    config = sft_config(runs, "any")
    config = replace(config, data=replace(config.data, world_documents=1))
    (document,) = documents(World(config.run.seed), 1)
    context = len(tokenizer.encode_document(document.text)) - over
    items = document_items(config, tokenizer, context)
    assert all(len(each.ids) > 1 for each in items)
    pack_rows(items, context)


def test_a_warm_start_goes_on_with_the_momenta(runs: Path) -> None:
    config = sft_config(runs, "cold")
    assert sft(config, Stopping())
    warm = replace(config, run=replace(config.run, name="warm"))
    warm = replace(warm, optim=replace(warm.optim, warm_start=True))
    assert sft(warm, Stopping())
    assert bits(runs / "warm") != bits(runs / "cold")

    def go(name: str, display: Stopping) -> Path | None:
        return sft(replace(warm, run=replace(warm.run, name=name)), display)

    check(go, runs, "warm")
    wrong = replace(warm, run=replace(warm.run, name="wrong"))
    other = replace(wrong, optim=replace(wrong.optim, optimizer="adamw"))
    ranks = [replace(wrong, lora=LoraConfig(lora_rank=rank)) for rank in (2, 3)]
    narrow = replace(ranks[0], run=replace(wrong.run, name="narrow"))
    narrow = replace(narrow, optim=replace(narrow.optim, warm_start=False))
    assert sft(narrow, Stopping())
    from_narrow = replace(ranks[1], start=runs / "narrow")
    for refused in (other, *ranks, from_narrow):
        with pytest.raises(UsageError, match=r"--warm-start: .* by another optimizer"):
            sft(refused, Stopping())
    assert not (runs / "wrong").exists()
    fresh = pretrain_config(runs, "fresh")
    with pytest.raises(UsageError, match="--warm-start: there is no --start"):
        pretrain(replace(fresh, optim=replace(fresh.optim, warm_start=True)), Stopping())


def test_lora_is_resumed_bit_for_bit_and_its_start_is_kept(runs: Path) -> None:
    def go(name: str, display: Stopping) -> Path | None:
        config = replace(sft_config(runs, name), lora=LoraConfig(lora_rank=2))
        shared = replace(config.optim, share_forms=True)  # of which frozen tables know nothing
        return sft(replace(config, optim=shared), display)

    assert go("lora", Stopping())
    check(go, runs, "lora")
    base, tuned = (
        load_tensors(find(runs / name).path / "model.safetensors") for name in ("base", "lora")
    )
    assert base.keys() == tuned.keys()
    moved = (base["embed.weight"] != tuned["embed.weight"]).any(1).nonzero().flatten()
    first = load_tokenizer(find(runs / "base")).first_special
    assert len(moved) and moved.min() >= first, "of the rest, only what the base has not met"
    name = "blocks.0.attention.query.weight"
    change = tuned[name] - base[name]
    assert 0 < torch.linalg.matrix_rank(change, rtol=1e-3) <= 2
    again = replace(sft_config(runs, "again"), start=runs / "further", lora=LoraConfig(lora_rank=2))
    further = replace(sft_config(runs, "further"), start=runs / "lora")  # from one that chats
    assert sft(further, Stopping())
    assert bits(runs / "further") != bits(runs / "lora")
    assert sft(again, Stopping())
    met, kept = (
        load_tensors(find(runs / name).path / "model.safetensors")["embed.weight"]
        for name in ("further", "again")
    )
    assert torch.equal(met, kept), "it has chatted"
