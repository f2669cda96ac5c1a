"""Stands before the application of a route that has a policy, and keeps it."""

import asyncio
import logging
import time
from functools import partial
from typing import Any

from gateway.delivery import bell, verdict
from gateway.delivery.attempt import KINDS, Outcome, checked_again
from gateway.delivery.event import current_event, event_id
from gateway.delivery.identity import claim_key, order_key
from gateway.delivery.inbox import InboxConnection
from gateway.delivery.insist import insist, owed
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import Policy
from gateway.delivery.ruling import Ruling, in_words, rule
from gateway.delivery.running import CutOff, current_running
from gateway.store import codec, get_store
from gateway.store.engine import Claim, Message, StoreUnavailable
from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import LocalProtocolError

logger = logging.getLogger(__name__)

CLAIM_TTL = 7 * 86400.0
"""Seconds for which a repetition is known: longer than any sender goes on trying (mail servers, five days)."""


class Guard:
    """An ASGI application: ``app`` under ``policy``. ``label`` is the route's, for the store and the operator."""

    def __init__(self, app: Application, policy: Policy, label: str) -> None:
        self.app = app
        self.policy = policy
        self.label = label
        self.target_name = label.rpartition("-> ")[2]
        for name in ("consumer_class", "routable"):  # it is still known for what it is
            if hasattr(app, name):
                setattr(self, name, getattr(app, name))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] not in KINDS:
            await self.app(scope, receive, send)
        elif (running := current_running.get()) is not None:
            running.policy = self.policy
            self._check(running.attempt)
            await self._limited(scope, receive, send)
        elif scope["type"] == "mqtt":
            await InboxConnection(self.app, self.label, self.policy).serve(scope, receive, send)
        else:
            await self._answer(scope, [event async for event in _whole(receive)], send)

    def _check(self, attempt: int) -> None:
        """Attempts are counted before they begin, so that a message that kills the process is counted out too."""
        if self.policy.attempts is not None and attempt > self.policy.attempts:
            raise CutOff(self.policy.attempts)

    async def _limited(self, scope: Any, receive: Receive, send: Send) -> None:
        async with asyncio.timeout(self.policy.timeout):
            await self.app(scope, receive, send)

    async def _answer(self, scope: Any, events: list[Any], send: Send) -> None:
        """A message whose sender waits for the verdict."""
        kind = scope["type"]
        try:
            answer = await self._delivered(scope, events)
        except StoreUnavailable as error:
            logger.error("%s: deferred, the store is unavailable: %s", describe(scope), error)
            answer = [verdict.defer(kind)]
        for event in answer:
            await send(event)

    async def _delivered(self, scope: Any, events: list[Any]) -> list[Any]:
        """The events that answer the sender, once that is durable. Raises StoreUnavailable."""
        own = event_id(scope)
        key = claim_key(scope, events) or f"{scope['type']}:{own}"  # what nothing tells apart is always new
        claim = await get_store().claim(key, id=own, now=time.time(), ttl=CLAIM_TTL)
        current_event.set(claim.id)
        if claim.state == "done":
            logger.info("%s: delivered again, answered as the first time", describe(scope))
            return await self._repeated(scope, events, claim, key)
        if claim.state == "busy":
            return [verdict.defer(scope["type"])]
        try:
            return await self._claimed(scope, events, claim, key)
        except BaseException as error:  # else nobody could have it while this process lives
            release = partial(get_store().release, key, error=type(error).__name__)
            owed.spawn(insist(release), name=f"release {claim.id}")
            raise

    async def _repeated(self, scope: Any, events: list[Any], claim: Claim, key: str) -> list[Any]:
        """The answer of the first time. An older version may have kept one that cannot be given: a dead letter."""
        taken = [verdict.accept(scope["type"])]
        try:
            return checked_again(codec.decode(claim.result)[1]) if claim.result else taken
        except LocalProtocolError as error:
            logger.error("%s: now among the dead letters, its answer cannot be given: %s", describe(scope), error)
            message = self._message(scope, events, claim)
            await get_store().bury(message, error=f"its handler's answer cannot be given: {error}", claim=key)
            return taken

    async def _claimed(self, scope: Any, events: list[Any], claim: Claim, key: str) -> list[Any]:
        message = self._message(scope, events, claim)
        if not self.policy.inbox:
            return await self._attempted(scope, events, message, key)
        await get_store().put(message, claim=key)
        bell.stored.ring()
        return [verdict.accept(scope["type"])]

    async def _attempted(self, scope: Any, events: list[Any], message: Message, key: str) -> list[Any]:
        extension = {"id": message.id, "attempt": message.attempts, "first_received": message.received}
        told = {**scope, "extensions": {**scope["extensions"], "delivery": extension}}
        outcome = await self._outcome(told, events, message)
        ruling = rule(self.policy, outcome, message.attempts)
        if ruling.state != "done":
            report(scope, outcome, self.policy, ruling, message.attempts, stored=False)
        return await self._settled(scope, message, key, outcome, ruling)

    async def _outcome(self, scope: Any, events: list[Any], message: Message) -> Outcome:
        try:
            self._check(message.attempts)
            return await KINDS[scope["type"]](self._limited, scope, events).outcome()
        except CutOff as error:
            return Outcome(None, [], [], error)

    async def _settled(self, scope: Any, message: Message, key: str, outcome: Outcome, ruling: Ruling) -> list[Any]:
        kind, store = message.type, get_store()
        error = outcome.failure
        match ruling.state:
            case "done":
                answer = [*outcome.replies, outcome.verdict or verdict.accept(kind)]
                outgoing = outgoing_of(message.id, scope, outcome.outgoing)
                await store.settle(key, result=codec.encode({}, answer), outgoing=outgoing)
                if outgoing:
                    bell.outgoing.ring()
                return answer
            case "again":
                await store.release(key, error=error, counted=not outcome.deferred)
                return [{**(outcome.verdict or verdict.defer(kind)), "retry_after": ruling.wait}]
            case "dead":
                await store.bury(message, error=error, claim=key)
                return [verdict.accept(kind)]
            case _:
                answer = [verdict.refuse(kind)]
                await store.settle(key, result=codec.encode({}, answer))
                return answer

    def _message(self, scope: Any, events: list[Any], claim: Claim) -> Message:
        return Message(
            id=claim.id,
            type=scope["type"],
            route=self.label,
            key=order_key(scope, events) if self.policy.order == "key" else claim.id,
            received=claim.received,
            content=codec.encode(scope, events),
            attempts=0 if self.policy.inbox else claim.attempts,
            subject=describe(scope),
        )


def guarded(app: Application, policy: Policy, label: str) -> Application:
    """``app`` under ``policy``; the very ``app`` where that asks for nothing."""
    return app if policy.plain else Guard(app, policy, label)


def report(scope: Any, outcome: Outcome, policy: Policy, ruling: Ruling, attempt: int, *, stored: bool) -> None:
    """One log record for an attempt that did not succeed: with the traceback where it crashed."""
    words = in_words(policy, ruling, attempt, stored=stored)
    if outcome.error is None:
        logger.info("%s: deferred (%s)", describe(scope), words)
    else:
        extra = {"scope": scope, "note": words, "kept": stored or ruling.state == "dead"}
        logger.error("%s", describe(scope), exc_info=outcome.error, extra=extra)


async def _whole(receive: Receive) -> Any:
    """The events that bring one message, email's as one."""
    event = await receive()
    if event["type"] != "email.receive":
        yield event
        return
    body = [event["body"]]
    while event["more_body"]:
        event = await receive()
        body.append(event["body"])
    yield {"type": "email.receive", "body": b"".join(body), "more_body": False}
