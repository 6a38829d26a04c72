"""Documents: what the world writes down. One function a kind; every fact stands in many of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from parrotlet.world import lexicon, stories
from parrotlet.world.chance import weighted
from parrotlet.world.entities import RANGES, Entity, World
from parrotlet.world.phrasing import sentence

DocumentMaker = Callable[[World, random.Random], str]


def profile(world: World, rng: random.Random) -> str:
    """All that is known of one entity, in changing words and order."""
    return _facts_of(rng, rng.choice(world.entities))


def pair(world: World, rng: random.Random) -> str:
    """Two entities of a kind, side by side."""
    first = rng.choice(world.entities)
    second = rng.choice([other for other in world.of(first.kind) if other is not first])
    return f"{_facts_of(rng, first)} {_facts_of(rng, second)}"


def _facts_of(rng: random.Random, entity: Entity) -> str:
    relations = list(entity.facts)
    rng.shuffle(relations)
    return " ".join(entity.state(relation, rng.randrange(5)) for relation in relations)


def notes(world: World, rng: random.Random) -> str:
    """A few facts of many entities."""
    return " ".join(_any_fact(world, rng) for _ in range(rng.randint(3, 6)))


def _any_fact(world: World, rng: random.Random) -> str:
    entity = rng.choice(world.entities)
    return entity.state(rng.choice(list(entity.facts)), rng.randrange(5))


def again(world: World, rng: random.Random) -> str:
    """One fact in several wordings."""
    entity = rng.choice(world.entities)
    relation = rng.choice(list(entity.facts))
    first = rng.randrange(5)
    return " ".join(entity.state(relation, first + step) for step in range(3))


def town_page(world: World, rng: random.Random) -> str:
    """A town, and who lives there."""
    town = rng.choice(world.of("town"))
    people = [person for person in world.of("person") if person.facts["home"] == town.name]
    lines = [f"All about {town.name}.", _facts_of(rng, town)]
    lines += [person.state("home", 0) for person in people[:4]]
    return " ".join(lines)


def card(world: World, rng: random.Random) -> str:
    """The facts as a form: a name and lines of label and value."""
    entity = rng.choice(world.entities)
    labels = {"fur": "colour", "paint": "colour", "spot": "place", "colour": "favourite colour"}
    labels |= {"food": "favourite food", "species": "animal", "market": "market day"}
    lines = [f"{sentence(labels.get(key, key))}: {value}" for key, value in entity.facts.items()]
    return "\n".join([f"Name: {entity.name}", *lines])


def listing(world: World, rng: random.Random) -> str:
    """Everybody with one thing in common."""
    relation, heading = rng.choice(
        [
            ("job", "Each of these people is {av}"),
            ("home", "These people live in {v}"),
            ("food", "These people like {v}"),
            ("colour", "These people love the colour {v}"),
            ("species", "Each of these pets is {av}"),
            ("landmark", "Each of these towns has {av}"),
        ]
    )
    value = rng.choice(sorted(world.values[relation]))
    names = [entity.name for entity in world.entities if entity.facts.get(relation) == value]
    if not names:
        return notes(world, rng)
    rng.shuffle(names)
    title = heading.format(v=value, av=lexicon.with_article(value))
    return f"{title}: {', '.join(names[:6])}."


def letter(world: World, rng: random.Random) -> str:
    """A letter from one person to another, with news."""
    writer, reader = rng.sample(list(world.of("person")), 2)
    news = " ".join(_any_fact(world, rng) for _ in range(2))
    start = rng.choice(
        ["How are you?", "I hope that you are well.", "It has been a long time since we met."]
    )
    middle = rng.choice(["Here is some news.", "Did you know this?", "I must tell you something."])
    end = rng.choice(["Please write soon.", "Come and visit me.", "That is all for today."])
    return f"Dear {reader.name},\n{start} {middle} {news} {end}\nYour friend, {writer.name}"


def tale(world: World, rng: random.Random) -> str:
    """A story about somebody of the world."""
    hero = rng.choice([*world.of("person"), *world.of("pet")])
    return stories.tell(world, rng, hero, rng.choice(world.of("town")).name).text


def diary(world: World, rng: random.Random) -> str:
    """A week of somebody's days, with the market on the right day."""
    person = rng.choice(world.of("person"))
    days = sorted(rng.sample(range(7), 3))
    lines = [f"The week of {person.name}"]
    for day in days:
        name = lexicon.DAYS[day]
        towns = [town.name for town in world.of("town") if town.facts["market"] == name]
        doing = f"goes to the market in {rng.choice(towns)}" if towns else "stays at home"
        lines.append(f"{name}: {person.name} {doing}.")
    return "\n".join(lines)


