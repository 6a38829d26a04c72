"""RL as a stage: what is sampled is what is trained, stopped is never stopped, ranks are one."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from replay_engine import ReplayEngine
from rl_ranks import Letters
from test_resume import SMOKE, Stopping, bits, check, pretrain_config, sft_config

from parrotlet.core.errors import TrainingError, UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import read_json
from parrotlet.core.runtime import Runtime
from parrotlet.data.batch import IGNORE
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.watch import collapse
from parrotlet.model.context import CausalContext
from parrotlet.stages.config import RunConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.pretrain import pretrain
from parrotlet.stages.rl import rl
from parrotlet.stages.rollouts import Rollout, batch_of, batches_of, grade, roll, set_advantages
from parrotlet.stages.rounds import Rounds, corrected
from parrotlet.stages.sft import sft
from parrotlet.tasks.gsm8k import GSM8K
from parrotlet.tasks.table import PRACTICE, TASKS
from parrotlet.tasks.task import Example, graded
from parrotlet.text.chat import Message, Text, ToolCall, ToolResult
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train.checkpoint import find, load_model, load_tokenizer
from parrotlet.train.losses import token_logprobs
from parrotlet.train.tally import Tally

SCRIPT = Path(__file__).parent / "rl_ranks.py"
WATCHDOG = 300  # seconds; a hang, not a slow machine
ALONE = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
EXAMPLE = Letters()[0]


def rl_config(runs: Path, name: str) -> RlConfig:
    run = RunConfig(runs=runs, name=name, device="cpu", dtype="float32")
    return replace(SMOKE.rl, start=runs / "sft", run=run)


def practise(config: RlConfig, display: Stopping) -> Path | None:
    return rl(config, display, (Letters(), Letters()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fine-tuned model, and a run of RL that was never stopped."""
    folder = tmp_path_factory.mktemp("runs")
    assert pretrain(pretrain_config(folder, "base"), Stopping())
    assert sft(sft_config(folder, "sft"), Stopping())
    assert practise(rl_config(folder, "rl"), Stopping()) == folder / "rl"
    return folder


def test_stopped_is_never_stopped(runs: Path) -> None:
    check(lambda name, display: practise(rl_config(runs, name), display), runs, "rl")
    assert bits(runs / "rl") != bits(runs / "sft")


def test_rounds_of_several_updates_are_stopped_between_rounds(runs: Path) -> None:
    config = rl_config(runs, "rounds")
    config = replace(config, policy=replace(config.policy, updates=3, clip_ratio=0.2, kl=0.1))
    assert practise(config, Stopping())
    stopped = replace(config, run=replace(config.run, name="rounds-stopped"))
    assert practise(stopped, Stopping(1)) is None
    assert find(runs / "rounds-stopped").step == 3  # the signal came after step 1
    assert practise(stopped, Stopping())
    assert bits(runs / "rounds-stopped") == bits(runs / "rounds")
    lines = list(JsonLines(runs / "rounds/metrics.jsonl"))
    assert ["reward" in each for each in lines] == [True, False, False] * 2
    assert all("kl" in each and "clipped" in each for each in lines)


def test_what_the_metrics_and_samples_say(runs: Path) -> None:
    lines = list(JsonLines(runs / "rl/metrics.jsonl"))
    for each in lines:
        assert 0 < each["reward"] <= 1 and each["entropy"] > 0 and 0 < each["reply_tokens"] <= 12
        assert each["mismatch"] < 1e-4  # trainer and engine
        assert 0 <= each["format_rate"] <= 1
    assert "pass_at_1" in lines[-1] and "pass_at_1" in read_json(runs / "rl/recipe.json")["before"]
    samples = list(JsonLines(runs / "rl/samples.jsonl"))
    assert samples and all(each["text"].endswith("]") for each in samples)


