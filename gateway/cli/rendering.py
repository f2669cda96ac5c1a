"""What the operator reads about what the store keeps, and about a message's story.

What strangers wrote into a message must not write on the operator's terminal: control characters are shown, not sent.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.cli.content import Content, last_line, listed, summary
from gateway.cli.history import Story
from gateway.config.diagnostics import count
from gateway.logs.escaping import visible
from gateway.runtime.banner import columns
from gateway.store import Message, Outgoing, OutgoingSummary, Summary

_WIDTH = 60
"""Characters of a cell."""
_AGES = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


Columns = Mapping[str, Callable[[Any, float], str]]
"""Heading, and the cell below it for one summary at the present time."""
_ANY: Columns = {
    "id": lambda kept, now: kept.id,
    "age": lambda kept, now: "" if kept.received is None else age(now - kept.received),
    "type": lambda kept, now: kept.type,
    "route": lambda kept, now: kept.route,
    "attempts": lambda kept, now: str(kept.attempts),
}
_ERROR: Columns = {"error": lambda kept, now: last_line(kept.error)}
_SAID: Columns = {"subject": lambda kept, now: subject_of(kept), **_ERROR}
_STATE: Columns = {"state": lambda kept, now: kept.state, "next try": lambda kept, now: _next(kept, now)}
DEAD: Columns = {**_ANY, **_SAID}
WAITING: Columns = {**_ANY, **_STATE, **_SAID}
OUTGOING: Columns = {**_ANY, **_STATE, "to": lambda kept, now: kept.recipient, **_ERROR}


def subject_of(kept: Summary | OutgoingSummary) -> str:
    """Who sent what to whom; of what a handler sent, to whom it was to go."""
    return f"sent to {kept.recipient}" if isinstance(kept, OutgoingSummary) else kept.subject


async def table(pages: AsyncIterable[Sequence[Any]], shown: Columns, noun: str, now: float) -> AsyncIterator[str]:
    """One line each, and how many there are. Cells stand below each other within a page: no more of it is in memory."""
    total = 0
    async for page in pages:
        head = [] if total else [list(shown)]
        rows = [[_cell(show(kept, now)) for show in shown.values()] for kept in page]
        for line in columns([*head, *rows]):
            yield line
        total += len(page)
    yield count(total, noun)


def _next(kept: Summary | OutgoingSummary, now: float) -> str:
    """``now``, or in how long, or what has to be gone before."""
    if kept.state not in ("waiting", "resting"):
        return ""
    if isinstance(kept, OutgoingSummary) and kept.behind:
        return f"after {kept.behind}"
    return "now" if kept.due <= now else f"in {age(kept.due - now)}"


def _cell(text: str) -> str:
    line = " ".join(visible(text).split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def age(seconds: float) -> str:
    """``3h``, ``12d``: in the largest unit of which there is one."""
    size, unit = next((each for each in _AGES if seconds >= each[0]), _AGES[-1])
    return f"{max(0, int(seconds // size))}{unit}"


def told(kept: Message | Outgoing) -> dict[str, Any]:
    """For programs: all but the content."""
    return {**summary(kept), "error": kept.error, **_content(kept)}


def _content(kept: Message | Outgoing) -> dict[str, Any]:
    try:
        return Content.of(kept).told()
    except ValueError as error:
        return {"damaged": str(error)}


def letter(kept: Message | Outgoing, now: float) -> list[str]:
    """All but the content: what it is, where it came from or goes to, and what it failed with."""
    data = told(kept)
    if isinstance(kept, Message):
        facts = {key: data[key] for key in ("id", "type", "subject", "route", "key")}
        return _page(facts | {"received": at(kept.received), "attempts": kept.attempts}, data)
    names = ("id", "type", "state", "message", "lane", "behind", "attempts")
    facts = {key: data[key] for key in names if data[key] != ""}
    kept_since = {"since": at(kept.since)} if kept.since else {}
    return _page(facts | kept_since | ({"next try": at(kept.due)} if kept.due > now else {}), data)


def _page(facts: dict[str, Any], data: Mapping[str, Any]) -> list[str]:
    for told in (data.get("scope", {}), *data.get("events", [])):
        facts |= {key: value for key, value in told.items() if key != "type" and value not in (None, "")}
    if "damaged" in data:
        facts["content"] = data["damaged"]
    error = visible(data["error"]).rstrip().splitlines()
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
    unsent = [_unsent(item, command, now) for item in told.outgoing]
    return ["  ".join(map(_fact, subject)), *steps, f"now: {_place(told, command, now)}", *unsent]


def state(told: Story) -> str:
    """``waiting``, ``running``, ``dead``; ``absent``: its last step says why."""
    return "absent" if told.message is None else told.message.state


def story_data(told: Story) -> dict[str, Any]:
    """For programs. ``at`` is Unix time."""
    return {
        "id": told.id,
        "state": state(told),
        "story": [{"at": step.at, "what": step.what} for step in told.steps],
        "message": listed(told.message) if told.message else None,
        "outgoing": [listed(item) for item in told.outgoing],
    }


def _place(told: Story, command: str, now: float) -> str:
    if told.message is None:
        last = _fact(told.steps[-1].what) if told.steps else "forgotten"
        return f"not in the store; last step: {last}"
    if told.message.state == "dead":
        error = _cell(last_line(told.message.error))
        shown = f"{command} dead show {told.id} · {command} dead retry {told.id}"
        return f"among the dead letters after {count(told.message.attempts, 'attempt')}: {error}\n  {shown}"
    return f"in the store, {told.message.state}, {_so_far(told.message, now)}"


def _unsent(item: OutgoingSummary, command: str, now: float) -> str:
    name = _fact(item.id)
    if item.state in ("dead", "damaged"):
        tried = count(item.attempts, "attempt")
        said = f"not sent: {name}, {item.state} after {tried}: {_cell(last_line(item.error))}"
        return f"{said}\n  {command} dead show {name} · {command} dead retry {name}"
    return f"to be sent: {name}, {item.state}, {_so_far(item, now)}\n  {command} outgoing show {name}"


def _so_far(kept: Summary | OutgoingSummary, now: float) -> str:
    due = f", next try not before {at(kept.due)}" if kept.due > now else ""
    error = f": {_cell(last_line(kept.error))}" if kept.error else ""
    return f"{count(kept.attempts, 'attempt')} so far{due}{error}"


def at(moment: float) -> str:
    """Unix time, on the clock of this machine."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
