"""Marks: what is done to a message in the mailbox after its verdict, such as ``move Processed``."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from protocols.mail.imap.names import as_written
from protocols.units import Unit

# RFC 3501 atoms, without the characters that some servers refuse.
_KEYWORD = re.compile(r"\$?[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Mark:
    """What is done to a message. ``target`` is the folder of a move, or the keyword."""

    verb: Literal["move", "keyword", "seen", "delete", "leave"]
    target: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.target}".strip()

    @property
    def criterion(self) -> str:
        """The SEARCH criterion that leaves out messages which have this mark and are still in the folder."""
        return {"seen": "UNSEEN", "keyword": f"UNKEYWORD {self.target}"}.get(self.verb, "")


@dataclass(frozen=True, slots=True)
class Marks:
    """The mark that follows each verdict."""

    accept: Mark
    reject: Mark
    failed: Mark
    unrouted: Mark

    def all(self) -> tuple[Mark, ...]:
        return self.accept, self.reject, self.failed, self.unrouted

    def folders(self) -> list[str]:
        """Return the folders that messages are moved to."""
        return sorted({mark.target for mark in self.all() if mark.verb == "move"})

    def keywords(self) -> bool:
        return any(mark.verb == "keyword" for mark in self.all())

    def criteria(self) -> str:
        """Return the SEARCH criteria of messages without a mark. A mail program, or our own COPY, sets \\Deleted on
        those that it is done with."""
        return " ".join(["UNDELETED", *sorted({mark.criterion for mark in self.all()} - {""})])


def parse_mark(value: object) -> Mark:
    """Parse ``move FOLDER``, ``keyword NAME``, ``seen``, ``delete`` or ``leave``. Raises ValueError."""
    match str(value).split(maxsplit=1):
        case ["move", folder] if folder.isprintable():
            return Mark("move", as_written(folder.strip()))
        case ["keyword", name] if _KEYWORD.fullmatch(name):
            return Mark("keyword", name)
        case [("seen" | "delete" | "leave") as verb]:
            return Mark(verb)
    raise ValueError(f"{value!r} is not understood; write move FOLDER, keyword NAME, seen, delete or leave")


def _text(value: object) -> str:
    return str(parse_mark(value))


def _final(value: object) -> str:
    mark = parse_mark(value)
    if mark.verb == "leave":
        raise ValueError("with leave the message would be read again for ever; write move FOLDER, keyword NAME or seen")
    return str(mark)


_MARKS = r"^(move .+|keyword \S+|seen|delete"
_EXAMPLES = ["move Processed", "keyword $Handled", "seen", "delete"]
FinalMark = Annotated[str, Unit(_final, {"type": "string", "pattern": _MARKS + ")$", "examples": _EXAMPLES})]
"""A mark after which the message is not read again."""
AnyMark = Annotated[
    str, Unit(_text, {"type": "string", "pattern": _MARKS + "|leave)$", "examples": [*_EXAMPLES, "leave"]})
]
"""A mark, or ``leave``."""


def check_final(value: Any) -> Mark:
    """Return the mark in a :data:`FinalMark`, also in settings that were made in Python. Raises ValueError."""
    return parse_mark(_final(value))
