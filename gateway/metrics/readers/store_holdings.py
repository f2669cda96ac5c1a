"""What the store holds. It is a reader of its own: it waits for the store, which another program may have locked, and
the store's other metrics then tell why."""

import contextlib
from collections.abc import AsyncIterator, Iterator

from gateway.metrics.family import Sample, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway
from gateway.store import Holdings, StoreUnavailable

MESSAGES = gauge(
    "gateway_store_messages",
    "Received messages in the store by their state: waiting, running, dead.",
    "state",
    joined="max",
)
OLDEST = gauge(
    "gateway_store_oldest_message_timestamp_seconds",
    "When the oldest message that waits or runs arrived. Missing if no message waits or runs.",
    joined="max",
)
OUTGOING = gauge(
    "gateway_outgoing_messages",
    "Stored messages to send, by the way that they leave by, and their state: waiting, leaving, dead.",
    "lane",
    "state",
    joined="max",
)
RESTING = gauge("gateway_outgoing_lanes_resting", "Ways out that rest because their account is refused.", joined="max")
_STATES = ("waiting", "leaving", "dead")


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    if (dispatcher := gateway.dispatcher) is None:
        return
    with contextlib.suppress(StoreUnavailable):  # which gateway_store_available tells
        for sample in _held(await dispatcher.deliveries.store.holdings()):
            yield sample


def _held(held: Holdings) -> Iterator[Sample]:
    for state in ("waiting", "running", "dead"):
        yield MESSAGES.sample(getattr(held, state), state)
    if held.oldest is not None:
        yield OLDEST.sample(held.oldest)
    for lane in sorted({lane for lane, _ in held.outgoing}):
        for state in _STATES:
            yield OUTGOING.sample(held.outgoing.get((lane, state), 0), lane, state)
    yield RESTING.sample(held.resting)


READER = Reader(
    "store_holdings",
    (MESSAGES, OLDEST, OUTGOING, RESTING),
    read,
    of="process",  # a successor has the same store
)
