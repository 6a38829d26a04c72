"""What the pages do, by Streamlit's AppTest: every widget, without a browser."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_api import Scripted
from streamlit.testing.v1 import AppTest

from parrotlet.data.preferences import read_preferences
from parrotlet.ui.inside import sampled
from parrotlet.ui.store import Store

SECONDS = 120  # of a run of the script, at most
HISTORY = [{"step": step, "loss": 5 - step / 10, "units": 100, "seconds": float(step),
            "lap": 1.0, "lr": 1.0} for step in range(1, 21)]  # fmt: skip


def chat_script(address: str, home: str) -> None:
    from pathlib import Path

    from parrotlet.ui.answers import Answers
    from parrotlet.ui.chat import ChatPage
    from parrotlet.ui.client import Client
    from parrotlet.ui.store import Store

    ChatPage(Client(address), Store(Path(home)), Answers()).show()


def inside_script(address: str, home: str) -> None:
    from pathlib import Path

    from parrotlet.ui.client import Client
    from parrotlet.ui.inside import InsidePage
    from parrotlet.ui.store import Store

    InsidePage(Client(address), Store(Path(home))).show()


def training_script(runs: dict[str, str]) -> None:
    from pathlib import Path

    from parrotlet.terminal.web_page import judge
    from parrotlet.ui.training import TrainingPage

    TrainingPage({name: Path(path) for name, path in runs.items()}, judge).show()


def report_script(runs: dict[str, str]) -> None:
    from pathlib import Path

    from parrotlet.ui.report import report_page

    report_page({name: Path(path) for name, path in runs.items()})


def opened(script: Any, *arguments: Any) -> AppTest:
    """A page that was drawn once, without an exception."""
    page = AppTest.from_function(script, args=arguments, default_timeout=SECONDS).run()
    assert not page.exception
    return page


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A question with two answers, and another conversation."""
    store = Store(tmp_path)
    store.begin("the other one")
    id = store.begin("sums", "Be brief.")
    asked = store.add(id, None, "user", text("2 + 2?"), facts={"finish": "stop"})
    for words in ("It is 5.", "It is 4."):
        store.add(id, asked, "assistant", text(words), model="tuned", facts={"finish": "stop"})
    return store


@pytest.fixture
def chat(api: Scripted, store: Store) -> Iterator[AppTest]:
    """The chat page with that conversation."""
    page = AppTest.from_function(
        chat_script, args=(api.address, str(store.path.parent)), default_timeout=SECONDS
    )
    page.query_params["c"] = store.talks()[0].id
    yield page.run()
    assert not page.exception


def run_until(page: AppTest, done: Callable[[], bool]) -> None:
    """The page run again until it is so: replies come in by threads of their own."""
    for _ in range(1200):
        if done():
            return
        time.sleep(0.05)
        page.run()
    raise AssertionError(str(page))


def labels(page: AppTest) -> list[str]:
    return [each.label for each in page.button]


def test_conversations_are_listed_renamed_and_deleted(chat: AppTest, store: Store) -> None:
    assert {"sums", "the other one"} <= set(labels(chat))
    chat.text_input[0].set_value("arithmetic").run()
    assert store.talks()[0].title == "arithmetic" and "arithmetic" in labels(chat)
    chat.button(key="delete").click().run()
    assert [each.title for each in store.talks()] == ["the other one"]
    assert "c" not in chat.query_params and "arithmetic" not in labels(chat)


def test_exports_hold_the_branch_that_is_shown(chat: AppTest) -> None:
    names = [each.label for each in chat.get("download_button")]
    assert names == ["Export as JSON", "Export as Markdown"]
    shown = [each.value for message in chat.chat_message for each in message.markdown]
    assert "It is 4." in shown and "It is 5." not in shown


