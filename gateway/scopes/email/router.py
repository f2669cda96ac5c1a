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
from protocols.asgi import Receive, Send
from protocols.checkpoint import checkpoint
from protocols.events import step, type_of
from protocols.mail.events import CHECKS, SENDS

logger = logging.getLogger(__name__)


class EmailToRouter(Router):
    """Groups a message's recipients by the first route that takes each, and runs each route's application once.

    Each sees ``rcpt_to`` narrowed to its group. Verdicts are combined: one that defers (or crashes) defers the
    message, since its sender can only be told one thing (and waits for the one that wishes it the soonest); it is
    rejected where every group rejects it.
    """

    scope_types = ("email",)
    patterns = (Address, Domain, Regex, Default)

    def key(self, pattern: Pattern, scope: Any) -> str:
        """The recipient; empty where a mailbox's message names nobody, which a route for everything takes."""
        recipient: str = scope["rcpt_to"][0] if scope["rcpt_to"] else ""
        return recipient

    def groups(self, scope: Any) -> list[tuple[Route, Any]]:
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


async def _run_all(groups: Sequence[tuple[Route, Any]], receive: Receive, send: Send) -> None:
    """One after the other, as a mail server delivers; a crash is raised after the others have had their turn."""
    body = await _read(receive)
    verdicts: list[dict[str, Any]] = []
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


async def _read(receive: Receive) -> list[dict[str, Any]]:
    """The whole message, as the events that brought it, and the last event, which a run without others is given too."""
    events = [await receive()]
    while events[-1].get("more_body"):
        events.append(await receive())
    return [*events, {"type": "email.disconnect"}]


def _combine(verdicts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    by_type: dict[str, dict[str, Any]] = {verdict["type"]: verdict for verdict in reversed(verdicts)}
    wishes = [verdict["retry_after"] for verdict in verdicts if "retry_after" in verdict]
    if "email.defer" in by_type and wishes:
        return by_type["email.defer"] | {"retry_after": min(wishes)}
    for kind in ("email.defer", "email.accept", "email.reject"):
        if kind in by_type:
            return by_type[kind]
    return {"type": "email.accept"}


class _Replay:
    """Gives one group the message, and keeps its verdict for the sum."""

    def __init__(self, events: Sequence[dict[str, Any]], send: Send) -> None:
        self.verdict: dict[str, Any] = {"type": "email.accept"}
        self._state = "open"
        self._events = iter(events)
        self._send = send
        self._nothing_more: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Any:
        for event in self._events:
            return event
        await self._nothing_more  # but the end of the run
        raise AssertionError

    async def send(self, event: dict[str, Any]) -> None:
        """What the peer's own run would not take is not taken here either."""
        await checkpoint()
        if type_of(event) == "email.send":
            await self._send(event)
        else:
            self._state, self.verdict = step(SENDS, CHECKS, self._state, event)
