"""The routers of the email scope: by recipient, and by sender. One message, one run per group of recipients."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.routing.index import Index
from gateway.routing.patterns import Captures, Default, Pattern, Regex
from gateway.routing.router import Route, Router
from gateway.routing.unrouted import refuse
from gateway.scopes.email.conditions import Facts, When, author
from gateway.scopes.email.groups import Group, run_groups
from gateway.scopes.email.kept_verdicts import KeptVerdicts
from gateway.scopes.email.kind_of_message import with_kind
from gateway.scopes.email.patterns import Address, Domain, MailKey, mail_key, whole
from gateway.scopes.email.postmaster import logged
from gateway.scopes.email.postmaster import postmaster as postmaster_route
from gateway.scopes.email.routes import MailRoute
from protocols.asgi import EmailScope, Receive, Scope, Send
from protocols.events import Event
from protocols.mail.addresses import without_tag

NOT_HERE: Event = {"type": "email.reject", "code": 550, "reason": "5.1.1 no such recipient here"}
NOT_TAKEN: Event = {"type": "email.reject", "code": 550, "reason": "5.7.1 this message is not taken here"}
"""The answer to a recipient whose routes all have conditions, none of which the message meets."""
NOT_YET: Event = {"type": "email.defer", "reason": "4.7.0 who sent this message cannot be verified now, try again"}
"""The answer instead, if that may be because DNS was in trouble: the next attempt may meet them."""


class _MailRouter(Router):
    """What the routers of the email scope share."""

    scope_types = ("email",)

    def child(self, scope: EmailScope, captures: Captures) -> Any:
        """The scope with the captures of this router's route, beside those of the routers above."""
        outer = scope.get("url_route")
        if outer is None:
            return {**scope, "url_route": {"args": captures.args, "kwargs": captures.kwargs.copy()}}
        args, kwargs = (*outer["args"], *captures.args), {**outer["kwargs"], **captures.kwargs}
        return {**scope, "url_route": {"args": args, "kwargs": kwargs}}

    def below(self, route: Route, scope: EmailScope, captures: Captures) -> EmailScope:
        """The scope that the application of ``route`` sees."""
        child: EmailScope = self.child(scope, captures)
        if isinstance(route, MailRoute):
            child["extensions"] = {**scope["extensions"], "reply": {"to": route.reply_to}}
        return child


