"""The router of the email scope: by recipient. One message, one run per group of recipients."""

import asyncio
import contextlib
import heapq
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.delivery.current_route import current_route
from gateway.routing.index import Index
from gateway.routing.patterns import Captures, Default, Pattern, Regex
from gateway.routing.router import Route, Router
from gateway.routing.unrouted import refuse
from gateway.scopes.email.patterns import Address, Domain, TaggedAddress
from protocols.asgi import EmailDisconnectEvent, EmailReceiveEvent, EmailScope, Receive, Send
from protocols.checkpoint import checkpoint
from protocols.events import Event, step, type_of
from protocols.mail.addresses import without_tag
from protocols.mail.events import CHECKS, SENDS
from protocols.mail.verdict import Verdicts

_Received = EmailReceiveEvent | EmailDisconnectEvent
_Group = tuple[Route, EmailScope]
NOT_HERE: Event = {"type": "email.reject", "code": 550, "reason": "5.1.1 no such recipient here"}


class EmailToRouter(Router):
    """Groups a message's recipients by the first route that takes each, and runs each route's application once.

    Recipients of one route for which its expression captured something else are groups of their own. Each application
    sees its own group in ``rcpt_to`` and ``recipients``, and the captures in ``url_route``. Each group has its own
    verdict: an LMTP server answers with it, and every other combines them (see
    :func:`~protocols.mail.verdict.combined`).
    """

    scope_types = ("email",)
    patterns = (Address, Domain, Regex, Default)

    def key(self, pattern: Pattern, scope: EmailScope) -> str:
        """The recipient. It is empty if a message in a mailbox names nobody: only a route for everything takes that."""
        return scope["rcpt_to"][0] if scope["rcpt_to"] else ""

    def find(self, scope: EmailScope) -> tuple[Route, Captures] | None:
        """Find the route of the first recipient."""
        return super().find(_tagged(scope))

    def _candidates(self, index: Index, scope: EmailScope) -> Iterable[Route]:
        key = self.key(Default(), scope)
        if not isinstance(key, TaggedAddress):
            return super()._candidates(index, scope)
        base = key.base
        numbers = heapq.merge(index.candidates(lambda pattern: key), index.candidates(lambda pattern: base))
        return (self.routes[number] for number in numbers)

    def child(self, scope: EmailScope, captures: Captures) -> Any:
        """The scope with the captures of this router's route, beside those of the routers above."""
        outer = scope.get("url_route")
        if outer is None:
            return {**scope, "url_route": {"args": captures.args, "kwargs": captures.kwargs.copy()}}
        args, kwargs = (*outer["args"], *captures.args), {**outer["kwargs"], **captures.kwargs}
        return {**scope, "url_route": {"args": args, "kwargs": kwargs}}

    def groups(self, scope: EmailScope) -> tuple[list[_Group], list[str]]:
        """(route, scope narrowed to its recipients) in the order of the first recipient of each, and the recipients
        that no route takes."""
        if len(scope["rcpt_to"]) < 2:
            found = self.find(scope)
            return ([], scope["rcpt_to"]) if found is None else ([(found[0], self.child(scope, found[1]))], [])
        taken: dict[Any, tuple[Route, Captures, list[int]]] = {}
        strangers: list[str] = []
        for number, recipient in enumerate(scope["rcpt_to"]):
            found = self.find(narrowed(scope, [number]))
            if found is None:
                strangers.append(recipient)
            else:
                route, captures = found
                key = route, captures.args, tuple(captures.kwargs.items())
                taken.setdefault(key, (route, captures, []))[2].append(number)
        groups = taken.values()
        return [
            (route, self.child(narrowed(scope, numbers), captures)) for route, captures, numbers in groups
        ], strangers

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "email":
            await super().__call__(scope, receive, send)
            return
        groups, strangers = self.groups(scope)
        if not groups:
            await refuse(scope, receive, send)
        elif len(groups) == 1 and not strangers:
            route, narrow = groups[0]
            await route.run(narrow, receive, send)
        else:
            if strangers:
                await send({**NOT_HERE, "rcpt_to": strangers})
            await _run_all(groups, receive, send)


def narrowed(scope: EmailScope, numbers: Sequence[int]) -> EmailScope:
    """Return the scope with the recipients of these numbers alone."""
    recipients, rcpt_to = scope.get("recipients"), scope["rcpt_to"]
    narrow: EmailScope = {**scope, "rcpt_to": [rcpt_to[number] for number in numbers]}
    if recipients is not None:
        narrow["recipients"] = [recipients[number] for number in numbers]
    return narrow


def _tagged(scope: EmailScope) -> EmailScope:
    """Return the scope with what patterns look at, if its recipient has a tag: also the address without that."""
    recipients = scope.get("recipients")
    if not recipients or (tag := recipients[0]["tag"]) is None:
        return scope
    key = TaggedAddress(scope["rcpt_to"][0])
    key.base = without_tag(key, tag)
    return {**scope, "rcpt_to": [key]}


async def _run_all(groups: Sequence[_Group], receive: Receive, send: Send) -> None:
    """Run one after the other, as a mail server delivers; a crash is raised after the others have had their turn.

    The verdict of each group is sent as soon as it is there: it stands, whatever becomes of the others.
    """
    body = await _read(receive)
    crash: Exception | None = None
    crashed = ""
    for route, scope in groups:
        replay = _Replay(body, scope, send)
        try:
            await route.run(scope, replay.receive, replay.send)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await replay.tell_deferrals()  # a policy has logged that it is cut off; the server need not
            raise
        except Exception as error:
            if crash is not None:
                error.__context__ = crash  # both stand in the one log record
            crash, crashed = error, route.label
            replay.verdicts.fail()
        await replay.tell()
    if crash is not None:
        current_route.set(crashed)
        raise crash


async def _read(receive: Receive) -> list[_Received]:
    """All events of the message. The last is the one that an application gets that asks for more."""
    event: EmailReceiveEvent = await receive()
    events: list[_Received] = [event]
    while event["more_body"]:
        event = await receive()
        events.append(event)
    return [*events, {"type": "email.disconnect"}]


class _Replay:
    """Gives the message to one group of recipients, and keeps its verdicts."""

    def __init__(self, events: Sequence[_Received], scope: EmailScope, send: Send) -> None:
        self.verdicts = Verdicts(scope["rcpt_to"])
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
            self.verdicts.add(step(SENDS, CHECKS, "open", event)[1])

    async def tell(self) -> None:
        """Send the verdicts of this group."""
        for event, recipients in self.verdicts.groups():
            await self._send({**event, "rcpt_to": recipients})

    async def tell_deferrals(self) -> None:
        for event, recipients in self.verdicts.groups():
            if event["type"] == "email.defer":
                await self._send({**event, "rcpt_to": recipients})