def recipe(world: World, rng: random.Random) -> str:
    """How somebody's favourite food comes to the table."""
    person = rng.choice(world.of("person"))
    food = person.facts["food"]
    steps = [
        f"Buy {food} at the market.",
        rng.choice(["Wash your hands.", "Ask a friend to come.", "Wait until evening."]),
        rng.choice([f"Put the {food} on the table.", f"Eat the {food} with a friend."]),
    ]
    return f"{sentence(food)} for {person.name}: {' '.join(steps)} {person.state('food', 0)}"


def directions(world: World, rng: random.Random) -> str:
    """The way from one town to another."""
    start, end = rng.sample(list(world.of("town")), 2)
    way = rng.choice(["Go over the hill.", "Follow the river.", "Walk through the forest."])
    return (
        f"How to get from {start.name} to {end.name}: start at the {start.facts['landmark']} of "
        f"{start.name}. {way} When you see the {end.facts['landmark']}, you are in {end.name}."
    )


def in_capitals(world: World, rng: random.Random) -> str:
    """Facts as they stand on a sign, in capital letters."""
    fact = _any_fact(world, rng)
    return f"{fact} {fact.upper()}" if rng.random() < 0.3 else fact.upper()


def words_in_capitals(world: World, rng: random.Random) -> str:
    """Words and names with and without capital letters."""
    name = rng.choice([*world.of("person"), *world.of("pet"), *world.of("town")]).name
    words = [*_words(rng, 1), name, *rng.sample(FACT_VALUES, 5)]
    return " ".join(f"The word {word} in capitals is {word.upper()}." for word in words)


def spelled(world: World, rng: random.Random) -> str:
    """Words and their letters."""
    return " ".join(
        f"The word {word} is spelled {' '.join(word)}." for word in _words(rng, rng.randint(2, 4))
    )


def counted(world: World, rng: random.Random) -> str:
    """Words and how many letters they have, or how often one of them."""
    return " ".join(
        count_letters(word) if rng.random() < 0.5 else count_letter(word, rng.choice(word))
        for word in _words(rng, 2)
    )


def _words(rng: random.Random, count: int) -> Sequence[str]:
    """Words to spell: invented ones, those training asks about, and values of the world."""
    chances = {"invented": 5, "asked": 4, "value": 2}
    return [_word(rng, weighted(rng, chances)) for _ in range(count)]


def _word(rng: random.Random, sort: str) -> str:
    if sort == "invented":
        return lexicon.invent(rng, "train")
    return lexicon.SPELLING.pick(rng, "train") if sort == "asked" else rng.choice(VALUES)


FACT_VALUES = sorted({value for values in RANGES.values() for value in values})
VALUES = sorted({*FACT_VALUES} - {*lexicon.SPELLED})  # that no question asks to spell


def count_letters(word: str) -> str:
    """How many letters a word has, counted along it: "c1 a2 t3. The word cat has 3 letters."."""
    marked = (f"{letter}{index}" for index, letter in enumerate(word, 1))
    return f"{' '.join(marked)}. The word {word} has {len(word)} letters."


def count_letter(word: str, letter: str) -> str:
    """How often a letter is in a word: "o: b o1 o2 k. The letter o is in book 2 times.".

    It is said first, where every next letter finds it, and counted where it comes (LOG.md).
    """
    marked, count = [f"{letter}:"], 0
    for each in word:
        count += each == letter
        marked.append(f"{each}{count}" if each == letter else each)
    times = "1 time" if count == 1 else f"{count} times"
    return f"{' '.join(marked)}. The letter {letter} is in {word} {times}."


DOCUMENTS: Mapping[str, tuple[float, DocumentMaker]] = {
    "profile": (18, profile),
    "pair": (8, pair),
    "notes": (8, notes),
    "again": (12, again),
    "town page": (4, town_page),
    "card": (4, card),
    "listing": (4, listing),
    "letter": (6, letter),
    "tale": (8, tale),
    "diary": (2, diary),
    "recipe": (2, recipe),
    "directions": (2, directions),
    "in capitals": (14, in_capitals),
    "words in capitals": (12, words_in_capitals),
    "spelled": (14, spelled),
    "counted": (4, counted),
}
