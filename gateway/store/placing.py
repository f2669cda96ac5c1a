"""Decides in which state messages are put into the table: the steps that all engines share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from gateway.store.calls import Begun, Put, PutOnce, Request
from gateway.store.rows import text
from gateway.store.states import BEHIND, RUNNING, WAITING, StoredState
from gateway.store.values import Claim, ClaimState, Message


class Claims(Protocol):
    """An engine's module of operations on claims."""

    def claim(self, db: Any, calls: Sequence[Request], /) -> list[Claim]: ...

    def hand_over(self, db: Any, claims: Iterable[Claim], /, *, begun: bool) -> None: ...


Putting = Callable[[Any, Sequence[Put]], list[list[Message]]]
"""An engine's operation ``put``."""


def put_claimed(db: Any, calls: Sequence[PutOnce], claims: Claims, put: Putting) -> list[Begun]:
    """Claim each message, and put those whose claims are ours. Return each claim, and the message if it is begun."""
    claimed = claims.claim(db, [call.request for call in calls])
    ours = [(call, claim) for call, claim in zip(calls, claimed, strict=True) if claim.state is ClaimState.OURS]
    puts = [
        Put([_under(claim, call.message)], call.request.owner, int(call.begin), call.request.now)
        for call, claim in ours
    ]
    begun = {claim.key: each for (_, claim), each in zip(ours, put(db, puts), strict=True)}
    claims.hand_over(db, [claim for _, claim in ours], begun=False)
    return [(claim, next(iter(begun.pop(claim.key, ())), None)) for claim in claimed]


def _under(claim: Claim, message: Message) -> Message:
    """The message under the id of its first delivery, which may have failed before it was put here."""
    key = claim.id if message.key == message.id else message.key
    return replace(message, id=claim.id, key=key, received=claim.received)


def states_of(call: Put, taken: set[str], room: int, stored: Callable[[str], str]) -> Iterator[StoredState]:
    """Yield the state of each message: at most ``room`` of them run. ``taken``: the keys that have a message already;
    it gets the new ones. ``stored`` converts a key to its form in the table."""
    for message in call.messages:
        if message.is_ordered:
            if (key := stored(message.key)) in taken:
                yield BEHIND
                continue
            taken.add(key)
        if room > 0 and message.due <= call.now:
            room -= 1
            yield RUNNING
        else:
            yield WAITING


def as_taken(message: Message, stored: Callable[[str], str]) -> Message:
    """The running message, as ``take`` would return it."""
    return replace(message, key=stored(message.key), subject=text(message.subject), attempts=message.attempts + 1)
