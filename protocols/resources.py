"""What an operator can list in a server that runs, look at, and remove: connections, and what the server keeps.

A server makes a :class:`Resource` when an operator looks, and keeps none: a server that nobody looks at pays nothing.
"""

import time
from abc import ABC, abstractmethod
from codecs import getincrementaldecoder
from typing import Any, TypedDict

from protocols.asgi import HostPort

_decoder = getincrementaldecoder("utf-8")  # the last character may be cut
_STEP = 2e-6
"""Seconds between two moments at least: microseconds differ then, whatever a float of this size loses."""


class _Last:
    moment = 0.0


def moment() -> float:
    """Return the present Unix time, and at each call another one: a connection is known by that of its beginning."""
    _Last.moment = now = max(time.time(), _Last.moment + _STEP)
    return now


def connection_id(since: float) -> str:
    """Return the id of the connection that began at this :func:`moment`."""
    return f"{round(since * 1e6):x}"


class MailboxFacts(TypedDict):
    """A folder of an account that is read."""

    account: str
    """The login name."""
    folder: str
    """Its name, as the file has it, or as the server lists it for a pattern."""
    state: str
    """`ready` or `connecting`."""
    detail: str
    """How it is read (`IDLE`, `polled every 60 s`), or why it cannot be, and when the next try is."""
    checked: float
    """When the mail server last answered what is in it, in seconds since 1970; until then, the start."""
    lag: float
    """For how many seconds that has been unknown: what came meanwhile may not have been announced."""
    backlog: int
    """Messages that were found and have not come to their turn."""
    deferred: int
    """Messages that are left there and tried again later."""
    last_trouble: str
    """What last kept it from being read; empty if nothing has since the start."""
    last_trouble_at: float | None
    """When that was, in seconds since 1970."""


class Resource(ABC):
    """A connection, a session or a retained message, as it is when an operator looks."""

    __slots__ = ()

    @property
    @abstractmethod
    def key(self) -> Any:
        """What names it within its server, and puts it in order in a list."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what a list shows: texts and numbers, and neither a secret nor content."""

    def details(self, content: int) -> dict[str, Any]:
        """Return everything about it, with ``content`` bytes at most of what somebody has written."""
        return self.facts()

    def receives(self, topic_filter: str) -> bool:
        """Whether it has a subscription that may get a message whose topic the filter matches."""
        return False

    @abstractmethod
    def remove(self, *, with_will: bool = True) -> None:
        """Disconnect or delete it; nothing happens if it is gone. ``with_will``: a will of its client is published as
        the protocol says."""


def client_facts(
    *,
    since: float,
    protocol: str,
    address: HostPort | None,
    user: str | None,
    client_id: str | None,
    doing: str,
) -> dict[str, Any]:
    """Return what a list shows of a connection, whatever its protocol. ``address`` is None for a Unix socket."""
    host, port = address or ("unix", None)
    return {
        "id": connection_id(since),
        "protocol": protocol,
        "address": host,
        "port": port,
        "since": since,
        "user": user,
        "client_id": client_id,
        "doing": doing,
    }


def shown(content: bytes, most: int) -> dict[str, Any]:
    """Return the first ``most`` bytes of ``content``: as text if they are UTF-8, else in hexadecimal digits."""
    part, whole = content[:most], len(content) <= most
    try:
        return {"text": _decoder().decode(part, final=whole), "whole": whole}
    except UnicodeDecodeError:
        return {"hex": part.hex(), "whole": whole}
