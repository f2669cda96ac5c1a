"""The content of a message or an outgoing item, as an operator may want it: described, raw, or as a file."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.scopes.installed import KINDS
from gateway.store import Message, Outgoing, OutgoingSummary, Summary, codec

DEPTH = 100
"""Levels of a scope; ours have four."""
_KEPT = {name: kind.delivery for name, kind in KINDS.items() if kind.delivery is not None}
_RAW = {event: raw for kind in _KEPT.values() for event, raw in kind.raw.items()}
_CONTENT = frozenset(key for kind in _KEPT.values() for key in kind.content)
"""Keys of scopes and events that hold what was written, or a part of it."""
_MACHINERY = frozenset({"asgi", "extensions", "state"})


@dataclass(frozen=True)
class Content:
    """A message's scope and the events that brought it."""

    scope: Mapping[str, Any]
    events: list[Any]

    @classmethod
    def of(cls, message: Message | Outgoing) -> "Content":
        """Raises ValueError if the stored bytes are damaged."""
        content = cls(*codec.decode(message.content))
        try:
            content.description(), content.raw()
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
        ) as error:  # readable, and yet not as it was put
            raise ValueError("stored content is damaged: what should be in it is not") from error
        return content

    def description(self) -> dict[str, Any]:
        """Describe the message: sender, recipients, time, protocol, but nothing of its content."""
        return {"scope": _without(self.scope, _CONTENT | _MACHINERY), "events": [_sized(each) for each in self.events]}

    def raw(self) -> bytes:
        """The message itself: an RFC 5322 mail, an MQTT payload, a text (UTF-8)."""
        return b"".join(_RAW[event["type"]](event) for event in self.events if event["type"] in _RAW)

    @property
    def suffix(self) -> str:
        """The suffix of the file that is the message itself; empty if there is none."""
        names = (str(event["type"]).partition(".")[0] for event in self.events)
        return next((_KEPT[name].suffix for name in names if name in _KEPT and _KEPT[name].suffix), "")


def file_of(item: Message | Outgoing) -> tuple[str, bytes]:
    """(name, content) of the file that ``export`` writes. Damaged content is given as it was stored."""
    try:
        return _readable(item)
    except ValueError:
        return f"{item.id}.damaged", item.content


def _readable(item: Message | Outgoing) -> tuple[str, bytes]:
    content = Content.of(item)
    if content.suffix:
        return f"{item.id}{content.suffix}", content.raw()
    data = {**item_data(item), "error": item.error, "scope": content.scope, "events": content.events}
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False)
    return f"{item.id}.json", f"{text}\n".encode(errors="backslashreplace")  # a lone surrogate, as JSON writes it


def item_data(item: Message | Outgoing) -> dict[str, Any]:
    """A message or item for programs, without its content. ``received``, ``since`` and ``due`` are Unix time."""
    data = {key: value for key, value in asdict(item).items() if key not in ("content", "alone", "kind", "due")}
    own = {"type": item.kind, "due": item.due} if isinstance(item, Outgoing) else {}
    return {**data, **own, "error": last_line(item.error)}


def details_data(item: Message | Outgoing) -> dict[str, Any]:
    """All but the content, for programs."""
    return {**item_data(item), "error": item.error, **_description(item)}


def _description(item: Message | Outgoing) -> dict[str, Any]:
    try:
        return Content.of(item).description()
    except ValueError as error:
        return {"damaged": str(error)}


def entry_data(entry: Summary | OutgoingSummary) -> dict[str, Any]:
    """One entry of a list for programs. ``received`` and ``due`` are Unix time."""
    return {**asdict(entry), "error": last_line(entry.error)}


def last_line(text: str) -> str:
    """What went wrong, of a traceback."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _without(data: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in data.items() if key not in keys}


def _sized(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event with the lengths of what it holds."""
    sizes = {f"{key}_length": len(event[key]) for key in sorted(event.keys() & _CONTENT) if event[key] is not None}
    return {**_without(event, _CONTENT), **sizes}


def _plain(value: Any, depth: int = 0) -> Any:
    """Return the value as JSON writes it; bytes become ``{"base64": ...}``. Raises ValueError for what is nested deeper
    than ``DEPTH``."""
    if depth > DEPTH:
        raise ValueError(f"stored content is nested deeper than {DEPTH} levels")
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {str(key): _plain(each, depth + 1) for key, each in value.items()}
    return [_plain(each, depth + 1) for each in value] if isinstance(value, list | tuple) else value
