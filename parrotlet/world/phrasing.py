"""Phrasing: how a question is put. Every intent is crossed with every frame around it.

An intent gives direct questions of its own, clauses ("where Tom lives") and topics ("Tom's job").
Clauses and topics go into frames that all intents share, so that a frame never gives away the
intent. The test side has direct questions and frames of its own, none in the words of a training
one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from parrotlet.world.chance import Pool, Side

CLAUSE_FRAMES = Pool(
    train=(
        "Can you tell me {it}?",
        "Do you know {it}?",
        "Please tell me {it}.",
        "Tell me {it}.",
        "I want to know {it}.",
        "I would like to know {it}.",
        "Could you say {it}?",
        "Say {it}.",
        "I forgot {it}.",
        "Please say {it}.",
        "Do you remember {it}?",
        "I need to know {it}.",
        "Let me know {it}.",
        "I do not remember {it}. Do you?",
        "My friend wants to know {it}.",
        "Can you help me? I must know {it}.",
        "I am not sure {it}.",
        "Will you tell me {it}, please?",
        "I wonder {it}.",
        "Have you any idea {it}?",
        "You must know {it}.",
        "I keep asking myself {it}.",
        "May I ask {it}?",
        "Now say {it}.",
        "My question is {it}.",
        "Somebody wants to hear {it}.",
        "Is it true that you know {it}?",
        "I hope you know {it}.",
        "Nobody will tell me {it}.",
        "I want you to say {it}.",
        "Think, and then tell me {it}.",
    ),
    test=(
        "Would you tell me {it}?",
        "Please let me know {it}.",
        "Please find out {it}.",
        "Are you able to say {it}?",
        "It would be nice to know {it}.",
        "I am trying to remember {it}.",
        "Could you please tell me {it}?",
    ),
)
TOPIC_FRAMES = Pool(
    train=(
        "What is {it}?",
        "Tell me {it}.",
        "Give me {it}.",
        "Do you know {it}?",
        "I need {it}.",
        "Please tell me {it}.",
        "Can you give me {it}?",
        "I forgot {it}.",
        "I want to know {it}.",
        "Say {it}.",
        "I have to know {it}.",
        "I would like to learn {it}.",
        "I would like you to say {it}.",
        "You must tell me {it}.",
        "Write down {it}.",
        "Do you remember {it}?",
        "I do not know {it}.",
        "Help me with {it}.",
        "The question is {it}.",
        "Say it: {it}.",
        "Now I need {it}.",
        "Can you say {it}?",
        "I am asking you for {it}.",
    ),
    test=(
        "Remind me of {it}.",
        "Could you give me {it}?",
        "Please give me {it}.",
        "What would {it} be?",
        "Look up {it}.",
    ),
)
OPENERS = Pool(
    train=(
        "Hello. ",
        "Hi. ",
        "Hello! ",
        "One question. ",
        "Excuse me. ",
        "Well. ",
        "Please help. ",
    ),
    test=("Hi there. ", "One more question. ", "Good day. ", "Listen. ", "Sorry. "),
)
FRAMED = 0.5  # share of questions put through a shared frame
OPENED = 0.1  # share of questions after an opener
SLOPPY = 0.08  # share of training questions that are typed carelessly


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The ways to put one question; `{x}` and other fields are filled when it is asked."""

    train: Sequence[str]
    test: Sequence[str]
    clauses: Sequence[str] = ()
    topics: Sequence[str] = ()

    def put(self, rng: random.Random, side: Side, **fields: str) -> str:
        """One wording of that side."""
        text = self._wording(rng, side).format_map(fields)
        text = text[0].upper() + text[1:]
        if rng.random() < OPENED:
            text = OPENERS.pick(rng, side) + text
        return sloppy(rng, text) if side == "train" and rng.random() < SLOPPY else text

    def _wording(self, rng: random.Random, side: Side) -> str:
        framed = [(CLAUSE_FRAMES, it) for it in self.clauses]
        framed += [(TOPIC_FRAMES, it) for it in self.topics]
        if framed and rng.random() < FRAMED:
            frames, it = rng.choice(framed)
            return frames.pick(rng, side).replace("{it}", it)
        return Pool(self.train, self.test).pick(rng, side)


def sloppy(rng: random.Random, text: str) -> str:
    """The text as people type it: begun small, without its last mark, or both."""
    if rng.random() < 0.5:
        text = text[0].lower() + text[1:]
    return text.rstrip("?.!") if rng.random() < 0.7 else text


def sentence(text: str) -> str:
    """The text with a capital letter at its start."""
    return text[0].upper() + text[1:]
