"""Conversations in one SQLite file, each a tree: editing and regenerating begin new branches.

    conversation(id, title, system, leaf, changed)      leaf: the end of the branch that is shown
    message(id, conversation, parent, role, model, side, parts, facts, thumb)
        parts: JSON, as the server's; facts: JSON once the message is whole; thumb: 1, 0 or NULL
        side: what replies have in common that were asked for side by side

Each call is a connection and a transaction of its own, so threads and tabs can share a Store. A
file that is damaged or of another version is set aside under another name, never changed.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrotlet.core.rundir import set_aside, write_file

Json = dict[str, Any]
VERSION = 1
PATIENCE = 5.0  # seconds for whoever holds the file
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS conversation (id TEXT PRIMARY KEY, title TEXT NOT NULL,
  system TEXT NOT NULL, leaf INTEGER, changed REAL NOT NULL);
CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, conversation TEXT NOT NULL
  REFERENCES conversation ON DELETE CASCADE, parent INTEGER, role TEXT NOT NULL,
  model TEXT, side TEXT, parts TEXT NOT NULL, facts TEXT, thumb INTEGER);
CREATE INDEX IF NOT EXISTS of_conversation ON message (conversation);
PRAGMA user_version = {VERSION};
"""
CONVERSATION = "SELECT id, title, system, leaf FROM conversation"
MESSAGE = "SELECT id, conversation, parent, role, model, side, parts, facts, thumb FROM message"


class StoreError(Exception):
    """The file cannot be used now; the message is for a person."""


class StoreDamaged(StoreError):
    """The file is no database, or no longer one."""


@dataclass(frozen=True)
class Talk:
    """A conversation without its messages."""

    id: str
    title: str
    system: str
    leaf: int | None


@dataclass(frozen=True)
class Said:
    """A message."""

    id: int
    talk: str
    parent: int | None
    role: str
    model: str | None
    side: str | None
    parts: Sequence[Json]
    facts: Json | None  # None while it is being written
    thumb: bool | None

    @property
    def text(self) -> str:
        """Its words, without calls of tools and their results."""
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    def message(self) -> Json:
        """As the server reads it."""
        value: Json = {"role": self.role, "content": self.text}
        if any(part["type"] != "text" for part in self.parts):
            value["parts"] = list(self.parts)
        return value


