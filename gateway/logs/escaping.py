"""Makes text from peers safe to show. Characters that could control a terminal, forge a line or reverse the reading
direction become escapes (``\\x1b``, ``\\u202e``)."""

import json
import unicodedata
from typing import Any

_SPACES = "Zs"
_JOINERS = "\u200c\u200d"
"""Persian, Indic scripts and emoji need them; they do nothing to other characters."""


def one_line(text: str) -> str:
    """Return ``text`` as one line: line ends are escaped too."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def visible(text: str) -> str:
    """Return ``text`` with its line ends and tabs; other characters that do not show become escapes."""
    return text if text.isprintable() else "".join(each if each in "\n\t" else _escaped(each) for each in text)


def shortened(text: str, most: int) -> str:
    """Return ``text`` with ``most`` characters at most. The middle of a longer one is left out: a verdict is at the
    end."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[len(text) - most // 2 + 3 :]}"


def json_text(data: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return JSON in which characters that do not show are escaped; a reader gets the same data."""
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    lines = text.split("\n")  # the document's own: within strings they are escaped
    return "\n".join(line if line.isprintable() else "".join(map(_json_escaped, line)) for line in lines)


def _shows(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == _SPACES


def _escaped(character: str) -> str:
    return character if _shows(character) else character.encode("unicode_escape").decode()


def _json_escaped(character: str) -> str:
    if _shows(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
