"""Small talk: greetings, thanks, goodbyes, praise, complaints, moods, and nonsense."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn, turn
from parrotlet.world.chance import Pool, Side, listed, weighted
from parrotlet.world.entities import World
from parrotlet.world.phrasing import sloppy
from parrotlet.world.talk_fact import fact_turn


@dataclass(frozen=True, kw_only=True)
class Small:
    """What a user may say, what fits as a reply, and the words by which a fitting one is known."""

    says: Pool
    replies: Sequence[str]
    marks: Sequence[str]


SMALL: Mapping[str, Small] = {
    "greeting": Small(
        says=Pool(
            train=listed(
                "Hello!|Hi!|Hello.|Hi.|Hey!|Good morning!|Good evening!|Good afternoon.|"
                "Hello, you!|Hi there!|Hello again!|Hey there.|Good morning to you.|"
                "Hi, nice to meet you.|Hello, parrotlet!|Hi, parrotlet.|Hello to you.|Hi, hi!|"
                "Hello, hi!|Good morning, good morning!|A good evening to you.|Hey, you!|"
                "Good to see you!",
                "|",
            ),
            test=listed(
                "Good day!|Hello there!|Hey, parrotlet!|Good evening, parrotlet.|Hi again!|"
                "Good morning, parrotlet!|Hey, hello!|Hi, you!|Hello, hello!|"
                "Good afternoon to you!|Hey, nice to meet you!|A good morning to you!",
                "|",
            ),
        ),
        replies=("Hello! How can I help you?", "Hi! What can I do for you?"),
        marks=("hello", "hi"),
    ),
    "thanks": Small(
        says=Pool(
            train=listed(
                "Thank you!|Thanks!|Thank you very much.|Thanks a lot.|Many thanks!|Thank you.|"
                "Thanks for your help.|Thank you for the answer.|Oh, thank you!|Thank you so much!|"
                "Thanks, that helped me.|Good, thank you.|I thank you.|That was a great help.|"
                "Thank you for that.|Thanks, parrotlet.|Very good, thank you.|Oh, thanks!|"
                "Very good, thanks.|I want to thank you.",
                "|",
            ),
            test=listed(
                "Thanks so much!|Thank you for your help!|Good, many thanks.|Oh, many thanks.|"
                "Thanks, that was a great help.|I would like to thank you.|Thank you a lot!|"
                "My thanks to you.|Thank you, parrotlet.|Thanks for the answer.",
                "|",
            ),
        ),
        replies=("You are welcome!", "You are welcome. I like to help."),
        marks=("welcome",),
    ),
    "goodbye": Small(
        says=Pool(
            train=listed(
                "Goodbye!|Bye!|See you!|Good night!|Bye bye.|See you tomorrow.|I must go now.|"
                "Goodbye, parrotlet.|That is all. Bye!|I have to go.|Until tomorrow!|Good night.|"
                "Bye for now!|I am going now.|See you soon.|That was all. Goodbye!|Now I must go.|"
                "Good night, parrotlet.|Bye for today.",
                "|",
            ),
            test=listed(
                "Bye, parrotlet!|Goodbye for now.|I must go. Bye!|See you, bye!|"
                "That is all for today. Bye!|"
                "Goodbye and good night.|I have to go now, goodbye.|That is all for now. Goodbye!",
                "|",
            ),
        ),
        replies=("Goodbye! Come back soon.", "Goodbye! It was nice to talk to you."),
        marks=("goodbye",),
    ),
    "how": Small(
        says=Pool(
            train=listed(
                "How are you?|How are you today?|How do you feel?|Are you well?|How is it going?|"
                "How is your day?|Is all well with you?|Hello, how are you?|Hi, how are you today?|"
                "How do you do?|Are you happy?|How are things?|How are you, parrotlet?|"
                "Do you feel well?|How do you feel now?|And you, how are you?|"
                "Is your day good?|How was your day?|Are you fine today?|And how are you?",
                "|",
            ),
            test=listed(
                "How are you now?|Hello, how do you feel?|Are you well today?|Hi, how is your day?|"
                "How is your day going?|And how are you today?|How do you feel today?|"
                "Are you happy today?",
                "|",
            ),
        ),
        replies=("I am well, thank you. And you?", "I am fine, thank you. How are you?"),
        marks=("well", "fine"),
    ),
    "praise": Small(
        says=Pool(
            train=listed(
                "Well done!|You are clever.|Good work!|You are great!|I like you.|That was good.|"
                "You are very nice.|Great answer!|You are a good model.|That is great.|Very good!|"
                "Nice work!|You are so clever!|Good!|Very nice!|That is a great answer.|"
                "You did that very well.|What a clever model!|I like your answer.|"
                "Nice answer.|This is good work.|You are good at this.|I like this.|"
                "Very good work!|Such nice work!|I like you a lot.|I like you so much.|"
                "You did nice work.|I like you very much.",
                "|",
            ),
            test=listed(
                "You are very clever!|That was great!|Good answer!|I like your work a lot.|"
                "Very nice work.|That was very good.|You are a clever model.|You are so nice!",
                "|",
            ),
        ),
        replies=("That is kind of you!", "How kind of you to say that!"),
        marks=("kind",),
    ),
    "complaint": Small(
        says=Pool(
            train=listed(
                "That is wrong.|You are wrong!|That was no help.|Your answer is bad.|"
                "No, not that.|You do not help me.|This is not what I asked.|"
                "I am not happy with you.|That is bad.|You are too slow.|"
                "Your answers are no good.|You made a mistake.|I do not like this.|"
                "That makes no sense.|What a bad answer.|This answer is wrong.|Bad answer!|"
                "You are so bad.|That was not good.|You did that badly.|I do not like that.|"
                "This is wrong.|Wrong!|No, that is wrong.|You are not good at this.|"
                "That is not the answer.|That was a wrong answer.|This was a bad one.|"
                "A bad answer, that.|You gave me a bad answer.",
                "|",
            ),
            test=listed(
                "That was wrong!|Your answer is wrong.|You are no help.|I do not like your answer.|"
                "That was a bad answer.|No, that is not what I asked.|You are bad at this.|"
                "This is no help to me.|I am not happy with your answer.|You made a bad mistake!",
                "|",
            ),
        ),
        replies=("I am sorry about that. Please ask me again.", "I am sorry. Let me try again."),
        marks=("sorry",),
    ),
    "sad": Small(
        says=Pool(
            train=listed(
                "I am sad.|I feel bad today.|I am tired.|I had a bad day.|I am not well.|"
                "I am afraid.|I feel alone.|I am so sad today.|Today was a bad day.|"
                "I am very tired.|I am angry.|My day was bad.|I feel so sad now.|I am alone.|"
                "I do not feel well.|I feel tired.|I am so afraid.|I am very angry today.|"
                "I am tired and angry.|I am alone and sad.|I feel very tired.|I am very sad.",
                "|",
            ),
            test=listed(
                "I feel sad.|I feel very sad today.|I feel tired today.|I am so tired.|"
                "This was a bad day.|I feel so alone.|I am sad and tired.",
                "|",
            ),
        ),
        replies=("I hope that you feel better soon.", "Take a rest. I hope it gets better soon."),
        marks=("better",),
    ),
}
CARELESS = 0.25  # share of training remarks that are typed carelessly
BABBLE = 1  # weight of nonsense beside the entries of SMALL, which weigh one each
MARKS: Mapping[str, Sequence[str]] = {
    **{intent: entry.marks for intent, entry in SMALL.items()},
    "nonsense": ("understand",),
}
CONFUSED = ("I do not understand that.", "I do not understand. Please say it in other words.")


def small_turn(rng: random.Random, side: Side, intent: str | None = None) -> Turn:
    """Something said in passing, and a reply that fits; `data` names the intent."""
    weights = {**dict.fromkeys(SMALL, 1.0), "nonsense": BABBLE}
    intent = intent or weighted(rng, weights)
    if intent == "nonsense":
        made = turn(_babble(rng, side), rng.choice(CONFUSED))
        return replace(made, data={"intent": intent})
    entry = SMALL[intent]
    said = entry.says.pick(rng, side)
    if side == "train" and rng.random() < CARELESS:
        said = sloppy(rng, said)
    made = turn(said, rng.choice(entry.replies))
    return replace(made, data={"intent": intent})


def _babble(rng: random.Random, side: Side) -> str:
    """Two to five invented words as a sentence."""
    words = [lexicon.invent(rng, side) for _ in range(rng.randint(2, 5))]
    return " ".join(words).capitalize() + rng.choice([".", "?", "!", ""])


def smalltalk(world: World, rng: random.Random, side: Side) -> Case:
    """One remark: a greeting perhaps with a name, others perhaps after a question."""
    made = small_turn(rng, side)
    if made.data["intent"] == "greeting":
        if rng.random() < 0.6:
            who = lexicon.stranger(rng, side)
            user = f"{made.user} {rng.choice(['I am', 'This is', 'My name is'])} {who}."
            made = replace(made, user=user, data={**made.data, "name": who})
        return Case(turns=(made,))
    if rng.random() < 0.5:
        return Case(turns=(fact_turn(world, rng, "train"), made))
    return Case(turns=(made,))