def rolled(runs: Path, samples: int = 4, sampling: SamplingSettings | None = None) -> list[Rollout]:
    start = find(runs / "sft")
    engine = Engine(load_model(start, ALONE), slots=5)
    made = roll(
        engine, load_tokenizer(start), [(7, Letters()[3]), (8, Letters()[4])],
        samples=samples, max_tokens=12, sampling=sampling or SamplingSettings(), tools=TOOLS,
    )  # fmt: skip
    grade(Letters(), made)
    return made


def test_the_engine_says_what_the_trainer_says(runs: Path) -> None:
    """Log-probabilities of sampled tokens, within 1e-4 in float32; and not of other tokens."""
    made = rolled(runs)
    assert [each.group for each in made] == [0] * 4 + [1] * 4
    assert len({tuple(each.ids) for each in made}) > 4  # samples differ
    model = load_model(find(runs / "sft"), ALONE)
    for batch in (batch_of(made), *batches_of(made, 40)):
        learned = batch.targets != IGNORE
        assert batch.count == int(learned.sum())
        found = token_logprobs(model, batch)
        assert torch.allclose(found[learned], batch.extra["old"][learned], atol=1e-4)
    assert sum(each.count for each in batches_of(made, 40)) == batch_of(made).count
    again = rolled(runs)
    assert [each.ids for each in again] == [each.ids for each in made]


def test_correction_is_model_over_sampling(runs: Path) -> None:
    settings = SamplingSettings(temperature=0.7, top_p=0.9)
    batch = batch_of(rolled(runs, sampling=settings))
    rollout = replace(SMOKE.rl.rollout, temperature=0.7, top_p=0.9, correction=True)
    model = load_model(find(runs / "sft"), ALONE)
    found = corrected(model, batch, rollout).extra["weight"]
    row, place = (batch.targets != IGNORE).nonzero()[0].tolist()
    logits = model(batch.tokens, CausalContext.of(batch.tokens))[row, place].double()
    cut = (logits / 0.7).softmax(-1).sort(descending=True)
    kept = cut.indices[: int((cut.values.cumsum(0) < 0.9).sum()) + 1]
    target = batch.targets[row, place]
    assert target in kept
    sampling = (logits / 0.7)[kept].softmax(-1)[(kept == target).nonzero()[0, 0]]
    wanted = min(2.0, (logits.softmax(-1)[target] / sampling).item())
    assert found[row, place].item() == pytest.approx(wanted, rel=1e-3)
    assert not found[batch.targets == IGNORE].any()


def test_tools_are_run_and_their_results_are_not_learned(runs: Path) -> None:
    tokenizer = load_tokenizer(find(runs / "sft"))
    call, end = tokenizer.special("<|call|>"), tokenizer.special("<|end_call|>")
    stop = tokenizer.stop_id
    asks = [call, *tokenizer.encode_segment("calculator 2 + 3"), end]
    says = [*tokenizer.encode_segment("It is 5."), stop]
    torn = [call, tokenizer.special("<|user|>"), end, *says]
    scripts = [asks + says, [end, *says], torn, [*asks, end, *says], [call, end, *says]]
    made = play(tokenizer, scripts)
    first = made[0]
    assert first.reply.parts == (ToolCall("calculator", "2 + 3"), ToolResult("5"), Text("It is 5."))
    forced = [id for id, said in zip(first.ids, first.logprobs, strict=True) if said is None]
    assert tokenizer.special("<|result|>") in forced and len(forced) >= 3
    batch = batch_of([first])
    learned = batch.targets[batch.targets != IGNORE].tolist()
    assert learned == asks + says
    assert made[1].reply.text == "It is 5."  # the end of a call that never began
    assert [each.finish for each in made] == ["stop"] * 5
    assert made[2].logprobs.count(None) == 0  # nothing was called
    assert made[3].reply.parts[:2] == first.reply.parts[:2]


def play(tokenizer: Tokenizer, scripts: list[list[int]]) -> list[Rollout]:
    engine = ReplayEngine(scripts, vocab_size=tokenizer.vocab_size)
    return roll(
        engine, tokenizer, [(index, EXAMPLE) for index in range(len(scripts))],  # type: ignore[arg-type]
        samples=1, max_tokens=60, sampling=SamplingSettings(), tools=TOOLS,
    )  # fmt: skip


