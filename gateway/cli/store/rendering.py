"""Turns what the store keeps, and the history of a message, into lines for an operator.

Control characters that strangers wrote into a message are shown as escapes: they must not reach the terminal.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from gateway.cli.cells import age, at, cell
from gateway.cli.options import last_line as last_line_of
from gateway.config.diagnostics import count
from gateway.console.kept.content import details_data, last_line
from gateway.console.kept.history import History
from gateway.logs.escaping import visible
from gateway.runtime.banner import columns
from gateway.store import Message, MessageState, Outgoing, OutgoingState, OutgoingSummary, Summary

Columns = Mapping[str, Callable[[Any, float], str]]
"""Heading -> function that gives the cell of an entry, at the present time."""
_COMMON: Columns = {
    "id": lambda entry, now: entry.id,
    "age": lambda entry, now: "" if entry.received is None else age(now - entry.received),
    "type": lambda entry, now: entry.type,
    "route": lambda entry, now: entry.route,
    "attempts": lambda entry, now: str(entry.attempts),
}
_ERROR: Columns = {"error": lambda entry, now: last_line(entry.error)}
_SUBJECT: Columns = {"subject": lambda entry, now: subject_of(entry), **_ERROR}
_STATE: Columns = {"state": lambda entry, now: entry.state, "next try": lambda entry, now: _next(entry, now)}
DEAD: Columns = {**_COMMON, **_SUBJECT}
WAITING: Columns = {**_COMMON, **_STATE, **_SUBJECT}
OUTGOING: Columns = {**_COMMON, **_STATE, "to": lambda entry, now: entry.recipient, **_ERROR}


def subject_of(entry: Summary | OutgoingSummary) -> str:
    """Return the subject line of a message, or the recipients of an outgoing item."""
    return f"sent to {entry.recipient}" if isinstance(entry, OutgoingSummary) else entry.subject


async def table(
    pages: AsyncIterable[Sequence[Any]], shown: Columns, noun: str, now: float, limit: int
) -> AsyncIterator[str]:
    """A line for each of the first ``limit`` entries, then how many there are. Only one page is in memory, so cells are
    aligned within a page."""
    total = 0
    async for page in pages:
        head = [] if total else [list(shown)]
        rows = [[cell(show(entry, now)) for show in shown.values()] for entry in page[: max(0, limit - total)]]
        for line in columns([*head, *rows]):
            yield line
        total += len(page)
    yield last_line_of(min(total, limit), total, count(total, noun))


def _next(entry: Summary | OutgoingSummary, now: float) -> str:
    """``now``, or in how long, or after which item."""
    if entry.state not in (MessageState.WAITING, OutgoingState.WAITING, OutgoingState.RESTING):
        return ""
    if isinstance(entry, OutgoingSummary) and entry.behind:
        return f"after {entry.behind}"
    return "now" if entry.due <= now else f"in {age(entry.due - now)}"


def details(item: Message | Outgoing, now: float) -> list[str]:
    """All but the content: what it is, where it came from or goes to, and its error."""
    data = details_data(item)
    if isinstance(item, Message):
        facts = {key: data[key] for key in ("id", "type", "subject", "route", "key")}
        return _page(facts | {"received": at(item.received), "attempts": item.attempts}, data)
    names = ("id", "type", "state", "message", "lane", "behind", "attempts")
    facts = {key: data[key] for key in names if data[key] != ""}
    since = {"since": at(item.since)} if item.since else {}
    return _page(facts | since | ({"next try": at(item.due)} if item.due > now else {}), data)


def _page(facts: dict[str, Any], data: Mapping[str, Any]) -> list[str]:
    for part in (data.get("scope", {}), *data.get("events", [])):
        facts |= {key: value for key, value in part.items() if key != "type" and value not in (None, "")}
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


def history(found: History, command: str, now: float) -> list[str]:
    """What happened and when, and where the message is now."""
    subject = [found.id, found.message.subject] if found.message else [found.id]
    steps = columns([[at(step.at), _fact(step.what)] for step in found.steps]) if found.steps else []
    unsent = [_unsent(item, command, now) for item in found.outgoing]
    return ["  ".join(map(_fact, subject)), *steps, f"now: {_place(found, command, now)}", *unsent]


def _place(found: History, command: str, now: float) -> str:
    if found.message is None and not found.steps and found.outgoing:
        return "there is no message: code outside of handlers sent this, or the history is forgotten"
    if found.message is None:
        last = _fact(found.steps[-1].what) if found.steps else "forgotten"
        return f"not in the store; last step: {last}"
    if found.message.state is MessageState.DEAD:
        error = cell(last_line(found.message.error))
        shown = f"{command} dead show {found.id} · {command} dead retry {found.id}"
        return f"among the dead letters after {count(found.message.attempts, 'attempt')}: {error}\n  {shown}"
    return f"in the store, {found.message.state}, {_so_far(found.message, now)}"


def _unsent(item: OutgoingSummary, command: str, now: float) -> str:
    name = _fact(item.id)
    if item.state in (OutgoingState.DEAD, OutgoingState.DAMAGED):
        tried = count(item.attempts, "attempt")
        line = f"not sent: {name}, {item.state} after {tried}: {cell(last_line(item.error))}"
        return f"{line}\n  {command} dead show {name} · {command} dead retry {name}"
    return f"to be sent: {name}, {item.state}, {_so_far(item, now)}\n  {command} outgoing show {name}"


def _so_far(entry: Summary | OutgoingSummary, now: float) -> str:
    due = f", next try not before {at(entry.due)}" if entry.due > now else ""
    error = f": {cell(last_line(entry.error))}" if entry.error else ""
    return f"{count(entry.attempts, 'attempt')} so far{due}{error}"