def test_thumbs_become_pairs_that_dpo_reads(chat: AppTest, store: Store) -> None:
    chat.feedback[0].set_value(1).run()
    chat.button(key="turn-3--1").click().run()  # to the first answer
    shown = [each.value for message in chat.chat_message for each in message.markdown]
    assert "It is 5." in shown
    chat.feedback[0].set_value(0).run()
    pairs = list(read_preferences([store.preferences]))
    assert [(each.chosen.text, each.rejected.text) for each in pairs] == [("It is 4.", "It is 5.")]


def test_what_was_decided_about_a_reply_is_told(chat: AppTest, store: Store) -> None:
    verdict = {"action": "warn", "category": "hate", "direction": "input", "reason": "it is rude"}
    usage = {"completion_tokens": 10, "prompt_tokens": 9, "total_tokens": 19}
    facts = {"finish": "length", "seconds": 2.0, "first": 0.5, "usage": usage, "filter": verdict,
             "dropped_messages": 4}  # fmt: skip
    store.finish(3, text("It is 4."), facts)
    chat.run()
    told = [each.value for each in chat.caption]
    assert any("the oldest 4 messages no longer fit the context" in each for each in told)
    assert any(each.startswith(":material/info: cut off") for each in told)
    assert "tuned · 5 tokens/s · first token after 0.50 s · context 19 of 512 tokens" in told
    assert [each.value for each in chat.info] == ["A safety filter has a remark: it is rude."]


def test_imports(chat: AppTest, store: Store) -> None:
    def bring(value: object) -> None:
        file = ("talk.json", json.dumps(value).encode(), "application/json")
        chat.file_uploader[0].set_value(file).run()
        chat.button(key="do-import").click().run()

    bring({"messages": [{"role": "assistant", "content": "x"}]})
    assert "is not the user's" in chat.error[0].value
    assert len(store.talks()) == 2
    bring({"title": "brought", "messages": [{"role": "user", "content": "Hello"}]})
    assert store.talks()[0].title == "brought"
    assert chat.query_params["c"] == store.talks()[0].id


def test_presets_and_the_system_prompt_are_kept(chat: AppTest, store: Store) -> None:
    key = f"set-system-{store.talks()[0].id}"
    assert chat.text_area(key=key).value == "Be brief."
    chat.selectbox(key="preset").select("One word").run()
    assert store.talks()[0].system == chat.text_area(key=key).value == "Answer with one word."
    chat.text_area(key=key).set_value("Rhyme.").run()
    assert store.talks()[0].system == "Rhyme."


def test_what_is_set_is_what_is_asked_for(chat: AppTest, api: Scripted, store: Store) -> None:
    chat.slider(key="set-temperature").set_value(0.5)
    chat.number_input(key="set-top-k").set_value(7)
    chat.slider(key="set-min-p").set_value(0.1)
    chat.text_input(key="set-seed").set_value("11")
    chat.toggle(key="set-tools").set_value(False).run()
    chat.chat_input[0].set_value("say hello").run()

    def finished() -> list[str]:
        said = store.tree(store.talks()[0].id).values()
        return [each.facts["finish"] for each in said if each.text == "hello" and each.facts]

    run_until(chat, lambda: bool(finished()))
    asked = api.asked[-1]
    assert asked["messages"][-1]["content"] == "say hello"
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    wanted = {"temperature": 0.5, "top_k": 7, "min_p": 0.1, "seed": 11, "tool_choice": "none",
              "model": "tuned", "truncation": "auto", "max_tokens": 256}  # fmt: skip
    assert wanted.items() <= asked.items()
    assert finished() == ["stop"]


def test_a_seed_that_is_no_number_is_told(chat: AppTest) -> None:
    chat.text_input(key="set-seed").set_value("²").run()
    assert any("a seed is a whole number" in each.value for each in chat.caption)


