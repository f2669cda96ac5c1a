"""The router of the email scope: by recipient. One message, one run per group of recipients."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from gateway.delivery.current_route import current_route
from gateway.routing.patterns import Default, Pattern, Regex
from gateway.routing.router import Route, Router
from gateway.routing.unrouted import refuse
from gateway.scopes.email.patterns import Address, Domain
from protocols.asgi import EmailDisconnectEvent, EmailReceiveEvent, EmailScope, Receive, Send
from protocols.checkpoint import checkpoint
from protocols.events import Event, step, type_of
from protocols.mail.events import CHECKS, SENDS

logger = logging.getLogger(__name__)


_Received = EmailReceiveEvent | EmailDisconnectEvent


class EmailToRouter(Router):
    """Groups a message's recipients by the first route that takes each, and runs each route's application once.

    Each application sees its own group in ``rcpt_to``. The sender gets one answer: the message is deferred if one
    group defers or crashes, for the shortest of the times that groups ask for; it is rejected if every group rejects
    it.
    """

    scope_types = ("email",)
    patterns = (Address, Domain, Regex, Default)

    def key(self, pattern: Pattern, scope: EmailScope) -> str:
        """The recipient. It is empty if a message in a mailbox names nobody: only a route for everything takes that."""
        return scope["rcpt_to"][0] if scope["rcpt_to"] else ""

    def groups(self, scope: EmailScope) -> list[tuple[Route, EmailScope]]:
        """(route, scope narrowed to its recipients) in the order of the first recipient of each."""
        taken: dict[Route, list[str]] = {}
        for named in [[recipient] for recipient in scope["rcpt_to"]] or [[]]:
            found = self.find({**scope, "rcpt_to": named})
            if found is not None:
                taken.setdefault(found[0], []).extend(named)
        return [(route, {**scope, "rcpt_to": recipients}) for route, recipients in taken.items()]

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "email":
            await super().__call__(scope, receive, send)
            return
        groups = self.groups(scope)
        if not groups:
            await refuse(scope, receive, send)
        elif len(groups) == 1:
            route, narrowed = groups[0]
            await route.run(narrowed, receive, send)
        else:
            await _run_all(groups, receive, send)


async def _run_all(groups: Sequence[tuple[Route, EmailScope]], receive: Receive, send: Send) -> None:
    """One after the other, as a mail server delivers; a crash is raised after the others have had their turn."""
    body = await _read(receive)
    verdicts: list[Event] = []
    crash: Exception | None = None
    crashed = ""
    for route, scope in groups:
        replay = _Replay(body, send)
        try:
            await route.run(scope, replay.receive, replay.send)
        except asyncio.CancelledError:
            if replay.verdict["type"] == "email.defer":  # its policy has logged that it is cut off; the server need not
                with contextlib.suppress(Exception):
                    await send(replay.verdict)
            raise
        except Exception as error:
            if crash is not None:
                error.__context__ = crash  # both stand in the one log record
            crash, crashed = error, route.label
        verdicts.append(replay.verdict)
    if crash is not None:
        current_route.set(crashed)
        raise crash
    verdict = _combine(verdicts)
    for (_, scope), single in zip(groups, verdicts, strict=True):
        if single["type"] == "email.reject" != verdict["type"]:
            logger.warning("rejected for %s, yet told %s for all", ", ".join(scope["rcpt_to"]), verdict["type"])
    await send(verdict)


async def _read(receive: Receive) -> list[_Received]:
    """All events of the message. The last is the one that an application gets that asks for more."""
    event: EmailReceiveEvent = await receive()
    events: list[_Received] = [event]
    while event["more_body"]:
        event = await receive()
        events.append(event)
    return [*events, {"type": "email.disconnect"}]


def _combine(verdicts: Sequence[Event]) -> Event:
    by_type: dict[str, Event] = {verdict["type"]: verdict for verdict in reversed(verdicts)}
    wishes = [verdict["retry_after"] for verdict in verdicts if "retry_after" in verdict]
    if "email.defer" in by_type and wishes:
        return {**by_type["email.defer"], "retry_after": min(wishes)}
    for kind in ("email.defer", "email.accept", "email.reject"):
        if kind in by_type:
            return by_type[kind]
    return {"type": "email.accept"}


class _Replay:
    """Gives the message to one group of recipients, and keeps its verdict."""

    def __init__(self, events: Sequence[_Received], send: Send) -> None:
        self.verdict: Event = {"type": "email.accept"}
        self._state = "open"
        self._events = iter(events)
        self._send = send
        self._nothing_more: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self) -> _Received:
        for event in self._events:
            return event
        await self._nothing_more  # until the run is cancelled
        raise AssertionError

    async def send(self, event: Event) -> None:
        """Raises LocalProtocolError if the server would not take ``event`` either."""
        await checkpoint()
        if type_of(event) == "email.send":
            await self._send(event)
        else:
            self._state, self.verdict = step(SENDS, CHECKS, self._state, event)
