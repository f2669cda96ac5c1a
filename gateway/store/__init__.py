"""The one durable store: inbox, claims, dead letters, what handlers send."""

from gateway.store.engines import engine_of
from gateway.store.interfaces import (
    ClaimStore,
    Clock,
    Engine,
    InboxStore,
    KeyValueStore,
    OperatorStore,
    OutboxStore,
    Store,
    UpkeepStore,
)
from gateway.store.values import (
    Claim,
    ClaimState,
    Counts,
    HistoryEntry,
    Message,
    MessageState,
    Outgoing,
    OutgoingState,
    OutgoingSummary,
    Search,
    StoreUnavailable,
    Summary,
)

__all__ = [
    "Claim",
    "ClaimState",
    "ClaimStore",
    "Clock",
    "Counts",
    "Engine",
    "HistoryEntry",
    "InboxStore",
    "KeyValueStore",
    "Message",
    "MessageState",
    "OperatorStore",
    "OutboxStore",
    "Outgoing",
    "OutgoingState",
    "OutgoingSummary",
    "Search",
    "Store",
    "StoreUnavailable",
    "Summary",
    "UpkeepStore",
    "engine_of",
]
