"""The router of the email scope: by recipient. One message, one run per group of recipients."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.routing.index import Index
from gateway.routing.patterns import Captures, Default, Pattern, Regex
from gateway.routing.router import Route, Router
from gateway.routing.unrouted import refuse
from gateway.scopes.email.groups import Group, run_groups
from gateway.scopes.email.kept_verdicts import KeptVerdicts
from gateway.scopes.email.patterns import Address, Domain, TaggedAddress
from protocols.asgi import EmailScope, Receive, Send
from protocols.events import Event
from protocols.mail.addresses import without_tag

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

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__(routes)
        self._kept = KeptVerdicts()

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

    def groups(self, scope: EmailScope) -> tuple[list[Group], list[str]]:
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
            # Over LMTP the sender has an answer for each recipient, and repeats the message for those alone that wait.
            await run_groups(groups, None if scope["transport"] == "lmtp" else self._kept, receive, send)


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
