"""lm-eval over HTTP, as its users run it: `lm_eval --model local-completions`. No configuration.

It is no dependency of ours: with the command lm_eval on the path, or named by PARROTLET_LM_EVAL.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_server import float32, serving, tiny_models, tokenizer

from parrotlet.model.context import CausalContext

TASK = """
task: NAME
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
doc_to_text: "{{question}}"
"""
CHOOSE = """
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
"""
WRITE = """
output_type: generate_until
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 12, temperature: 0}
metric_list: [{metric: exact_match}]
"""
QUESTIONS = [
    {"question": "the cat sat on", "choices": ["the mat", "the dog", "é 你好"], "answer": 0},
    {"question": "12 + 30 =", "choices": ["42", "Hello!", "the cat and the dog"], "answer": 1},
]


def score(model: Any, context: str, choice: str) -> float:
    """The log-likelihood of a choice after its context, straight from the model."""
    whole = tokenizer().encode_document(f"{context} {choice}")
    begin = len(tokenizer().encode_document(context))
    with torch.inference_mode():
        rows = torch.tensor([whole])
        scores = model(rows, CausalContext.of(rows))[0].float().log_softmax(-1)
    return float(scores[:-1].gather(1, rows[0, 1:, None])[begin - 1 :].sum())


@pytest.mark.slow
def test_lm_eval_scores_as_the_model_does(runs: Path, tmp_path: Path) -> None:
    command = os.environ.get("PARROTLET_LM_EVAL") or shutil.which("lm_eval")
    if command is None:
        pytest.skip("lm_eval is not installed: pip install 'lm_eval[api]' somewhere on the path")
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    for name, kind in (("choose", CHOOSE), ("write", WRITE)):
        task = TASK.replace("NAME", name).replace("DATA", str(data)) + kind
        (tmp_path / f"{name}.yaml").write_text(task)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)
    with serving(*float32(runs / "raw", runs / "tiny")) as server:
        url = f"{server.address}/v1/completions"
        done = subprocess.run(
            [command, "--model", "local-completions", "--model_args",
             f"model=raw,base_url={url},num_concurrent=4,max_retries=1", "--tasks", "choose,write",
             "--include_path", str(tmp_path), "--output_path", str(tmp_path / "out"),
             "--log_samples", "--batch_size", "2"],
            env=environment, capture_output=True, text=True, timeout=500,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    model: Any = tiny_models(runs, slots=1).get("raw").engine
    logged = {each.name.split("_")[1]: each for each in (tmp_path / "out").rglob("samples_*.jsonl")}
    chosen = [json.loads(line) for line in logged["choose"].read_text().splitlines()]
    assert len(chosen) == len(QUESTIONS)
    for sample in chosen:
        asked = sample["doc"]
        for choice, (told, _) in zip(asked["choices"], sample["filtered_resps"], strict=True):
            expected = score(model._runner.model, asked["question"], choice)
            assert float(told) == pytest.approx(expected, abs=1e-3)
    written = [json.loads(line) for line in logged["write"].read_text().splitlines()]
    assert all("." not in each["filtered_resps"][0] for each in written)
