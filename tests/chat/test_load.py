"""How long a context gets: what is asked for, what memory holds, and what is said of it."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from parrotlet.chat import load as loading
from parrotlet.chat.load import LEAST, SHARE, load
from parrotlet.cli import main
from parrotlet.core.errors import UsageError
from parrotlet.core.machine import MachineConfig
from parrotlet.engine.engine import Engine
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import kv_cache_bytes, num_parameters
from parrotlet.serve.config import LimitsConfig
from parrotlet.serve.models import find_all, load_all
from parrotlet.serve.prepare import chat as prepare_chat
from parrotlet.serve.schema import ChatBody
from parrotlet.stages import samples
from parrotlet.stages.plan import LONGEST_ROW
from parrotlet.terminal import load as terminal_load
from parrotlet.terminal.load import LENGTH, load_to_measure
from parrotlet.text.train import train_bpe
from parrotlet.train.checkpoint import find, save_weights

CONTEXT = 40_960  # as Qwen3 has it
CPU = MachineConfig(device="cpu", dtype="float32")
HERE = ["--device", "cpu", "--dtype", "float32", "--no-filter"]
TOKENIZER = train_bpe(["the cat sat on the mat and the dog " * 5], 275)
CONFIG = ModelConfig(
    arch="qwen3", vocab_size=TOKENIZER.vocab_size, context=CONTEXT, depth=2, width=16, heads=2,
    kv_heads=1, head_width=8, mlp_width=32,
)  # fmt: skip
WEIGHTS = 4 * num_parameters(CONFIG)
TOKEN = kv_cache_bytes(CONFIG, 1, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "long"
    model = build_model(CONFIG)
    model.init_weights(torch.Generator().manual_seed(0))
    weights = {name: each.detach() for name, each in model.named_parameters()}
    save_weights(folder, CONFIG, weights, TOKENIZER, stage="import")
    return folder


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(slots, length) of every engine that is made."""
    made: list[tuple[int, int]] = []

    def engine(model: Any, **given: Any) -> Engine:
        made.append((given["slots"], given["length"]))
        return Engine(model, **given)

    for module in (loading, samples):
        monkeypatch.setattr(module, "Engine", engine)
    return made


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(loading, "free_memory", lambda: size)


def test_a_continuation_takes_what_it_needs(run: Path, lengths: list[tuple[int, int]]) -> None:
    assert main(["sample", str(run), "the cat", "--max-tokens", "9", *HERE]) == 0
    assert lengths == [(1, len(TOKENIZER.encode_document("the cat")) + 9)]


def test_evaluations_and_samples_of_a_run_do_not_take_it_all(
    run: Path, lengths: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["eval", str(run), "world", "--cases", "1", *HERE[:4]]) == 0
    for_measures = [(128, LENGTH)]
    for size, slots in ((50 * TOKEN * LENGTH, 50), (TOKEN * LENGTH, 32)):  # models with more
        monkeypatch.setattr(terminal_load, "CACHE_BYTES", size)
        load_to_measure(run, CPU)
        for_measures.append((slots, LENGTH))
    assert lengths == for_measures
    lengths.clear()
    model = load(run, CPU, length=8).model
    samples.answers(model, TOKENIZER, ["the cat", "the dog"])
    sampling = samples.SamplingSettings(temperature=0.0)
    samples.continuations(model, TOKENIZER, ["the"], sampling)
    assert lengths == [(1, 8), (2, LONGEST_ROW), (1, LONGEST_ROW)]


def test_where_memory_is_short_the_context_is_shorter_and_that_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(run, CPU).engine.length == CONTEXT
    assert not caplog.records
    free(monkeypatch, WEIGHTS + SHARE * TOKEN * 3_000)
    with caplog.at_level(logging.WARNING):
        assert load(run, CPU).engine.length == 3_000
    (record,) = caplog.records
    assert "context shortened to 3,000 of 40,960 tokens" in record.getMessage()
    assert load(run, CPU, slots=4).engine.length == 750
    assert load(run, CPU, length=500).engine.length == 500
    free(monkeypatch, WEIGHTS + TOKEN * LEAST)
    assert load(run, CPU).engine.length == LEAST


def test_what_is_longer_is_refused_with_the_numbers(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free(monkeypatch, WEIGHTS + SHARE * TOKEN * 300 * 2)
    long = "the cat " * 200
    models = load_all(find_all([str(run)]), CPU, slots=2, keep=False)
    assert models.all[0].card()["max_model_len"] == 300
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": long}]})
    with pytest.raises(Exception, match=r"prompt has \d+ tokens and the model.s context is 300"):
        prepare_chat(models.all[0], body, LimitsConfig(), None)
    free(monkeypatch, WEIGHTS + SHARE * TOKEN * 300)
    assert main(["sample", str(run), long, *HERE]) == 2
    said = capsys.readouterr().err
    assert f"has {len(TOKENIZER.encode_document(long))} tokens" in said and "is 300" in said
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{long}\n"))
    assert main(["chat", str(run), *HERE]) == 0
    assert "in a context of 300" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("verb", ["sample", "chat", "serve"])
def test_a_model_too_large_says_so_before_it_is_loaded(
    run: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*given: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(loading, "load_model", never)
    free(monkeypatch, WEIGHTS)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    more = ["--port", "0"] if verb == "serve" else []
    assert main([verb, str(run), *more, *HERE]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(find(run).path) in said
    assert f"weights of {WEIGHTS:,} bytes" in said and f"the {WEIGHTS:,} bytes of memory" in said


def test_a_context_that_is_asked_for_is_that_or_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asking(context: int) -> MachineConfig:
        return MachineConfig(device="cpu", dtype="float32", context=context)

    assert load(run, asking(64)).engine.length == 64
    free(monkeypatch, WEIGHTS + TOKEN * 5_000)
    assert load(run, asking(4_000)).engine.length == 4_000
    with pytest.raises(UsageError, match=f"{TOKEN * CONTEXT:,} to remember 40,960 tokens"):
        load(run, asking(CONTEXT))
    with pytest.raises(UsageError, match="--context 50000 is longer than the model's 40960"):
        load(run, asking(50_000))
    with pytest.raises(UsageError, match="--context 1: "):
        asking(1)
