"""What the operator reads about dead letters and about a message's story.

What strangers wrote into a message must not write on the operator's terminal: control characters are shown, not sent.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.content import Content, last_line, summary
from gateway.deadletters import Story
from gateway.findings import count
from gateway.startpage import columns
from gateway.store.engine import Message

_WIDTH = 60
"""Characters of a cell."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_AGES = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def visible(text: str) -> str:
    """``text`` with control characters, bidirectional overrides and surrogates as escapes; line ends stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def table(messages: Sequence[Message], now: float) -> list[str]:
    """One line a dead letter, and how many there are."""
    head = ["id", "age", "type", "route", "attempts", "subject", "error"]
    rows = [_row(message, now) for message in messages]
    return [*(columns([head, *rows]) if rows else []), count(len(messages), "dead letter")]


def _row(message: Message, now: float) -> list[str]:
    cells = [message.id, age(now - message.received), message.type, message.route, str(message.attempts)]
    return [_cell(each) for each in (*cells, message.subject, last_line(message.error))]


def _cell(text: str) -> str:
    line = " ".join(visible(text).split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def age(seconds: float) -> str:
    """``3h``, ``12d``: in the largest unit of which there is one."""
    size, unit = next((each for each in _AGES if seconds >= each[0]), _AGES[-1])
    return f"{max(0, int(seconds // size))}{unit}"


def told(message: Message) -> dict[str, Any]:
    """For programs: all but the content."""
    try:
        content = Content.of(message).told()
    except ValueError as error:
        content = {"damaged": str(error)}
    return {**summary(message), "error": message.error, **content}


def letter(message: Message) -> list[str]:
    """All but the content: what it is, where it came from, and what it failed with."""
    data = told(message)
    facts = {key: data[key] for key in ("id", "type", "subject", "route", "key")}
    facts |= {"received": at(message.received), "attempts": message.attempts}
    facts |= {key: value for key, value in data.get("scope", {}).items() if key != "type" and value not in (None, "")}
    facts |= {key: value for event in data.get("events", []) for key, value in event.items() if key != "type"}
    if "damaged" in data:
        facts["content"] = data["damaged"]
    error = visible(message.error).rstrip().splitlines()
    return [*columns([[key, _fact(value)] for key, value in facts.items()]), *(["", *error] if error else [])]


def _fact(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    elif isinstance(value, bool):
        value = str(value).lower()
    return " ".join(visible(str(value)).split())


def story(told: Story, command: str, now: float) -> list[str]:
    """When what happened, and where the message is now."""
    subject = [told.id, told.message.subject] if told.message else [told.id]
    steps = columns([[at(step.at), _fact(step.what)] for step in told.steps]) if told.steps else []
    return ["  ".join(map(_fact, subject)), *steps, f"now: {_place(told, command, now)}"]


def state(told: Story) -> str:
    """``dead``; ``kept``: it waits, or is being handled; ``absent``: its last step says why."""
    if told.message is None:
        return "absent"
    return "dead" if told.dead else "kept"


def story_data(told: Story) -> dict[str, Any]:
    """For programs. ``at`` is Unix time."""
    message = summary(told.message) if told.message else None
    steps = [{"at": step.at, "what": step.what} for step in told.steps]
    return {"id": told.id, "state": state(told), "story": steps, "message": message}


def _place(told: Story, command: str, now: float) -> str:
    if told.message is None:
        return f"not in the store, after: {_fact(told.steps[-1].what)}"
    if told.dead:
        error = _cell(last_line(told.message.error))
        shown = f"{command} dead show {told.id} · {command} dead retry {told.id}"
        return f"among the dead letters after {count(told.message.attempts, 'attempt')}: {error}\n  {shown}"
    due = f", next try not before {at(told.message.due)}" if told.message.due > now else ""
    return f"in the store, {count(told.message.attempts, 'attempt')} so far{due}"


def at(moment: float) -> str:
    """Unix time, on the clock of this machine."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
