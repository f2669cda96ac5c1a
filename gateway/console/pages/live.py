"""The page on what arrives, and that on one arrival."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.console.here import Here
from gateway.console.pages.body import Body, body_of
from gateway.console.pages.listing import Field
from gateway.console.pages.page import Asked, Content, Page
from gateway.console.table import operations
from gateway.control.server import BadRequest
from gateway.recording.readable import read

_SHOWN = 100
"""Arrivals that the page has at first."""
_FILTERS = ("text", "type", "server", "route", "verdict", "client", "address", "topic")
_BODIES = ("body", "payload", "text", "bytes")
"""Keys of events that hold what was written."""


async def _live(here: Here, asked: Asked) -> Content:
    """Raises BadRequest."""
    wanted = operations()["tail"]
    given = {name: value for name, value in asked.arguments(wanted).items() if name in _FILTERS}
    arrivals, remembers = [], False
    async for told in wanted.joined_answers(here, {**given, "last": _SHOWN}):
        if "arrival" in told:
            arrivals.append({**told["arrival"], "number": told.get("number")})
        remembers = told.get("remembers", remembers)
    return {
        "arrivals": arrivals[::-1],
        "remembers": remembers,
        "fields": [Field.of(wanted.parameters[name], given) for name in _FILTERS],
        "filters": given,
        "last": max((each["number"] or 0 for each in arrivals), default=0),
    }


async def _arrival(here: Here, asked: Asked) -> Content:
    """Raises BadRequest."""
    wanted = operations()["arrival"]
    number = wanted.parameters["number"].read_text([asked.in_path["number"]])
    found = await wanted.answer(here, {"number": number})
    scope = dict(found["scope"])
    headers = [tuple(map(_text, pair)) for pair in read(scope.pop("headers", []))]
    return {
        "number": number,
        "arrival": found["arrival"],
        "headers": headers,
        "scope": scope,
        "bodies": list(_bodies(found["events"])),
        "is_too_large": found["events"] is None,
        "left_out": found["left_out"],
        "traceback": found["traceback"],
        "story": await _story(here, found["arrival"]["id"]),
    }


def _bodies(events: list[Any] | None) -> Iterator[tuple[str, Body]]:
    """Yield the type of each event that has content, and that."""
    for event in map(read, events or ()):
        for key in _BODIES:
            if value := event.get(key):
                yield event["type"], body_of(value if isinstance(value, bytes) else str(value).encode(errors="replace"))


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


async def _story(here: Here, id_: str) -> Mapping[str, Any] | None:
    """The history of the message; None if the store has none."""
    try:
        return await operations()["show"].answer(here, {"id": id_}) if id_ else None
    except BadRequest:
        return None


PAGES = [
    Page("/live", "Live", "live.html", _live),
    Page("/live/{number}", "Arrival", "arrival.html", _arrival, in_menu=False),
]
