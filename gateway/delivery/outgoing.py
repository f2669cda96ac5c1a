"""What a handler sends, as the store keeps it until it has left."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.delivery.kind import DeliveryKind, kind_of_event
from gateway.store import Outgoing, codec
from protocols.events import Event

THROUGH = "through"
"""The key of an event that leaves by another server than its handler's message came through: the scope that stands for
that server."""
LONGEST_RECIPIENT = 500
"""Characters of recipients that a list shows."""


def outgoing_of(event_id: str, scope: Any, events: Sequence[Event], now: float) -> list[Outgoing]:
    """Make the items for ``events``. Their ids are the same in every attempt, and they name the server that the message
    came through. ``now`` is the store's.

    A text that its provider takes in parts is an item for each, one behind the other: a part that has left does not
    leave again because the next one failed.
    """
    items: list[Outgoing] = []
    for event in events:
        kind, through, behind = kind_of_event(event), event.get(THROUGH, scope), ""
        for part in kind.parts(event, through):
            items.append(_item(kind, f"{event_id}-{len(items)}", event_id, through["listener"], part, behind, now))
            behind = items[-1].id
    return items


_NOT_KEPT = (THROUGH, "wait")
"""It is committed, and leaves when it can."""


def _item(
    kind: DeliveryKind, id_: str, event_id: str, listener: str, event: Event, behind: str, now: float
) -> Outgoing:
    event = kind.kept(event, id_)
    kept = {key: value for key, value in event.items() if key not in _NOT_KEPT}
    content = codec.encode({"listener": listener}, [kept])
    to = recipient_of(event)
    lane = kind.lane(listener)
    return Outgoing(id_, event_id, kind.name, content, lane=lane, behind=behind, recipient=to, since=now)


def part_of(item: Outgoing, changed: Event) -> Outgoing:
    """``item`` with other keys in its event: fewer recipients."""
    scope, events = codec.decode(item.content)
    event = {**events[0], **changed}
    return replace(item, content=codec.encode(scope, [event]), recipient=recipient_of(event))


def recipient_of(event: Event) -> str:
    """Return the recipient of ``event``, for the operator."""
    return kind_of_event(event).recipient(event)[:LONGEST_RECIPIENT]
