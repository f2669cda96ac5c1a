"""Converts between rows and values, for every engine: text that a database accepts, checksums, and damaged rows."""

import logging
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.store.priority import due_or_rank, time_of
from gateway.store.states import BUSY, FREE
from gateway.store.values import Claim, ClaimState, Message, Outgoing

logger = logging.getLogger(__name__)

MESSAGE = "id, type, route, key, subject, received, content, checksum, attempts, due, error"
OUTGOING = "id, message, kind, lane, behind, content, checksum, attempts, due, error, recipient, since"

DAMAGED = "damaged: what is stored is not what was put there (checksum)"


def text(value: str) -> str:
    """``value`` in a form that every database can keep: lone surrogates (undecodable bytes of a peer) and NUL are
    escaped."""
    if "\0" in value:
        value = value.replace("\0", "\\x00")
    return value if value.isascii() else value.encode(errors="backslashreplace").decode()


def checksum(content: bytes, *fields: object) -> int:
    """CRC-32 over the content and the fields of its row that never change. It finds every single flipped bit."""
    return zlib.crc32(content, zlib.crc32("\0".join(map(str, fields)).encode()))


def message_values(message: Message) -> tuple[Any, ...]:
    """The values of the columns id, type, route, key, subject, received, content, checksum, attempts, due."""
    fields = (
        *map(text, (message.id, message.type, message.route, message.key, message.subject)),
        float(message.received),
    )
    total = checksum(message.content, *fields)
    return (*fields, message.content, total, message.attempts, due_or_rank(message.due, message.priority))


def message_of(row: tuple[Any, ...]) -> tuple[Message, bool]:
    """A row of the columns ``MESSAGE``, and whether it is as it was put."""
    *names, received, content, total, attempts, due, error = row
    received = as_float(received)  # SQLite returns 5.0 as 5 out of an UPDATE
    sound = isinstance(content, bytes) and checksum(content, *names, received) == total
    id_, type_, route, key, subject = map(as_str, names)
    return (
        Message(
            id=id_, type=type_, route=route, key=key, subject=subject, received=received,
            content=_bytes(content), attempts=as_int(attempts), due=time_of(as_float(due)),
            error=as_str(error) if sound or DAMAGED in as_str(error) else f"{as_str(error)}\n{DAMAGED}".lstrip(),
        ),
        sound,
    )  # fmt: skip


_LEARNT = {BUSY: ClaimState.BUSY, FREE: ClaimState.OURS}


def claim_of(row: tuple[Any, ...]) -> Claim | None:
    """A row of key, id, received, result, checksum, state, attempts, as the caller of ``claim`` gets it: a free claim
    is the caller's. None if it is damaged."""
    key, id_, received, result, total, state, attempts = row
    if not isinstance(result, bytes) or checksum(result, key, id_, received) != total:
        logger.error("%s: a claim is %s; it counts as a new message", id_, DAMAGED)
        return None
    learnt = _LEARNT.get(state, ClaimState.DONE)
    return Claim(id_, learnt, attempts + (learnt is ClaimState.OURS), received, result, key=key)


def sound_records(space: str, rows: Iterable[tuple[str, Any, int]]) -> Iterator[tuple[str, bytes]]:
    """Yield the keys and values of a namespace, from rows of key, value and checksum. Damaged rows are left out, and
    logged."""
    damaged = 0
    for key, value, total in rows:
        if isinstance(value, bytes) and checksum(value, space, key) == total:
            yield key, value
        else:
            damaged += 1
    if damaged:
        logger.error("store: %d records of %s are damaged and left out", damaged, space)


def outgoing_values(item: Outgoing) -> tuple[Any, ...]:
    """The values of the columns ``OUTGOING``."""
    fields = tuple(map(text, (item.id, item.message, item.kind, item.lane, item.behind)))
    total = outgoing_checksum(item.content, *fields)
    later = (item.attempts, max(0.0, item.due), text(item.error), text(item.recipient), max(0.0, item.since))
    return (*fields, item.content, total, *later)


def outgoing_of(row: tuple[Any, ...]) -> tuple[Outgoing, bool]:
    """A row of the columns ``OUTGOING``, and whether it is as it was put."""
    *fields, content, total, attempts, due, error, recipient, since = row
    sound = isinstance(content, bytes) and outgoing_checksum(content, *fields) == total
    id_, message, kind, lane, behind = map(as_str, fields)
    item = Outgoing(
        id=id_, message=message, kind=kind, content=_bytes(content), attempts=as_int(attempts), due=as_float(due),
        error=as_str(error), lane=lane, behind=behind, recipient=as_str(recipient), since=as_float(since),
    )  # fmt: skip
    return item, sound


def outgoing_checksum(content: bytes, id_: object, message: object, kind: object, *later: object) -> int:
    """Rows of the first version have nothing in the ``later`` columns, and a checksum without them."""
    return checksum(content, id_, message, kind, *filter(None, later))


# A flipped bit may change even the type of a column.


def as_str(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else as_str(value).encode()


def as_int(value: object) -> int:
    return value if isinstance(value, int) else 0


def as_float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