class Store:
    """The file `home`/conversations.sqlite, and preferences.jsonl beside it."""

    def __init__(self, home: Path) -> None:
        self.path = home / "conversations.sqlite"
        self.preferences = home / "preferences.jsonl"
        self.aside: Path | None = None  # where a file went that could not be read
        home.mkdir(parents=True, exist_ok=True)
        if not self._usable():
            self.aside = set_aside(self.path)
            for each in (Path(f"{self.path}-journal"), self.preferences):
                if each.exists():
                    set_aside(each)
        with self._open() as db:
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                db.executescript(f"BEGIN; {SCHEMA} COMMIT;")

    def _usable(self) -> bool:
        """Whether the file is ours, whole and of this version, or not there yet."""
        if not self.path.exists() or not self.path.stat().st_size:
            return True
        try:
            with self._open() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                sound = db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
                return bool(version == VERSION and sound)
        except StoreDamaged:
            return False

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction. StoreError where another program holds the file, or the disk is full."""
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as db, db:
                db.execute("PRAGMA foreign_keys = ON")
                yield db
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self.path} cannot be used: {error}; close what else uses it, then try again"
            ) from error
        except sqlite3.IntegrityError as error:
            raise StoreError(
                "this conversation is no longer there, perhaps deleted in another tab; begin a new "
                "one"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(
                f"{self.path} is damaged ({error}); start the page again: the file is set aside, "
                "and a new one begun"
            ) from error

    def talks(self) -> list[Talk]:
        """All conversations, the latest first."""
        with self._open() as db:
            return [Talk(*row) for row in db.execute(f"{CONVERSATION} ORDER BY changed DESC")]

    def talk(self, id: str) -> Talk | None:
        """One conversation, if it is there."""
        with self._open() as db:
            row = db.execute(f"{CONVERSATION} WHERE id = ?", (id,)).fetchone()
        return None if row is None else Talk(*row)

    def begin(self, title: str, system: str = "") -> str:
        """A new conversation; its id."""
        id = secrets.token_hex(6)
        with self._open() as db:
            row = (id, title, system, None, time.time())
            db.execute("INSERT INTO conversation VALUES (?, ?, ?, ?, ?)", row)
        return id

    def change(self, id: str, *, title: str | None = None, system: str | None = None) -> None:
        """Another title, another system prompt."""
        with self._open() as db:
            db.execute(
                "UPDATE conversation SET title = coalesce(?, title), system = coalesce(?, system) "
                "WHERE id = ?", (title, system, id),
            )  # fmt: skip

    def delete(self, id: str) -> None:
        """Forget a conversation, and the preferences that were told in it."""
        with self._open() as db:
            db.execute("DELETE FROM conversation WHERE id = ?", (id,))
        self.write_preferences()

    def add(
        self,
        talk: str,
        parent: int | None,
        role: str,
        parts: Sequence[Json] = (),
        *,
        model: str | None = None,
        side: str | None = None,
        facts: Json | None = None,
    ) -> int:
        """A message after `parent`, shown from now on; its number."""
        told = None if facts is None else json.dumps(facts)
        row = (talk, parent, role, model, side, json.dumps(list(parts)), told)
        with self._open() as db:
            number = db.execute(
                "INSERT INTO message (conversation, parent, role, model, side, parts, facts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)", row,
            ).lastrowid  # fmt: skip
            db.execute(
                "UPDATE conversation SET leaf = ?, changed = ? WHERE id = ?",
                (number, time.time(), talk),
            )
        assert number is not None
        return number

    def finish(self, number: int, parts: Sequence[Json], facts: Json) -> None:
        """A reply is whole."""
        with self._open() as db:
            db.execute(
                "UPDATE message SET parts = ?, facts = ? WHERE id = ?",
                (json.dumps(list(parts)), json.dumps(facts), number),
            )

    def tree(self, talk: str) -> dict[int, Said]:
        """Every message of a conversation, in order of writing."""
        with self._open() as db:
            rows = db.execute(f"{MESSAGE} WHERE conversation = ? ORDER BY id", (talk,)).fetchall()
        return {row[0]: _said(row) for row in rows}

    def show(self, talk: str, number: int) -> None:
        """Show the branch through this message, down to its latest end."""
        tree = self.tree(talk)
        while below := [each.id for each in tree.values() if each.parent == number]:
            number = below[-1]
        with self._open() as db:
            db.execute("UPDATE conversation SET leaf = ? WHERE id = ?", (number, talk))

    def rate(self, number: int, thumb: bool | None) -> None:
        """Keep what a person thinks of a reply."""
        with self._open() as db:
            db.execute("UPDATE message SET thumb = ? WHERE id = ?", (thumb, number))
        self.write_preferences()

    def write_preferences(self) -> None:
        """Write every thumb as a line that `parrotlet dpo` reads."""
        with self._open() as db:
            rated = db.execute("SELECT DISTINCT conversation FROM message WHERE thumb IS NOT NULL")
            talks = [row[0] for row in rated.fetchall()]
        lines = []
        for id in talks:
            talk, tree = self.talk(id), self.tree(id)
            for each in tree.values():
                if talk is not None and each.thumb is not None and each.text.strip():
                    said = _learned(talk, [*branch(tree, each.parent), each])
                    lines.append(json.dumps({"messages": said, "label": each.thumb}))
        if lines or self.preferences.exists():
            write_file(self.preferences, "".join(f"{line}\n" for line in lines).encode())


def branch(tree: dict[int, Said], leaf: int | None) -> list[Said]:
    """The messages from the first to `leaf`."""
    found = []
    while leaf is not None and leaf in tree:
        found.append(tree[leaf])
        leaf = tree[leaf].parent
    return found[::-1]


def _said(row: tuple[Any, ...]) -> Said:
    id, talk, parent, role, model, side, parts, facts, thumb = row
    known = None if facts is None else json.loads(facts)
    liked = None if thumb is None else bool(thumb)
    return Said(id, talk, parent, role, model, side, json.loads(parts), known, liked)


def _learned(talk: Talk, said: Sequence[Said]) -> list[Json]:
    """Messages as the stages read them: a tool's call and result are turns of their own."""
    messages = [{"role": "system", "content": talk.system}] if talk.system else []
    for each in said:
        for part in each.parts:
            if part["type"] == "tool_call":
                call = {"name": part["name"], "arguments": part["arguments"]}
                messages.append({"role": "tool_call", "content": json.dumps(call)})
            elif part["text"].strip():
                role = "tool" if part["type"] == "tool_result" else each.role
                messages.append({"role": role, "content": part["text"]})
    return messages
