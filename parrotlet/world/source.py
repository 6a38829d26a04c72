"""The world as sources of text: its documents to read, and its words to learn a tokenizer from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parrotlet.data.sources import Document, Source
from parrotlet.world.entities import World
from parrotlet.world.records import conversations, documents, general_conversations

NAMED = 600  # times that a tokenizer reads the names: enough for each to be one token


@dataclass(frozen=True)
class WorldDocuments:
    """The world's documents, in order."""

    seed: int
    count: int

    def documents(self) -> Iterator[Document]:
        """Documents 0 to count."""
        return documents(World(self.seed), self.count)


@dataclass(frozen=True)
class WithTalk:
    """The documents of another source, then the messages of general conversations."""

    source: Source
    seed: int
    count: int  # conversations

    def documents(self) -> Iterator[Document]:
        """All documents, then every message."""
        yield from self.source.documents()
        for index, talk in enumerate(general_conversations(World(self.seed), self.count)):
            for message in talk.messages:
                yield Document(message.text, f"world {self.seed}: general conversation {index}")


@dataclass(frozen=True)
class WorldWords:
    """Documents and the messages of conversations, half and half, and every name again and again.

    A tokenizer trained on documents alone splits the words of questions into more pieces: a
    conversation then takes an eighth more tokens. And a name in pieces, as only the rare ones are,
    is easily taken for a stranger's.
    """

    seed: int
    count: int  # documents, and conversations

    def documents(self) -> Iterator[Document]:
        """All documents, then every message of all conversations, then the names."""
        world = World(self.seed)
        yield from documents(world, self.count)
        for index, conversation in enumerate(conversations(world, self.count)):
            for message in conversation.messages:
                yield Document(message.text, f"world {self.seed}: conversation {index}")
        names = " ".join(sorted({each.name.split("'")[0] for each in world.entities}))
        for _ in range(NAMED):
            yield Document(names, f"world {self.seed}: names")
