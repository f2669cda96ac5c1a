"""What a handler sends, as the store keeps it until it has left."""

from collections.abc import Sequence
from typing import Any

from gateway.store import codec
from gateway.store.engine import Outgoing
from protocols.events import Event


def outgoing_of(event_id: str, scope: Any, events: Sequence[Event]) -> list[Outgoing]:
    """Under ids that are the same in every attempt, with the server that it came through.

    A text that its provider takes in parts is an item for each, one behind the other: a part that has left does not
    leave again because the next one failed.
    """
    items: list[Outgoing] = []
    for event in events:
        behind = ""
        for part in _parts(event, scope):
            items.append(_item(f"{event_id}-{len(items)}", event_id, scope["listener"], part, behind))
            behind = items[-1].id
    return items


def _parts(event: Event, scope: Any) -> Sequence[Event]:
    if event["type"] != "sms.send":
        return [event]
    from protocols.sms.providers import parts_of  # only where texts are: their libraries are not light

    return parts_of(event, scope["provider"])


def _item(id_: str, event_id: str, listener: str, event: Event, behind: str) -> Outgoing:
    kind = event["type"].partition(".")[0]
    lane = kind if kind == "email" else f"{kind} {listener}"  # all mail leaves by the one submission server
    content = codec.encode({"listener": listener}, [event])
    return Outgoing(id_, event_id, kind, content, lane=lane, behind=behind)
