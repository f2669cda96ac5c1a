"""Remembers in the store to which trace a message of ours belongs, so that its answer finds it."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence

from opentelemetry.trace import SpanContext

from gateway.delivery.service import deliveries
from gateway.spans import Carrier
from gateway.store import StoreUnavailable
from gateway.tracing.contexts import extracted

logger = logging.getLogger(__name__)

KEEP = 30 * 86400.0
"""Seconds for which an answer is recognized."""
PATIENCE = 2.0
"""Seconds that a message waits for the store: it is handled, though it may be in a trace of its own."""


async def remember(scope_type: str, id_: str, carrier: Carrier, recipients: Sequence[str]) -> None:
    """Note the trace of the message that answers call ``id_``."""
    note = json.dumps([dict(carrier), list(recipients)]).encode()
    try:
        async with asyncio.timeout(PATIENCE):
            await deliveries.get().store.note(_key(scope_type, id_), note, ttl=KEEP)
    except (StoreUnavailable, TimeoutError, LookupError) as error:
        logger.debug("the trace of %s is not noted: %s", id_, error)


async def recall(scope_type: str, ids: Sequence[str]) -> tuple[SpanContext, Sequence[str]] | None:
    """Return the trace of the first of these messages that is known, and the recipients of that."""
    try:
        async with asyncio.timeout(PATIENCE):
            note = await deliveries.get().store.noted([_key(scope_type, id_) for id_ in ids])
    except (StoreUnavailable, TimeoutError, LookupError) as error:
        logger.debug("traces cannot be looked up: %s", error)
        return None
    if note is None:
        return None
    carrier, recipients = json.loads(note)
    found = extracted(carrier)
    return None if found is None else (found, recipients)


def _key(scope_type: str, id_: str) -> str:
    return f"trace:{scope_type}:{hashlib.sha256(id_.encode(errors='surrogatepass')).hexdigest()[:32]}"
