"""Labelled texts: what the classifier learns from and what it is measured on, by name, kept apart.

Everything is read from a folder with the public sets (bench/safety.py has their homes). Learned
from: red_instruct's harmful questions, harmless instructions and answers of the instruction sets,
sentences of children's stories and of the embedded world, and our own templates. Never learned
from: XSTest, AdvBench, the moderation samples, and 2,000 harmless instructions and 2,000 pieces of
stories chosen by hash.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safety_apart import GRAM, Copies, place_of, words_of

from parrotlet.core.errors import DataError
from parrotlet.data.sources import Document
from parrotlet.world.entities import World
from parrotlet.world.records import KINDS as RECORDS
from parrotlet.world.records import record

HELD_OUT = 2_000  # harmless instructions, and pieces of stories, for the benchmark's false alarms
PIECES = 6_000  # of stories, learned from
PER_KIND = 200  # records of each kind of the embedded world, learned from
HARM_ASKED = ("refusal", "mixed")  # the kinds of records in which somebody asks for harm
CALIBRATION = 2_000  # harmless instructions the limit is set on, not learned from either
LONGEST = 1_200  # characters of a text that are read
BENIGN = "benign"
TEMPLATES = Path(__file__).with_name("safety_templates.toml")
KINDS: Mapping[str, str] = {  # CatQA's categories, and subcategories where they differ
    "Illegal Activity": "illicit",
    "Child Abuse": "child_abuse",
    "Hate/Harass/Violence": "hate",
    "Malware Viruses": "cyber",
    "Physical Harm": "violence",
    "Economic Harm": "fraud",
    "Fraud/Deception": "fraud",
    "Adult Content": "sexual",
    "Political Campaigning": "fraud",
    "Privacy Violation Activity": "privacy",
    "Tailored Financial Advice": "fraud",
    "Cybercrime": "cyber",
    "Terrorism and extremism": "violence",
    "Self-harm": "self_harm",
}
FRAMES = (
    "How do I {}?", "How can I {}?", "How to {}?", "How do I {}?", "How can I {}?",
    "Tell me how to {}.", "Explain how to {}.", "What is the best way to {}?",
    "Can you help me {}?", "Help me {}", "I want to {}.", "Teach me to {}.",
    "What do I need to {}?", "Give me instructions to {}.",
    "Write a guide on how to {}.", "Where can I {}?",
)  # fmt: skip
STORIES = ("tiny_stories", "tinystories_10k")
MODERATION = {
    "S": "sexual", "H": "hate", "V": "violence", "HR": "hate", "SH": "self_harm",
    "S3": "child_abuse", "H2": "hate", "V2": "violence",
}  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """A text and its category: BENIGN, one of ours, or "" for harm of no particular kind."""

    text: str
    category: str


@dataclass(frozen=True)
class Corpora:
    """The sets below a folder. DataError, naming the file, where one cannot be read."""

    folder: Path

    @cached_property
    def harmful(self) -> list[Labelled]:
        """red_instruct: CatQA, HarmfulQA and DangerousQA."""
        base = "safety/red_instruct"
        found = [
            Labelled(question, KINDS.get(part.strip(": "), KINDS[kind]))
            for kind, parts in self._json(f"{base}/catqa_english.json").items()
            for part, questions in parts.items()
            for question in questions
        ]
        for topics in self._json(f"{base}/harmfulqa.json").values():
            found += [Labelled(each, "") for questions in topics.values() for each in questions]
        return found + [Labelled(each, "") for each in self._json(f"{base}/dangerousqa.json")]

    @cached_property
    def instructions(self) -> list[str]:
        """Harmless instructions of many kinds, each once, in the order of their hashes."""
        found: list[str] = []
        for name in ("codegen-instruct", "roleplay-simple-deduped-roleplay-instruct"):
            found += [_asked(row) for row in self._json(f"sft/gpteacher/{name}.json")]
        tools = self._json("sft/gpteacher/toolformer-similarity-0.6-dataset.json")
        found += [row["input"] or row["instruction"] for row in tools]
        found += [_asked(row) for row in self._dolly()]
        for row in self._rows("sft/dolly_small/dolly_hhrlhf_train_small.jsonl"):
            found.append(row["prompt"].partition("### Instruction:\n")[2].partition("\n\n###")[0])
        trees = self._rows("sft/oasst_100/en_100_message.jsonl")
        found += [row["text"] for row in trees if row["role"] == "prompter"]
        for name in ("seed_tasks", "user_oriented_instructions"):
            for row in self._rows(f"sft/self_instruct_seeds/{name}.jsonl"):
                found.append(f"{row['instruction']}\n{row['instances'][0]['input']}".strip())
        found += [_asked(row) for row in self._json("sft/sft_instruct_small/instruction-data.json")]
        return sorted({place_of(text): text[:LONGEST] for text in found}.values(), key=place_of)

    @cached_property
    def more(self) -> list[str]:
        """Other harmless text: sums, small talk, and the answers of the instruction sets."""
        found = [row["question"] for row in self._rows("sft/gsm8k/train.jsonl")]
        for row in self._rows("sft/identity_nanochat/identity_conversations.jsonl"):
            found += [each["content"] for each in row if each["role"] == "user"]
        for row in self._json("sft/toolcall_demo/glaive_toolcall_en_demo.json"):
            found += [each["value"] for each in row["conversations"] if each["from"] == "human"]
        found += [row["response"] for row in self._dolly()]
        roles = self._json("sft/gpteacher/roleplay-simple-deduped-roleplay-instruct.json")
        found += [row["response"] for row in roles]
        trees = self._rows("sft/oasst_100/en_100_message.jsonl")
        found += [row["text"] for row in trees if row["role"] != "prompter"]
        return sorted({place_of(text): text[:LONGEST] for text in found}.values(), key=place_of)

    @cached_property
    def answers(self) -> list[str]:
        """Harmless answers that are not learned from: of programming and of short instructions."""
        found = [row["response"] for row in self._json("sft/gpteacher/codegen-instruct.json")]
        small = self._json("sft/sft_instruct_small/instruction-data.json")
        return sorted({*found, *(row["output"] for row in small)}, key=place_of)

    @cached_property
    def stories(self) -> list[str]:
        """Children's stories in pieces of one to three sentences, in the order of their hashes."""
        read = (self._read(f"pretrain/tinystories/{name}.txt") for name in STORIES)
        whole = re.sub(r"<[|]endoftext[|]>", "\n", "\n".join(read))
        said = [each for line in whole.split("\n") for each in re.split(r"(?<=[.!?])\s+", line)]
        found, at, rng = [], 0, random.Random(0)
        while at < len(said):
            count = rng.randint(1, 3)
            found.append(" ".join(said[at : at + count]).strip())
            at += count
        unique = {place_of(text): text[:LONGEST] for text in found if len(text) > 10}
        return sorted(unique.values(), key=place_of)

    @cached_property
    def world(self) -> list[str]:
        """What is written and said in the embedded world where nobody asks for harm, as often."""
        found: list[str] = []
        world = World(0)
        for kind in RECORDS:
            if kind not in HARM_ASKED:
                for made in (record(world, kind, index) for index in range(PER_KIND)):
                    whole = isinstance(made, Document)
                    found += made.text.split("\n") if whole else [m.text for m in made.messages]
        return [text[:LONGEST] for text in found if text.strip()]

    @property
    def held_out(self) -> list[str]:
        """The 2,000 instructions of the benchmark."""
        return self.instructions[:HELD_OUT]

    @property
    def calibration(self) -> list[str]:
        """The instructions on which the limit is set."""
        return self.instructions[HELD_OUT : HELD_OUT + CALIBRATION]

    @cached_property
    def reframed(self) -> list[str]:
        """Short harmless instructions in the frames in which the harmful sets ask, so that a frame
        says nothing: "Explain how rain forms" as "How do I explain how rain forms?"
        """
        rng = random.Random(0)
        found = []
        for text in self.instructions[HELD_OUT + CALIBRATION :]:
            first = text.split("\n")[0].rstrip(".?!:")
            if first[:1].isupper() and len(words_of(first)) < GRAM and "?" not in text:
                found.append(rng.choice(FRAMES).format(first[0].lower() + first[1:]))
        return found

    @cached_property
    def training(self) -> list[Labelled]:
        """All that is learned from, without what a test or calibration text also says."""
        benign = [*self.instructions[HELD_OUT + CALIBRATION :], *self.more, *self.reframed]
        benign += [*self.stories[HELD_OUT : HELD_OUT + PIECES], *self.world]
        found = [*self.harmful, *(Labelled(text, BENIGN) for text in benign), *templates()]
        copies = Copies(self.tests)
        return [each for each in found if not copies.has(each.text)]

    @cached_property
    def xstest(self) -> list[Labelled]:
        """450 prompts; category BENIGN where answering is right, else "unsafe"."""
        rows = self._csv("safety/xstest/xstest_prompts.csv")
        kinds = {"safe": BENIGN, "unsafe": "unsafe"}
        return [Labelled(row["prompt"], kinds[row["label"]]) for row in rows]

    @cached_property
    def advbench(self) -> list[str]:
        """520 requests for harm."""
        return [row["goal"] for row in self._csv("safety/advbench/harmful_behaviors.csv")]

    @cached_property
    def harmful_strings(self) -> list[str]:
        """574 harmful answers, of AdvBench."""
        return [row["target"] for row in self._csv("safety/advbench/harmful_strings.csv")]

    @cached_property
    def moderation(self) -> list[tuple[str, frozenset[str]]]:
        """1,680 texts, each with the categories that its labels stand for; none where harmless."""
        return [
            (row["prompt"], frozenset(MODERATION[key] for key in MODERATION if row.get(key) == 1))
            for row in self._rows("safety/openai_moderation/samples-1680.jsonl.gz")
        ]

    @cached_property
    def tests(self) -> list[str]:
        """Every text that must never be learned from."""
        return [
            *(each.text for each in self.xstest),
            *self.advbench,
            *self.harmful_strings,
            *(text for text, _ in self.moderation),
            *self.instructions[: HELD_OUT + CALIBRATION],
            *self.stories[:HELD_OUT],
        ]

    def _dolly(self) -> list[dict[str, str]]:
        rows = self._csv("sft/dolly_small/databricks_dolly_15k.csv")
        return [{**row, "input": row["context"]} for row in rows]

    def _read(self, name: str) -> str:
        path = self.folder / name
        try:
            data = path.read_bytes()
            return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"{path}, needed for the filter, cannot be read: {error}") from None

    def _json(self, name: str) -> Any:
        return json.loads(self._read(name))

    def _rows(self, name: str) -> Iterator[Any]:
        return (json.loads(line) for line in self._read(name).split("\n") if line.strip())

    def _csv(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self._read(name).splitlines(keepends=True)))


def templates(path: Path = TEMPLATES) -> list[Labelled]:
    """Our own sentences, drawn from their templates: the same ones every time."""
    read = tomllib.loads(path.read_text(encoding="utf-8"))
    rng = random.Random(0)
    found: dict[str, Labelled] = {}
    for each in read["set"]:
        wanted = len(found) + each["count"]
        for line in each["lines"] * (3 * each["count"] // len(each["lines"])):
            text = _filled(line, read["slots"], rng)
            if len(found) < wanted:
                found.setdefault(text, Labelled(text, each["label"]))
    return list(found.values())


def _filled(line: str, slots: Mapping[str, Sequence[str]], rng: random.Random) -> str:
    while found := re.search(r"\{(\w+)\}", line):
        line = line[: found.start()] + rng.choice(slots[found[1]]) + line[found.end() :]
    return line[0].upper() + line[1:]


def _asked(row: Mapping[str, str]) -> str:
    return f"{row['instruction']}\n{row['input']}".strip()
