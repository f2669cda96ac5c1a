"""What a handler sends, as the store keeps it until it has left."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.store import codec
from gateway.store.engine import Outgoing
from protocols.events import Event
from protocols.mail.message_id import with_message_id

LONGEST_RECIPIENT = 500
"""Characters of recipients that a list shows."""


def outgoing_of(event_id: str, scope: Any, events: Sequence[Event], now: float) -> list[Outgoing]:
    """Under ids that are the same in every attempt, with the server that it came through. ``now`` is the
    store's.

    A text that its provider takes in parts is an item for each, one behind the other: a part that has left does not
    leave again because the next one failed.
    """
    items: list[Outgoing] = []
    for event in events:
        behind = ""
        for part in _parts(event, scope):
            items.append(_item(f"{event_id}-{len(items)}", event_id, scope["listener"], part, behind, now))
            behind = items[-1].id
    return items


def _parts(event: Event, scope: Any) -> Sequence[Event]:
    if event["type"] != "sms.send":
        return [event]
    from protocols.sms.providers import parts_of  # only where texts are: their libraries are not light

    return parts_of(event, scope["provider"])


def _item(id_: str, event_id: str, listener: str, event: Event, behind: str, now: float) -> Outgoing:
    kind = event["type"].partition(".")[0]
    lane = kind if kind == "email" else f"{kind} {listener}"  # all mail leaves by the one submission server
    if kind == "email" and isinstance(event["message"], bytes):
        event = {**event, "message": with_message_id(event["message"], id_)}
    kept = {key: value for key, value in event.items() if key != "wait"}  # it is committed, and leaves when it can
    content = codec.encode({"listener": listener}, [kept])
    to = recipient_of(event)
    return Outgoing(id_, event_id, kind, content, lane=lane, behind=behind, recipient=to, since=now)


def part_of(item: Outgoing, changed: Event) -> Outgoing:
    """``item`` with other keys in its event: fewer recipients."""
    scope, events = codec.decode(item.content)
    event = {**events[0], **changed}
    return replace(item, content=codec.encode(scope, [event]), recipient=recipient_of(event))


def recipient_of(event: Event) -> str:
    """To whom ``event`` goes, for the operator."""
    whom = event.get("rcpt_to") or event.get("to") or event.get("topic") or ""
    return (whom if isinstance(whom, str) else ", ".join(map(str, whom)))[:LONGEST_RECIPIENT]