def test_two_models_answer_side_by_side_and_one_is_better(
    chat: AppTest, api: Scripted, store: Store
) -> None:
    chat.pills(key="set-models").set_value(["tuned", "raw"]).run()
    chat.chat_input[0].set_value("say the same").run()

    def better() -> list[Any]:
        return [each for each in chat.button if each.label == "This one is better"]

    run_until(chat, lambda: {each["model"] for each in api.asked} == {"tuned", "raw"})
    run_until(chat, lambda: len(better()) == 2)
    better()[0].click().run()
    thumbs = [each.thumb for each in store.tree(store.talks()[0].id).values() if each.side]
    assert thumbs == [True, False]


def test_under_the_hood(api: Scripted, store: Store) -> None:
    page = opened(inside_script, api.address, str(store.path.parent))
    page.text_area[0].set_value("one two three").run()
    assert page.subheader[0].value == "3 tokens, 14 bytes"
    page.slider[0].set_value(1).run()
    assert api.asked[-1]["position"] == 1
    metrics = {each.label: each.value for each in page.metric}
    assert metrics["token"] == "␣two" and metrics["bytes"] == "20 74 77 6f"
    assert metrics["the model gave it"] == "36.8%"
    page.slider(key="inside-layer").set_value(2).run()
    assert api.asked[-1]["layer"] == 1 and not page.exception
    page.segmented_control(key="inside-what").set_value("a conversation").run()
    assert [each["content"] for each in api.asked[-1]["messages"]] == [
        "Be brief.", "2 + 2?", "It is 4.",
    ]  # fmt: skip
    assert any("the loss mask" in each.value for each in page.caption)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "left"),
    [
        (1.0, 0, 1.0, [0.5, 0.3, 0.2]), (0, 0, 1.0, [1, 0, 0]), (1.0, 1, 1.0, [1, 0, 0]),
        (1.0, 2, 1.0, [0.625, 0.375, 0]), (1.0, 0, 0.6, [0.625, 0.375, 0]),
        (0.5, 0, 1.0, [25 / 38, 9 / 38, 4 / 38]),
    ],
)  # fmt: skip
def test_what_sampling_leaves(
    temperature: float, top_k: int, top_p: float, left: list[float]
) -> None:
    found = [{"probability": each} for each in (0.5, 0.3, 0.2)]
    assert sampled(found, temperature, top_k, top_p) == pytest.approx(left)


def run_of(folder: Path, count: int = 20) -> Path:
    """A run with a curve and a sample."""
    folder.mkdir(parents=True)
    lines = [json.dumps(each) for each in HISTORY[:count]]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    recipe = {"verb": "pretrain", "steps": 20, "config": {"recipe": "smoke"}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    said = {"step": 20, "prompt": "Once", "text": "Once upon a time"}
    (folder / "samples.jsonl").write_text(json.dumps(said) + "\n")
    return folder


def test_training(tmp_path: Path) -> None:
    run_of(tmp_path / "demo" / "base")
    run_of(tmp_path / "demo" / "sft", 10)
    run_of(tmp_path / "older")
    page = opened(training_script, {"demo": str(tmp_path / "demo")})
    runs = page.multiselect[0]
    assert runs.value == ["demo/base", "demo/sft"] and len(runs.options) == 3
    metrics = [(each.label, each.value) for each in page.metric]
    assert ("step", "20 of 20") in metrics and ("step", "10 of 20") in metrics
    assert any(each.value == "Once upon a time" for each in page.text)
    page.toggle(key="train-log").set_value(True)
    page.segmented_control(key="train-across").set_value("minutes")
    runs.set_value(["demo/sft"]).run()
    assert [each.value for each in page.metric if each.label == "step"] == ["10 of 20"]
    runs.set_value([]).run()
    assert not page.exception


def test_report(tmp_path: Path) -> None:
    page = opened(report_script, {"demo": str(tmp_path)})
    assert "No report is here" in page.info[0].value
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").write_text(f"<p>{name}</p>")
    page = opened(report_script, {name: str(tmp_path / name) for name in ("one", "two")})
    assert page.selectbox[0].options == ["one", "two"]
    page.selectbox[0].select("two").run()
    assert not page.exception and "two" in str(page.get("iframe")[0].proto)
