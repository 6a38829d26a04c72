"""Orders: what a system prompt may ask for, how it is worded, what it does to a reply.

Every order says how its result is recognised, so that a test can judge any reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parrotlet.world.chance import Pool

THANKS, QUESTION = "Thank you for asking.", "What else?"


@dataclass(frozen=True, kw_only=True)
class Order:
    """`keep(reply, answer, word)` makes a reply keep the order; `kept(reply, word)` judges one."""

    wordings: Pool
    keep: Callable[[str, str, str], str]
    kept: Callable[[str, str], bool]
    stage: int  # orders are carried out by rising stage


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without the marks around them."""
    stripped = (word.strip(".,;:!?\"()'") for word in text.lower().split())
    return [word for word in stripped if word]


def _said_twice(reply: str, word: str) -> bool:
    words = words_of(reply)
    half = len(words) // 2
    return half > 0 and len(words) == 2 * half and words[:half] == words[half:]


ORDERS: Mapping[str, Order] = {
    "one word": Order(
        wordings=Pool(
            train=(
                "Answer with one word.",
                "Reply with one word only.",
                "Use only one word.",
                "One word is enough.",
                "Your answers have one word.",
                "Always answer in one word.",
                "Say just one word.",
                "Give one word as the answer.",
                "Every reply must be one word.",
                "Be short: one word.",
                "Answer in a single word.",
                "Just one word as the answer, please.",
                "Give all answers as one word.",
                "A reply is one word.",
                "Only one word, please.",
                "Only say one word.",
                "Please answer in one word.",
                "All your answers must be one word.",
            ),
            test=(
                "Only answer with one word.",
                "Just give one word.",
                "No answer may have more than one word.",
                "Please reply in one word.",
            ),
        ),
        keep=lambda reply, answer, word: answer,
        kept=lambda reply, word: len(words_of(reply)) == 1,
        stage=0,
    ),
    "begin": Order(
        wordings=Pool(
            train=(
                "Begin every reply with {w}.",
                "Start every answer with {w}.",
                "Always begin with {w}.",
                "Your first word is {w}.",
                "Say {w} before every answer.",
                "Each reply begins with {w}.",
                "The first word of your answer must be {w}.",
                "First say {w}, then answer.",
                "Start all replies with {w}.",
                "Your answer starts with {w}.",
                "First of all say {w}.",
                "Put {w} before the answer.",
                "Your first word is always {w}.",
                "Say {w} first of all.",
                "Your replies must begin with {w}.",
                "Before you answer, say {w}.",
            ),
            test=(
                "Always start with {w}.",
                "Begin each answer with {w}.",
                "Your first word must be {w}.",
                "Say {w} at the start of every answer.",
            ),
        ),
        keep=lambda reply, answer, word: f"{word.capitalize()}! {reply}",
        kept=lambda reply, word: words_of(reply)[:1] == [word.lower()],
        stage=1,
    ),
    "thanks": Order(
        wordings=Pool(
            train=(
                "Thank the user for asking.",
                "First thank the user for the question.",
                "Always say thank you for asking.",
                "Be polite and thank the user for asking.",
                "Start with thanks for the question.",
                "Before you answer, thank the user.",
                "Say thank you before every answer.",
                "Every answer starts with thanks.",
                "First say thank you, then answer.",
                "Be nice: thank the user.",
                "Say thank you first.",
                "Thank the user at the start of each reply.",
                "Your answers begin with thanks.",
                "Thank the user before you answer.",
            ),
            test=(
                "Always thank the user first.",
                "Thank the user, then give the answer.",
                "Be polite: say thank you for the question.",
                "Start every answer with thanks for asking.",
            ),
        ),
        keep=lambda reply, answer, word: f"{THANKS} {reply}",
        kept=lambda reply, word: words_of(reply)[:2] == ["thank", "you"],
        stage=1,
    ),
    "end": Order(
        wordings=Pool(
            train=(
                "End every reply with the word {w}.",
                "End with {w}.",
                "Finish every answer with {w}.",
                "Your last word is {w}.",
                "Always end with the word {w}.",
                "Each reply ends with {w}.",
                "Say {w} at the end of every answer.",
                "The last word of your answer must be {w}.",
                "Finish all replies with the word {w}.",
                "After every answer, say {w}.",
                "Put {w} at the end of the answer.",
                "Your replies must end with {w}.",
                "Close every reply with {w}.",
                "At the end of every reply, say {w}.",
                "End each answer with {w}.",
                "The last thing you say is {w}.",
            ),
            test=(
                "Finish with the word {w}.",
                "Let every answer end with {w}.",
                "Every answer must end with {w}.",
                "Your last word must be {w}.",
            ),
        ),
        keep=lambda reply, answer, word: f"{reply[:-1]}, {word}.",
        kept=lambda reply, word: words_of(reply)[-1:] == [word.lower()],
        stage=1,
    ),
    "question": Order(
        wordings=Pool(
            train=(
                "Ask what else after every answer.",
                "End with a question.",
                "Always end with a question for the user.",
                "After each answer, ask what else there is.",
                "Finish with a question to the user.",
                "Ask a question at the end of every reply.",
                "Each reply ends with a question.",
                "Ask the user for more after the answer.",
                "Finish with a question.",
                "Every answer ends with a question to the user.",
                "At the end of each reply, ask the user a question.",
                "Answer, then ask what else.",
                "Your replies must end with a question for the user.",
                "Close every reply with a question.",
                "At the end, ask for more.",
                "At the end of an answer, ask the user what else there is.",
                "Always ask a question after the answer.",
            ),
            test=(
                "Finish every answer with a question.",
                "At the end, ask the user if there is more.",
                "Ask the user something after each answer.",
                "Every reply must end with a question.",
            ),
        ),
        keep=lambda reply, answer, word: f"{reply} {QUESTION}",
        kept=lambda reply, word: reply.rstrip().endswith("?"),
        stage=1,
    ),
    "called": Order(
        wordings=Pool(
            train=(
                "Your name is {w}.",
                "You are called {w}.",
                "You are {w}.",
                "From now on you are called {w}.",
                "You are an assistant called {w}.",
                "People call you {w}.",
                "Say that your name is {w}.",
                "Here you have the name {w}.",
                "Your name is now {w}.",
                "The name they gave you is {w}.",
                "You are an assistant with the name {w}.",
                "Everybody calls you {w}.",
                "Today you are called {w}.",
            ),
            test=(
                "From now on your name is {w}.",
                "Here people call you {w}.",
                "You have the name {w}.",
                "You are an assistant and your name is {w}.",
            ),
        ),
        keep=lambda reply, answer, word: reply.replace("parrotlet", word),
        kept=lambda reply, word: "parrotlet" not in words_of(reply),
        stage=0,
    ),
    "twice": Order(
        wordings=Pool(
            train=(
                "Say everything twice.",
                "Repeat every answer.",
                "Give each answer two times.",
                "Write every answer twice.",
                "Always say your answer twice.",
                "Every reply must be said twice.",
                "Say it, and then say it again.",
                "Answer two times in the same words.",
                "Say each reply twice.",
                "All you say is said two times.",
                "Your answers come twice.",
                "Repeat everything you say.",
                "Write it twice, every time.",
                "Always repeat what you say.",
                "Repeat your replies.",
                "Always say it again.",
                "Repeat each answer, always.",
                "Always repeat your answer.",
                "Write everything two times.",
            ),
            test=(
                "Say every answer twice.",
                "Give every answer twice.",
                "I want to read every reply two times.",
                "Repeat the answer each time.",
            ),
        ),
        keep=lambda reply, answer, word: f"{reply} {reply}",
        kept=_said_twice,
        stage=2,
    ),
    "capitals": Order(
        wordings=Pool(
            train=(
                "Reply in capital letters.",
                "Answer in capital letters.",
                "Write everything in capital letters.",
                "Use only capital letters.",
                "Always use capitals.",
                "Speak in capitals.",
                "Your replies must be in capitals.",
                "All your answers are in capital letters.",
                "Say everything in big letters.",
                "Every word must be in capital letters.",
                "Only capital letters, please.",
                "Big letters only.",
                "Each reply is in capitals.",
                "Write in capitals and nothing else.",
                "Give all your answers in big letters.",
            ),
            test=(
                "Use capital letters for every reply.",
                "Only reply in capitals.",
                "Write all your answers in capital letters.",
                "Everything you say must be in capitals.",
            ),
        ),
        keep=lambda reply, answer, word: reply.upper(),
        kept=lambda reply, word: (
            reply.isupper() or (reply == reply.upper() and reply.strip() != "")
        ),
        stage=3,
    ),
}
