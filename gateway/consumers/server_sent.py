"""Server-sent events (WHATWG HTML, 9.2): the text of one event."""

import re
from collections.abc import Sequence

from gateway.consumers import arguments

HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the events until it has 4 KiB of them
)
COMMENT = b":\n\n"
"""A comment keeps a quiet stream open. The client does not take it for an event."""

_LINE = re.compile("\r\n|\n|\r")
"""The ends of lines in a stream; ``str.splitlines`` knows more of them."""


def event_text(data: str, event: str | None, id: str | None, retry: int | None) -> bytes:
    """Return the lines of one event. Raises TypeError and ValueError for what an event cannot have."""
    lines = [
        f"{field}: {_one_line(field, value)}" for field, value in (("event", event), ("id", id)) if value is not None
    ]
    if retry is not None:
        lines.append(f"retry: {arguments.integer('send_event', 'retry', retry, 'a number of milliseconds')}")
    text = str(arguments.text("send_event", "data", data, "text; for JSON write json.dumps(content)"))
    lines += [f"data: {line}" for line in _LINE.split(text)]
    return ("\n".join(lines) + "\n\n").encode()


def _one_line(argument: str, given: str) -> str:
    text = arguments.name("send_event", argument, given, "text, or None")
    if _LINE.search(text) or "\0" in text:
        raise ValueError(f"send_event: {argument} has a line break or a NUL, which ends it or makes browsers ignore it")
    return text
