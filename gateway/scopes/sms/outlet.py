"""How texts leave the outbox: in their time, at their rate, and by another provider if the first one is down."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

from gateway.delivery.outbox import ACCOUNT_PAUSE, ATTEMPT, NoServer
from gateway.scopes.sms.delivery import ANSWERS
from gateway.scopes.sms.sent_texts import StoredTexts
from gateway.store import Store
from protocols.errors import AccountRefused, LocalProtocolError, NotSent, NotYet, OutcomeUnknown, PermanentFailure
from protocols.events import Event
from protocols.server import Server
from protocols.sms.rate import Rates
from protocols.sms.segments import segments
from protocols.sms.sending_settings import SendingSettings, sending_of

logger = logging.getLogger(__name__)

SHORT = 1.0
"""Seconds that a text waits here for its turn. One that waits longer goes back into the store, where it takes no place
from others."""
FARTHEST = 60.0
"""Seconds ahead for which turns are given. What would come later asks again."""
DOWN = 30.0
"""Seconds for which a provider that was down gets no texts, if another one takes them."""

BY, TRIED, UNTAKEN = "by", "tried", "untaken"
"""Keys of a stored text: the server that it goes by now; those that have certainly not taken it, in this round; the
number of attempts that have ended, after which certainly no provider had it."""


class TextOutlet:
    """Sends stored texts; an :data:`~gateway.delivery.outbox.Outlet`.

    A text never goes to another provider after an attempt in which one may have taken it: an answer that was lost, or a
    process that died. It is tried again by the same provider then, which may recognize it.
    """

    def __init__(self, servers: Collection[Server], store: Store | None) -> None:
        self._servers = servers
        self._sent = StoredTexts(store) if store is not None else None
        self._rates: dict[str, tuple[SendingSettings, Rates]] = {}
        self._turns: OrderedDict[str, float] = OrderedDict()
        """When texts that wait in the store may leave, by id."""
        self._down: dict[str, float] = {}
        """Servers that get no texts while others take them: until when (monotonic)."""

    async def __call__(self, listener: str, event: Event) -> None:
        """Send it. Raises NotSent and its kinds."""
        while True:
            try:
                return await self._try(listener, event)
            except NotYet as error:
                if self._sent is not None:
                    raise
                if error.wait > FARTHEST:  # without a store nothing can wait for the morning
                    raise NotSent(f"{error}; with a store (store: sqlite:var/gateway.db) it would wait") from error
                await asyncio.sleep(error.wait)
                event = {**event, **(error.left or {})}

    async def _try(self, listener: str, event: Event) -> None:
        first = self._server(listener)
        name = self._chosen(first, event)
        server = first if name == listener else self._server(name)
        sending: SendingSettings = sending_of(server.settings)
        text = self._as_sent(first, server, event)
        self._keep_quiet(sending, text)
        await self._take_turn(name, sending, text)
        try:
            ids = await server.send(text)
        except (OutcomeUnknown, PermanentFailure, LocalProtocolError):
            raise
        except NotSent as error:
            raise self._after(first, name, event, error) from error
        self._down.pop(name, None)
        await self._note(name, text, ids)

    def _server(self, name: str) -> Any:
        for server in self._servers:
            if server.name == name and "sms" in server.scope_types:
                return server
        raise NoServer(f"there is no sms server {name!r} any more")

    # Which provider.

    def _chosen(self, first: Any, event: Event) -> str:
        """Return the server to send by. Raises NotYet if it is another one than the store says: the store has to know
        before that one is asked."""
        by: str = event.get(BY) or first.name
        if _may_have_left(event) or not self._is_down(by):
            return by
        for name in self._others(first, event, by):
            if not self._is_down(name):
                raise _moved(event, by, name, f"{by} is down; it goes by {name}")
        return by

    def _after(self, first: Any, name: str, event: Event, error: NotSent) -> NotSent:
        """Return what to raise after ``name`` has certainly not taken the text: it goes another way if there is one."""
        if _may_have_left(event):
            return error
        others = self._others(first, event, name)
        if others:
            self._rest(name, error)
            return _moved(event, name, others[0], f"{error}; it goes by {others[0]}")
        if not sending_of(first.settings).failover:
            return error
        untaken = event.get(ATTEMPT, 1)
        if isinstance(error, AccountRefused):
            if name != first.name:  # the account of the lane may work
                error = NotSent(str(error))
            untaken -= 1  # it may not count
        error.left = {BY: "", TRIED: [], UNTAKEN: untaken}
        return error

    def _others(self, first: Any, event: Event, by: str) -> list[str]:
        tried = {*event.get(TRIED, ()), by}
        there = {server.name for server in self._servers} - tried
        return [name for name in (first.name, *sending_of(first.settings).failover) if name in there]

    def _is_down(self, name: str) -> bool:
        return self._down.get(name, 0.0) > time.monotonic()

    def _rest(self, name: str, error: NotSent) -> None:
        pause = ACCOUNT_PAUSE if isinstance(error, AccountRefused) else DOWN
        if not self._is_down(name):
            logger.warning(
                "sms %s: texts leave by other providers for %g s: %s", name, error.retry_after or pause, error
            )
        self._down[name] = time.monotonic() + (error.retry_after or pause)

    def _as_sent(self, first: Any, server: Any, event: Event) -> Event:
        """From a number of the provider that sends it."""
        own = server.settings.number
        is_default = event.get("from") == first.settings.number
        return {**event, "from": own} if server is not first and own and is_default else event

    # When.

    def _keep_quiet(self, sending: SendingSettings, event: Event) -> None:
        """Raise NotYet in quiet hours, unless the text answers one."""
        if sending.quiet is None or event.get(ANSWERS):
            return
        if wait := sending.quiet.wait(event.get("to", ""), time.time()):
            raise NotYet(f"quiet hours ({sending.quiet_hours}) of its recipient", wait)

    async def _take_turn(self, name: str, sending: SendingSettings, event: Event) -> None:
        """Wait for the text's turn. Raises NotYet if that is not soon."""
        now, id_ = time.monotonic(), event.get("id", "")
        if (turn := self._turns.pop(id_, None)) is None:
            rates, sender = self._rates_of(name, sending), event.get("from", "")
            turn = rates.slot(sender, now)
            if turn - now > FARTHEST:
                raise NotYet(f"more texts wait for {name} than leave in {FARTHEST:g} s", FARTHEST)
            rates.take(sender, now)
        if turn - now > SHORT:
            self._turns[id_] = turn
            raise NotYet(f"its turn at {name} comes later (rate, sender_rate)", turn - now)
        if turn > now:
            await asyncio.sleep(turn - now)

    def _rates_of(self, name: str, sending: SendingSettings) -> Rates:
        settings, rates = self._rates.get(name, (None, None))
        if rates is None or settings != sending:
            rates = Rates(sending.rate, sending.sender_rate)
            self._rates[name] = (sending, rates)
        return rates

    # What has left.

    async def _note(self, name: str, event: Event, ids: list[str]) -> None:
        number, id_ = len(segments(event["text"])), event.get("id", "")
        said = "sms %s: %s to %s sent, %d segment%s%s"
        logger.info(said, name, id_, event["to"], number, "s" * (number != 1), _called(ids))
        if self._sent is not None and id_:
            for message_id in ids or [""]:
                await self._sent.sent(id_, name, message_id, event["to"], number)


def _called(ids: list[str]) -> str:
    known = ", ".join(filter(None, ids))
    return f", as {known}" if known else ""


def _may_have_left(event: Mapping[str, Any]) -> bool:
    """Whether there was an attempt after which a provider may have the text: one that did not end, or whose outcome is
    not known."""
    untaken: int = event.get(UNTAKEN, 0)
    return int(event.get(ATTEMPT, 1)) - 1 > untaken


def _moved(event: Event, by: str, to: str, why: str) -> NotYet:
    return NotYet(why, 0.0, left={BY: to, TRIED: [*event.get(TRIED, ()), by]})
