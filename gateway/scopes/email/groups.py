"""Runs a message's groups of recipients, each over its own part of the message's scope."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from gateway.delivery.current_route import current_route
from gateway.routing.router import Route
from gateway.scopes.email.identity import identity_of
from gateway.scopes.email.kept_verdicts import KeptVerdicts
from gateway.scopes.email.stored import has_store, stored
from protocols.asgi import EmailDisconnectEvent, EmailReceiveEvent, EmailScope, Receive, Send
from protocols.checkpoint import checkpoint
from protocols.events import Event, step, type_of
from protocols.mail.events import CHECKS, SENDS
from protocols.mail.verdict import Verdicts

_Received = EmailReceiveEvent | EmailDisconnectEvent
Group = tuple[Route, EmailScope]


async def run_groups(
    groups: Sequence[Group], kept: KeptVerdicts | None, late: set[str], receive: Receive, send: Send
) -> None:
    """Run the groups of one message one after the other, as a mail server delivers.

    The verdict of each group is sent as soon as it is there: it stands, whatever becomes of the others. A crash is
    raised after the others have had their turn. If the sender gets one answer for all groups, and that asks for the
    message again, a group that has accepted or rejected it does not run again. Where the gateway has a store, each
    group is delivered as if its route had a policy, so that its verdict is in the store. Otherwise it is ``kept`` in
    memory. A message without an identity is a new message each time that it comes. ``kept`` is None if the sender gets
    an answer for each group, so that nothing has to be kept. ``late`` has the labels of routes that were cut off
    because the time was over: those run after the others, which would never have their turn.
    """
    events = await _read(receive)
    runs = [_GroupRun(route, _part(number, route, scope), events, send) for number, (route, scope) in enumerate(groups)]
    runs.sort(key=lambda run: run.route.label in late)
    durable = kept is not None and has_store()
    memory = None if durable else kept
    try:
        await _run_all(runs, memory, durable=durable)
    finally:
        late.update(run.route.label for run in runs if run.was_cut_off)
        late.difference_update(run.route.label for run in runs if run.has_ended)
        if memory is not None:
            _note(runs, memory)


async def _run_all(runs: Sequence["_GroupRun"], kept: KeptVerdicts | None, *, durable: bool) -> None:
    crash: Exception | None = None
    crashed = ""
    for run in runs:
        if kept and (verdict := kept.get(run.key)) is not None:
            await run.answer(verdict)
            continue
        try:
            await run(durable=durable)
        except Exception as error:
            if crash is not None:
                error.__context__ = crash  # both stand in the one log record
            crash, crashed = error, run.route.label
    current_route.set(crashed)  # none, if all went well: the mail was for several
    if crash is not None:
        raise crash


def _note(runs: Sequence["_GroupRun"], kept: KeptVerdicts) -> None:
    """Keep the verdicts of a message that comes again; else forget them."""
    again = any(run.comes_again for run in runs)
    for run in runs if again or kept else ():
        if not again:
            kept.forget(run.key)
        elif run.key and run.verdict is not None:
            kept.keep(run.key, run.verdict)


def _part(number: int, route: Route, scope: EmailScope) -> EmailScope:
    """Return the scope of a group that is delivered and stored as a message of its own, under another id than the first
    group."""
    extensions = scope["extensions"]
    event = extensions.get("event")
    if number == 0 or event is None:
        return scope
    part = " ".join([*filter(None, [event.get("part")]), route.label, *scope["rcpt_to"]])
    return {**scope, "extensions": {**extensions, "event": {**event, "part": part}}}


class _GroupRun:
    """One group: the message is replayed to it, and its verdicts are kept."""

    def __init__(self, route: Route, scope: EmailScope, events: Sequence[_Received], send: Send) -> None:
        self.route = route
        self._scope = scope
        self._events = events
        self._send = send
        self._replayed = iter(events)
        self._verdicts = Verdicts(scope["rcpt_to"])
        self.was_cut_off = False
        self.has_ended = False

    @cached_property
    def key(self) -> str:
        """A text that is the same when the message comes again, for this route; empty if nothing tells it from others.

        Found by reading all of the message.
        """
        identity = identity_of(self._scope, self._events[:-1]).key
        return identity and f"{identity} {self.route.label}"

    @property
    def comes_again(self) -> bool:
        return not self.has_ended or any(event["type"] == "email.defer" for event, _ in self._verdicts.groups())

    @property
    def verdict(self) -> Event | None:
        """The one verdict of all recipients, if that is for good."""
        events = [event for event, _ in self._verdicts.groups()]
        return events[0] if not self.comes_again and len(events) == 1 else None

    async def __call__(self, *, durable: bool) -> None:
        route = stored(self.route) if durable else self.route
        try:
            await route.run(self._scope, self._receive, self._take)
        except asyncio.CancelledError:
            self.was_cut_off = True
            with contextlib.suppress(Exception):  # a policy has logged that it is cut off; the server need not
                await self._tell("email.defer")
            raise
        except Exception:
            self._verdicts.fail()
            await self._tell()
            raise
        self.has_ended = True
        await self._tell()

    async def answer(self, verdict: Event) -> None:
        """Give the verdict of an earlier run."""
        self._verdicts.add(verdict)
        self.has_ended = True
        await self._tell()

    async def _tell(self, *kinds: str) -> None:
        """Send the verdicts, or only those of these types."""
        for event, recipients in self._verdicts.groups():
            if not kinds or event["type"] in kinds:
                await self._send({**event, "rcpt_to": recipients})

    async def _receive(self) -> Any:
        for event in self._replayed:
            return event
        await asyncio.get_running_loop().create_future()  # after the disconnect: waits until cancelled
        raise AssertionError

    async def _take(self, event: Event) -> None:
        """Raises LocalProtocolError if the server would not take ``event`` either."""
        await checkpoint()
        if type_of(event) == "email.send":
            await self._send(event)
        else:
            self._verdicts.add(step(SENDS, CHECKS, "open", event)[1])


async def _read(receive: Receive) -> list[_Received]:
    """All events of the message. The last is the one that an application gets that asks for more."""
    event: EmailReceiveEvent = await receive()
    events: list[_Received] = [event]
    while event["more_body"]:
        event = await receive()
        events.append(event)
    return [*events, {"type": "email.disconnect"}]
