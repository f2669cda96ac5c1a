"""What an exchange needs of its connection, which in HTTP/2 is a stream of one."""

import asyncio
from collections.abc import Mapping
from enum import IntFlag
from typing import Any, Protocol

from protocols.asgi import HostPort
from protocols.http.request import Flow, Request
from protocols.http.service import HTTPService, InFlight


class Hold(IntFlag):
    """Why a connection does not read."""

    NOTHING = 0
    BODY = 1
    """The application does not take the body."""
    REQUESTS = 2
    """So many bytes of further requests wait."""
    INBOX = 4
    """The WebSocket's application does not take its messages."""
    TURN = 8
    """Other connections have their turn."""


class Raw(Protocol):
    """Takes all bytes of a connection that has left HTTP."""

    def feed_data(self, data: bytes) -> object: ...


class Channel(Flow, Protocol):
    """Carries one exchange at a time."""

    service: HTTPService
    loop: asyncio.AbstractEventLoop
    client: HostPort | None
    server: tuple[str, int | None] | None
    scheme: str
    extensions: dict[str, Any]
    """The extensions of its http scopes."""
    tls: Mapping[str, Any]
    """ASGI's tls extension, if there is TLS."""
    label: str
    """The listener and the peer, for log lines."""
    generation: int

    @property
    def is_full(self) -> bool:
        """Whether the peer has not read enough of what was written."""

    @property
    def connected(self) -> bool: ...

    def write(self, data: bytes) -> None:
        """Write, or raise Disconnected if the peer is gone."""

    def write_soon(self, data: bytes) -> None:
        """Write at the end of this turn of the loop, or raise Disconnected if the peer is gone."""

    def say(self, data: bytes) -> None:
        """Write, unless the peer is gone."""

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises Disconnected."""

    def is_closing(self) -> bool:
        """Whether nothing can be written."""

    def wait(self, seconds: float) -> None:
        """Call the exchange's ``stalled`` in ``seconds``, or up to half a second later."""

    def wait_no_more(self) -> None: ...

    def hold(self, reason: Hold) -> None:
        """Stop reading until every reason for that is gone."""

    def hold_inbox(self) -> None:
        """Stop reading, because a WebSocket's application does not take its messages. A peer that leaves is noticed."""

    def let(self, reason: Hold) -> None: ...

    def become_raw(self, raw: Raw) -> None:
        """Pass all that the peer sends to ``raw`` from now on."""

    def served(self, request: Request, *, keep: bool) -> None:
        """Go on after a request that is answered."""

    def may_leave(self, exchange: InFlight) -> bool:
        """Whether ``exchange``, which is answered, may go on by itself. If not, its ``free`` is called later."""

    def ended(self) -> None:
        """Note that an exchange that went on has ended."""

    def end_writing(self) -> None:
        """Tell the peer that nothing more comes, while we still read."""

    def finish(self) -> None:
        """Send what is written, and close."""

    def abort(self) -> None:
        """Close so that the peer cannot take a truncated answer for a complete one."""
