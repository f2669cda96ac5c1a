"""The tables that every engine has, for copies from one store to another.

What a process had taken when it ended is given back in the copy. Owners, leases and namespaces are not copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.store import story
from gateway.store.priority import FIRST_TIME
from gateway.store.states import BUSY, FREE, RUNNING, WAITING

Row = list[Any]


@dataclass(frozen=True)
class Table:
    """One table: its name, and the names of its columns with the Python type of their values."""

    name: str
    columns: dict[str, type]
    times: Sequence[str] = ()
    """Columns with times by the store's clock."""
    order: str = "seq"

    def settle(self, row: Row) -> None:
        """Give the row back if a process had taken it."""
        if self.name in _RUNNING and row[self.at("state")] == _RUNNING[self.name][0]:
            row[self.at("state")] = _RUNNING[self.name][1]
            if self.name == "outgoing":
                row[self.at("due")] = 0.0
            else:
                row[self.at("story")] += story.line("its process ended; given back")
            if self.name == "messages":
                row[self.at("alone")] = True

    def shift(self, row: Row, seconds: int) -> None:
        """Convert times from one store's clock to that of another, which is ahead by ``seconds``."""
        for place in map(self.at, self.times):
            if row[place] >= FIRST_TIME:
                row[place] += seconds

    def at(self, column: str) -> int:
        """The place of a column in a row."""
        return list(self.columns).index(column)


_RUNNING = {"messages": (RUNNING, WAITING), "claims": (BUSY, FREE), "outgoing": (RUNNING, WAITING)}

MESSAGES = Table(
    "messages",
    {
        "id": str,
        "type": str,
        "route": str,
        "key": str,
        "subject": str,
        "received": float,
        "content": bytes,
        "checksum": int,
        "state": int,
        "attempts": int,
        "due": float,
        "error": str,
        "story": str,
        "alone": bool,
        "priority": int,
    },
    times=["due"],
)
CLAIMS = Table(
    "claims",
    {
        "key": str,
        "id": str,
        "state": int,
        "attempts": int,
        "received": float,
        "expires": float,
        "result": bytes,
        "checksum": int,
        "story": str,
        "failed_as": str,
    },
    times=["expires"],
)
OUTGOING = Table(
    "outgoing",
    {
        "id": str,
        "message": str,
        "kind": str,
        "lane": str,
        "behind": str,
        "content": bytes,
        "checksum": int,
        "state": int,
        "attempts": int,
        "due": float,
        "error": str,
        "recipient": str,
        "since": float,
    },
    times=["due", "since"],
)
KEPT = Table("kept", {"space": str, "key": str, "value": bytes, "checksum": int}, order="space, key")
RESTING = Table("resting", {"lane": str, "until": float, "error": str}, times=["until"], order="lane")
NOTES = Table("notes", {"key": str, "value": bytes, "checksum": int, "expires": float}, times=["expires"], order="key")
TABLES = (MESSAGES, CLAIMS, OUTGOING, KEPT, RESTING, NOTES)
