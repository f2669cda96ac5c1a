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

_TEXTS = "id type route key subject error story message kind lane behind recipient space failed_as"
_TYPES: dict[str, type] = {
    **dict.fromkeys(_TEXTS.split(), str),
    **dict.fromkeys(["received", "due", "expires", "since", "until"], float),
    **dict.fromkeys(["checksum", "state", "attempts", "priority"], int),
    **dict.fromkeys(["content", "result", "value"], bytes),
    "alone": bool,
}
"""The types of columns by name. A name means the same in every table."""


def _columns(names: str) -> dict[str, type]:
    return {name: _TYPES[name] for name in names.split()}


MESSAGES = Table(
    "messages",
    _columns("id type route key subject received content checksum state attempts due error story alone priority"),
    times=["due"],
)
CLAIMS = Table(
    "claims",
    _columns("key id state attempts received expires result checksum story failed_as"),
    times=["expires"],
)
OUTGOING = Table(
    "outgoing",
    _columns("id message kind lane behind content checksum state attempts due error recipient since"),
    times=["due", "since"],
)
KEPT = Table("kept", _columns("space key value checksum"), order="space, key")
RESTING = Table("resting", _columns("lane until error"), times=["until"], order="lane")
NOTES = Table("notes", _columns("key value checksum expires"), times=["expires"], order="key")
TABLES = (MESSAGES, CLAIMS, OUTGOING, KEPT, RESTING, NOTES)