def replies(*grades: float, formed: bool = False) -> list[Rollout]:
    made = [
        Rollout(example=EXAMPLE, group=index // 4, prompt=[1], calls=None) for index in range(8)
    ]
    for each, value in zip(made, grades, strict=True):
        each.grade, each.formed = value, formed
    return made


def test_advantages_by_hand() -> None:
    made = replies(1, 0, 0, 0, 0.5, 0.5, 0.5, 0.5)
    assert set_advantages(made, format_reward=0.0, baseline=True, scale=False) == 0.5
    assert [each.advantage for each in made] == [0.75, -0.25, -0.25, -0.25, 0, 0, 0, 0]
    set_advantages(made, format_reward=0.0, baseline=True, scale=True)
    assert made[0].advantage == pytest.approx(0.75 / math.sqrt(0.1875), rel=1e-3)
    made[1].formed = True
    set_advantages(made, format_reward=0.4, baseline=False, scale=False)
    assert [each.advantage for each in made[:3]] == [1, 0.4, 0]


def test_rewards_that_are_equal_are_flat_however_they_round() -> None:
    made = replies(*[0.1] * 8)
    assert sum([0.1] * 8) / 8 != 0.1
    assert set_advantages(made, format_reward=0.0, baseline=True, scale=True) == 1.0
    assert [each.advantage for each in made] == [0.0] * 8


def rounds_of(runs: Path, config: RlConfig) -> Rounds:
    return Rounds(
        config=config, task=Letters(), tokenizer=load_tokenizer(find(runs / "sft")),
        runtime=ALONE, tally=Tally(), reference=None,
    )  # fmt: skip


def test_a_rank_without_a_difference_counts_nothing(runs: Path) -> None:
    """So that the others divide by what is learned from alone, as one process does."""
    made = rolled(runs)
    rounds, model = rounds_of(runs, rl_config(runs, "flat")), load_model(find(runs / "sft"), ALONE)
    for each in made:
        each.advantage = 0.0
    assert [batch.count for batch in rounds.step(model, made)] == [0]
    made[0].advantage = 1.0
    (batch,) = rounds.step(model, made)
    assert batch.count == sum(each is not None for each in made[0].logprobs)


def test_later_updates_are_corrected_by_what_sampled(runs: Path) -> None:
    """Not by the weights that the updates before have made."""
    config = rl_config(runs, "corrected")
    config = replace(
        config,
        rollout=replace(config.rollout, top_k=20, correction=True),
        policy=replace(config.policy, updates=2, clip_ratio=0.2, baseline="none"),
    )
    weights = []
    for moved in (False, True):
        model = load_model(find(runs / "sft"), ALONE)
        stream = rounds_of(runs, config).stream(model)(0)
        next(stream)
        if moved:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
        weights.append([batch.extra["weight"] for batch in next(stream)])
    for kept, again in zip(*weights, strict=True):
        assert torch.equal(kept, again)


class Grader(Letters):
    """A task whose grade is what it is told to be."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def grade(self, example: Example, reply: Message) -> float:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer == "hang":
            time.sleep(5)
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ZeroDivisionError("by zero"), "grader of Grader failed: ZeroDivisionError"),
        (SystemExit(3), r"grader of Grader failed: SystemExit\(3\)"),
        ("hang", "took more than 0.2 s"),
        (math.nan, "gave nan"),
        (1.5, "gave 1.5"),
        (None, "gave None"),
    ],
)
def test_bad_graders(answer: object, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        graded(
            Grader(answer),
            [(each.example, each.reply) for each in replies(*[0.0] * 8)],
            seconds=0.2,
        )


@pytest.mark.parametrize("answer", [ZeroDivisionError("by zero"), math.nan, 1.5])
def test_bad_graders_end_a_run_in_one_sentence(runs: Path, answer: object) -> None:
    """Those of the held-out cases too, which come first; nothing stays of the run."""
    bad, good = Grader(answer), Grader(0.0)
    with pytest.raises(TrainingError, match="the grader of Grader"):
        rl(rl_config(runs, "graded"), Stopping(), (good, bad))
    assert not (runs / "graded").exists()
    with pytest.raises(TrainingError, match="the grader of Grader"):
        rl(rl_config(runs, "graded"), Stopping(), (bad, good))
    shutil.rmtree(runs / "graded")


def test_collapse_by_hand() -> None:
    def rounds(reward: float, ended: float = 1.0, flat: float = 0.2) -> list[dict[str, float]]:
        return [{"reward": reward, "ended": ended, "flat_groups": flat}] * 5

    assert collapse(rounds(0.5) + rounds(0.6), 5) is None
    assert "fallen from 0.500 to 0.200" in str(collapse(rounds(0.5) + rounds(0.2), 5))
    assert "5% of the replies" in str(collapse(rounds(0.5) + rounds(0.5, ended=0.05), 5))
    assert "the same, and wrong" in str(collapse(rounds(0.0, flat=1) * 2, 5))
    assert "fallen" in str(collapse(rounds(0.5) + rounds(0.0, flat=1), 5))
    assert collapse(rounds(1.0, flat=1) * 2, 5) is None  # the same, and right
    assert collapse(rounds(0.1)[:4], 5) is None


def test_a_collapse_ends_the_run_and_says_so(runs: Path) -> None:
    config = rl_config(runs, "collapse")
    config = replace(config, policy=replace(config.policy, patience=2))
    task = Grader(0.0)
    display = Stopping(2)
    assert rl(config, display, (task, task)) is None  # watched across an end and a resume
    with pytest.raises(
        TrainingError,
        match=r"nothing is learned after 4 rounds: all replies .*, and wrong; .*: fine-tune",
    ):
        rl(config, Stopping(), (task, task))
    assert find(runs / "collapse").step == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rollout": {"temperature": 0.5}}, "--correction"),
        ({"policy": {"updates": 2}}, "--clip-ratio"),
        ({"goal": {"task": "chess"}}, "'chess' is not known; there are gsm8k, arithmetic"),
        ({"goal": {"task": "gsm8k"}}, "--task-data"),
        ({"goal": {"task_data": Path("somewhere")}}, "--task-data is for --task gsm8k"),
        ({"policy": {"clip_ratio_high": 0.3}}, "--clip-ratio-high needs --clip-ratio"),
        ({"optim": {"dropout": 0.1}}, "--dropout 0.1: replies are sampled without dropout"),
    ],
)
def test_what_cannot_work(runs: Path, change: dict[str, dict[str, object]], words: str) -> None:
    config = rl_config(runs, "never")
    for part, values in change.items():
        config = replace(config, **{part: replace(getattr(config, part), **values)})
    with pytest.raises(UsageError, match=words):
        rl(config, Stopping())
    assert not (runs / "never").exists()


def test_a_base_model_is_refused(runs: Path) -> None:
    config = replace(rl_config(runs, "never"), start=runs / "base")
    with pytest.raises(UsageError, match="has only read and never learned to answer"):
        rl(config, Stopping())
    assert not (runs / "never").exists()


PROBLEM = {
    "question": "Ann has 2 + 3 eggs and eats 1. How many are left?",
    "answer": "She has 2+3=<<2+3=5>>5 eggs.\nThen 5-1=<<5-1=4>>4 are left.\n#### 4",
}


def gsm8k(folder: Path, count: int = 6) -> Path:
    for side in ("train", "test"):
        (folder / f"{side}.jsonl").write_text((json.dumps(PROBLEM) + "\n") * count)
    return folder


def test_gsm8k_calls_are_run_and_replies_are_read(runs: Path, tmp_path: Path) -> None:
    """Right with its calls, right in words, wrong, two answers, none, and one that never ends."""
    tokenizer = load_tokenizer(find(runs / "sft"))
    call, end = tokenizer.special("<|call|>"), tokenizer.special("<|end_call|>")
    stop, text = [tokenizer.stop_id], tokenizer.encode_segment
    called = [*text("She has"), call, *text("calculator 2+3"), end, *text("eggs.\n#### 4"), *stop]
    scripts = [
        called, [*text("So #### $4"), *stop], [*text("#### 5"), *stop],
        [*text("#### 4 #### 4"), *stop], [*text("It is 4."), *stop], text("#### 4 #### 4") * 9,
    ]  # fmt: skip
    made = play(tokenizer, scripts)
    task = GSM8K(gsm8k(tmp_path) / "train.jsonl")
    for each in made:
        each.example, each.group = task[0], 0
    assert ToolResult("5") in made[0].reply.parts
    grade(task, made)
    assert [each.grade for each in made] == [1, 1, 0, 0, 0, 0]
    assert [each.formed for each in made] == [True, True, True, False, False, False]
    set_advantages(made, format_reward=0.5, baseline=True, scale=False)
    mean = (1.5 + 1.5 + 0.5) / 6
    assert [each.advantage for each in made] == [
        pytest.approx(reward - mean) for reward in (1.5, 1.5, 0.5, 0, 0, 0)
    ]


def test_the_loop_of_gsm8k(runs: Path, tmp_path: Path) -> None:
    config = rl_config(runs, "gsm8k")
    goal = replace(config.goal, task="gsm8k", task_data=gsm8k(tmp_path), format_reward=0.5)
    config = replace(config, goal=goal, budget=replace(config.budget, steps=2))
    assert rl(config, Stopping())
    for each in JsonLines(runs / "gsm8k/metrics.jsonl"):
        assert each["reward"] == pytest.approx(each["grade"] + 0.5 * each["format_rate"])
    assert "pass_at_1" in read_json(runs / "gsm8k/recipe.json")["before"]


def test_practice_is_of_the_other_side() -> None:
    assert PRACTICE.keys() == TASKS.keys()
    for name in ("letter_count", "spelling", "world/counting", "practice"):
        asked = {str(TASKS[name](0, 200)[index].prompt) for index in range(200)}
        assert asked.isdisjoint(str(PRACTICE[name](0, 200)[index].prompt) for index in range(200))


def test_two_ranks_are_one(runs: Path, tmp_path: Path) -> None:
    """The same replies, and gradients within 1e-5, in real processes."""
    found = []
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [sys.executable, *(launcher if ranks > 1 else []), str(SCRIPT), runs / "sft", out],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            timeout=WATCHDOG,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = [read_json(out / f"replies{rank}.json") for rank in range(ranks)]
        every = [ids for each in said for ids in each]
        found.append((every, safetensors.torch.load_file(out / "gradients.safetensors")))
    (alone, gradients), (together, shared) = found
    assert alone == together and len(alone) == 12
    assert max(each.abs().max().item() for each in gradients.values()) > 1e-3
    for name, each in gradients.items():
        assert torch.allclose(each, shared[name], atol=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["dpo", "rl"])
def test_killed_and_resumed_is_never_killed(runs: Path, tmp_path: Path, verb: str) -> None:
    """kill -9 of real processes."""
    command = [
        sys.executable, "-m", "parrotlet", verb, str(runs / "sft"), "--recipe", "smoke", "--runs",
        str(tmp_path), "--save-every", "1", "--device", "cpu",
    ]  # fmt: skip
    if verb == "rl":
        command += ["--task", "arithmetic", "--format-reward", "1"]
    subprocess.run([*command, "--name", "whole"], check=True, capture_output=True)
    process = subprocess.Popen([*command, "--name", "killed"], stdout=subprocess.DEVNULL)
    metrics = tmp_path / "killed/metrics.jsonl"
    deadline = time.monotonic() + WATCHDOG
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    resume = [sys.executable, "-m", "parrotlet", "resume", str(tmp_path / "killed")]
    subprocess.run(resume, check=True, capture_output=True)
    assert bits(tmp_path / "killed") == bits(tmp_path / "whole")
