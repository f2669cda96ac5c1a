"""Applies the policy of a route: stands before its application, and answers the sender."""

import asyncio
import contextlib
import logging
from typing import Any

from gateway.delivery.claimed_attempt import ClaimedAttempt
from gateway.delivery.current_event import current_event, event_id
from gateway.delivery.deduplication import Identity
from gateway.delivery.delivery_context import current_delivery
from gateway.delivery.incoming import Incoming
from gateway.delivery.kind import delivery_kind
from gateway.delivery.policy import Policy
from gateway.delivery.running_attempts import Answer
from gateway.delivery.service import Deliveries, deliveries
from gateway.delivery.under_policy import under_policy
from gateway.store import Claim, ClaimState, StoreUnavailable, codec
from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import LocalProtocolError

logger = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.1, 1.0
"""Seconds between two looks at a claim that another process is at: at first, and in the end."""


class Guard:
    """An ASGI application: ``app`` under ``policy``. ``label`` is the route's, for the store and the operator."""

    def __init__(self, app: Application, policy: Policy, label: str) -> None:
        self.app = app
        self.policy = policy
        self.label = label
        self.target_name = label.rpartition("-> ")[2]
        for name in ("consumer_class", "relays", "routable"):  # routers look for these on a route's application
            if hasattr(app, name):
                setattr(self, name, getattr(app, name))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        kind = delivery_kind(scope["type"])
        if kind is None:  # a lifespan
            await self.app(scope, receive, send)
        elif (context := current_delivery.get()) is not None:
            context.policy = self.policy  # by which the worker settles the message
            await under_policy(self.app, self.policy, context.attempt, context.part)(scope, receive, send)
        elif (live := kind.live(self.app, self.label, self.policy)) is not None:
            await live(scope, receive, send)
        else:
            events = await kind.read(receive)
            await _answer(Incoming(kind, self.app, self.policy, self.label, scope, events, event_id(scope)), send)


async def _answer(incoming: Incoming, send: Send) -> None:
    """Answer the sender once the answer is durable."""
    try:
        answer = await _delivered(deliveries.get(), incoming)
    except StoreUnavailable as error:
        logger.error("%s: deferred, the store is unavailable: %s", describe(incoming.scope), error)
        answer = [incoming.kind.defer()]
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # so that its server knows that this is accounted for
            await send(incoming.kind.defer())
        raise
    for event in answer:
        await send(event)


async def _delivered(here: Deliveries, incoming: Incoming) -> Answer:
    """The events that answer the sender. Raises StoreUnavailable."""
    identity = incoming.kind.identity(incoming.scope, incoming.events)
    key = identity.key or f"{incoming.kind.name}:{incoming.id}"
    look = FIRST_LOOK
    while True:
        if running := here.attempts.get(key):
            logger.info("%s: delivered again while it is handled", describe(incoming.scope))
            return await running.answer()
        claim = await _claim(here, incoming, key, identity)
        current_event.set(claim.id)
        if claim.state is ClaimState.OURS and incoming.policy.inbox:
            return [incoming.kind.accept()]
        if claim.state is ClaimState.OURS:
            return await here.attempts.begin(claim.key, ClaimedAttempt(here, incoming, claim)).answer()
        if claim.state is ClaimState.DONE:
            logger.info("%s: delivered again, answered as the first time", describe(incoming.scope))
            return await _repeated(here, incoming, claim)
        await asyncio.sleep(look)  # another process is at it
        look = min(2 * look, LAST_LOOK)


async def _claim(here: Deliveries, incoming: Incoming, key: str, identity: Identity) -> Claim:
    """Claim the message; with an inbox, store it in the same commit."""
    if incoming.policy.inbox:
        return await here.inbox.put_once(incoming.message(), key=key, ttl=identity.window, failed_as=identity.failed_as)
    return await here.claims.claim(
        key, id=incoming.id, now=here.claims.now(), ttl=identity.window, failed_as=identity.failed_as
    )


async def _repeated(here: Deliveries, incoming: Incoming, claim: Claim) -> Answer:
    """The answer of the first time. Without one the message was stored, or has become a dead letter. An older version
    may have kept one that cannot be given: a dead letter."""
    taken: Answer = [incoming.kind.accept() if incoming.policy.inbox else incoming.kind.dead()]
    try:
        return list(incoming.kind.checked_again(codec.decode(claim.result)[1])) if claim.result else taken
    except LocalProtocolError as error:
        said = f"its handler's answer is not valid: {error}"
        logger.error("%s: now among the dead letters, %s", describe(incoming.scope), said)
        await here.messages.dead_letter(incoming.message(claim), error=said, claim=claim)
        return taken


def guarded(app: Application, policy: Policy, label: str) -> Application:
    """``app`` under ``policy``; the very ``app`` where that asks for nothing."""
    return app if policy.plain else Guard(app, policy, label)