class EmailToRouter(_MailRouter):
    """Groups a message's recipients by the first route that takes each, and runs each route's application once.

    Recipients of one route for which its expression captured something else are groups of their own. Each application
    sees its own group in ``rcpt_to`` and ``recipients``, and the captures in ``url_route``. Each group has its own
    verdict: an LMTP server answers with it, and every other combines them (see
    :func:`~protocols.mail.verdict.combined`).
    """

    patterns = (Address, Domain, Regex, Default, When)

    def __init__(self, routes: Iterable[Route], *, postmaster: Any = None) -> None:
        """``postmaster``: an address, or an application, for mail to postmaster and abuse at whatever domain that no
        route by ``address`` takes. Without it, such mail that no route takes is a line in the log. Raises ValueError.
        """
        super().__init__(routes)
        self._names_postmaster = postmaster is not None
        self._postmaster = postmaster_route(logged if postmaster is None else postmaster)
        self._kept = KeptVerdicts()
        self._late: set[str] = set()
        conditions = [route.pattern.when for route in self.routes if isinstance(route.pattern, When)]
        self._has_conditions = bool(conditions)
        self._asks_for_kind = any(each.kinds for each in conditions)
        self._methods = {method for each in conditions for method, _ in each.results}

    def key(self, pattern: Pattern, scope: EmailScope) -> str:
        """The recipient. It is empty if a message in a mailbox names nobody: only a route for everything takes that."""
        return scope["rcpt_to"][0] if scope["rcpt_to"] else ""

    def find(self, scope: EmailScope, facts: Facts | None = None) -> tuple[Route, Captures] | None:
        """Find the route of the first recipient. Without ``facts`` the message is not here yet: then a route may take
        it whose conditions may be met."""
        keyed, reserved = self._keyed(scope, facts), self._reserved(scope)
        if reserved is None:
            return super().find(keyed)
        standing = (route for route in self.routes if self._stands(route, scope))
        return self._first(standing, keyed) or (self._postmaster, reserved)

    def _keyed(self, scope: EmailScope, facts: Facts | None) -> EmailScope:
        """The scope whose recipient is the key of the routes, with what is known beside the address."""
        recipients, rcpt_to = scope.get("recipients"), scope["rcpt_to"]
        tag = recipients[0]["tag"] if recipients else None
        if tag is None and facts is None:
            return scope
        address = rcpt_to[0] if rcpt_to else ""
        key = mail_key(address, address if tag is None else without_tag(address, tag), facts)
        return {**scope, "rcpt_to": [key]}

    def _reserved(self, scope: EmailScope) -> Captures | None:
        """What the route for postmaster and abuse captures; None if this is not for them. A mailbox is not asked: its
        owner gets all of it, whatever a header field says."""
        captures = self._postmaster.pattern.match(scope["rcpt_to"][0]) if scope["rcpt_to"] else None
        return None if captures is None or scope["transport"] == "imap" else captures

    def _stands(self, route: Route, scope: EmailScope) -> bool:
        """Whether a route that takes mail for a postmaster goes before ours. A relay takes it for users, because it may
        be for a postmaster elsewhere, and from nobody else, so that ours gets it."""
        if isinstance(whole(route.pattern), Address):
            return True
        below = getattr(route.app, "routable", None)
        if below is not None and not below(scope):
            return False
        return not self._names_postmaster or getattr(route.app, "relays", False)

    def _candidates(self, index: Index, scope: EmailScope) -> Iterable[Route]:
        key = self.key(Default(), scope)
        if not isinstance(key, MailKey) or key.base == key:
            return super()._candidates(index, scope)
        base = key.base
        numbers = heapq.merge(index.candidates(lambda pattern: key), index.candidates(lambda pattern: base))
        return (self.routes[number] for number in numbers)

    def explain(self, scope: EmailScope) -> Route | None:
        """The route that takes any message for the recipient; if there is none, the first whose conditions may be
        met."""
        nothing_known: EmailScope = {**scope, "headers": [], "mail_from": "", "authentication": None}
        found = self.find(scope, Facts(nothing_known)) or self.find(scope)
        if found is None:
            return None
        route, captures = found
        return route.app.explain(self.below(route, scope, captures)) if isinstance(route.app, Router) else route

    def groups(self, scope: EmailScope, facts: Facts | None = None) -> tuple[list[Group], list[str]]:
        """(route, scope narrowed to its recipients) in the order of the first recipient of each, and the recipients
        that no route takes."""
        if len(scope["rcpt_to"]) < 2:
            found = self.find(scope, facts)
            if found is None:
                return [], scope["rcpt_to"]
            return [(found[0], self.below(found[0], scope, found[1]))], []
        taken: dict[Any, tuple[Route, Captures, list[int]]] = {}
        strangers: list[str] = []
        for number, recipient in enumerate(scope["rcpt_to"]):
            found = self.find(narrowed(scope, [number]), facts)
            if found is None:
                strangers.append(recipient)
            else:
                route, captures = found
                key = route, captures.args, tuple(captures.kwargs.items())
                taken.setdefault(key, (route, captures, []))[2].append(number)
        groups = [
            (route, self.below(route, narrowed(scope, numbers), captures))
            for route, captures, numbers in taken.values()
        ]
        return groups, strangers

    def _refusal(self, scope: EmailScope) -> Event:
        """What is said of recipients that no route takes, some of which have conditions."""
        results = scope["authentication"] or {}
        return NOT_YET if any(results.get(method) == "temperror" for method in self._methods) else NOT_TAKEN

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "email":
            await super().__call__(scope, receive, send)
            return
        if self._asks_for_kind and "kind" not in scope:
            scope, receive = await with_kind(scope, receive)
        groups, strangers = self.groups(scope, Facts(scope) if self._has_conditions else None)
        if not groups:
            await (send(dict(self._refusal(scope))) if self._has_conditions else refuse(scope, receive, send))
        elif len(groups) == 1 and not strangers:
            route, narrow = groups[0]
            await route.run(narrow, receive, send)
        else:
            if strangers:
                await send({**(self._refusal(scope) if self._has_conditions else NOT_HERE), "rcpt_to": strangers})
            # Over LMTP the sender has an answer for each recipient, and repeats the message for those alone that wait.
            kept = None if scope["transport"] == "lmtp" else self._kept
            await run_groups(groups, kept, self._late, receive, send)


class EmailFromRouter(_MailRouter):
    """The first route that matches the author's address, in From. It takes all recipients of a message together.

    Anybody may write any address there. To know who it is, let the server verify it (``authentication``), and put the
    routes below one that requires ``dmarc``.
    """

    patterns = (Address, Domain, Regex, Default)

    def key(self, pattern: Pattern, scope: EmailScope) -> str:
        return author(scope)

    def routable(self, scope: Scope) -> bool:
        """Whether a route may take a message whose author is not known yet."""
        below = (getattr(route.app, "routable", None) for route in self.routes)
        return any(routable is None or routable(scope) for routable in below)

    def explain(self, scope: EmailScope) -> Route | None:
        """The route that takes any author's mail; if there is none, the first that may take it."""
        found = super().explain(scope)
        if found is not None or not self.routable(scope):
            return found
        may = (route.app.explain(scope) if isinstance(route.app, Router) else route for route in self.routes)
        return next(filter(None, may), None)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        found = self.find(scope) if scope["type"] == "email" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        route, captures = found
        await route.run(self.below(route, scope, captures), receive, send)


def narrowed(scope: EmailScope, numbers: Sequence[int]) -> EmailScope:
    """Return the scope with the recipients of these numbers alone."""
    recipients, rcpt_to = scope.get("recipients"), scope["rcpt_to"]
    narrow: EmailScope = {**scope, "rcpt_to": [rcpt_to[number] for number in numbers]}
    if recipients is not None:
        narrow["recipients"] = [recipients[number] for number in numbers]
    return narrow
