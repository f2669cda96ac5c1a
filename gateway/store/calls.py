"""The arguments of an engine's operations, as plain values. Times are by the store's clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.store.values import Claim, Message, Outgoing

IsAlive = Callable[[str], bool]
"""Whether the owner with this id is alive."""
Changes = Mapping[str, bytes | None]
"""Values by key; None removes the key."""
Settled = tuple[Claim, bytes, Sequence[Outgoing]]
"""A claim, its result, and what its handler sends."""
Begun = tuple[Claim, Message | None]
"""A claim, and its message if the message was begun."""


class NamespaceInUse(ValueError):
    """Another living process has the namespace."""


LATE = 5.0
"""Seconds for which a process that cannot send leaves to others what is due."""


@dataclass(frozen=True, slots=True)
class Take:
    """Asks for at most ``limit`` rows that are due at ``now``, for ``owner``. Rows of a key or lane in ``busy``, and
    messages of a route in ``full``, are left out. Of a lane in ``late``, only rows that have been due for ``LATE``
    seconds are taken."""

    owner: str
    limit: int
    now: float
    busy: Sequence[str]
    full: Sequence[str] = ()
    """Scope types and labels of routes, each as :func:`route_of` returns it."""
    late: Sequence[str] = ()


def route_of(type_: str, label: str) -> str:
    """Return the route with this label for this scope type, in the form that statements compare."""
    return f"{type_} {label}"


class Request(NamedTuple):
    """The arguments of ``claim``, and the owner that asks."""

    owner: str
    key: str
    id: str
    now: float
    ttl: float
    failed_as: str
    received: float


@dataclass(frozen=True, slots=True)
class Put:
    """Messages to store. ``owner`` begins at most ``begin`` of them at once."""

    messages: Sequence[Message]
    owner: str = ""
    begin: int = 0
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class PutOnce:
    """A message that is stored unless the key that ``request`` claims for it is claimed already."""

    message: Message
    request: Request
    begin: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """Messages that ``owner`` has handled, and what their handlers send."""

    ids: Sequence[str]
    owner: str
    now: float
    outgoing: Sequence[Outgoing] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """A message. ``owner`` ends its attempt without success."""

    id: str
    owner: str
    due: float
    error: str
    counted: bool
    forward: int
    """Seconds by which the machine's clock is ahead of the store's: the history has the machine's time."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that ``owner`` gives up, or that the store does not have yet."""

    message: Message
    owner: str
    error: str
    claim: Claim | None


@dataclass(frozen=True, slots=True)
class Release:
    """A claim that ``owner`` leaves to the next delivery."""

    key: str
    owner: str
    error: str
    counted: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A line for the history of an event."""

    event: str
    what: str
    expires: float
    """When a history that begins with it may be forgotten, by the store's clock."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt to send an item that failed, in full or in part."""

    id: str
    error: str
    left: Outgoing | None = None
    """The rest of it, if a part was sent."""
    refused: Outgoing | None = None
    """The part that was refused for good, if another part may be sent; its ``error`` says why."""
    due: float = 0.0
    rests: bool = False
    """The lane waits until ``due``, not the item: when the account works again, all items are sent at once."""
    uncounted: bool = False
    """The item did not cause the failure, or was not tried: the attempt is not counted."""
    asked: float = 0.0
    """When it was tried: the item that was not tried for the longest time is next."""
    answered: bool = False
    """The other side refuses this item alone: the account works."""
    forward: int = 0
    """Seconds by which the machine's clock is ahead of the store's: the history has the machine's time."""
    owner: str = ""
    """The id of the owner that tried it; empty for any owner."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A name that ``owner`` asks for."""

    name: str
    owner: str
    is_alive: IsAlive


@dataclass(frozen=True, slots=True)
class Save:
    """Changes in a namespace, which ``owner`` makes."""

    namespace: str
    owner: str
    changes: Changes
    held: str = ""
    """The id that the owner had when it last loaded or changed the namespace. Empty: it has not loaded it."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Replace the note ``before``, if the key has it at ``now``. None stands for a missing note."""

    key: str
    before: bytes | None
    value: bytes | None
    expires: float
    now: float


@dataclass(frozen=True, slots=True)
class Page:
    """Asks for at most ``limit`` entries of a list, after the entry with the id ``after``. A filter that is None
    accepts every entry."""

    limit: int
    after: str
    type: str | None = None
    route: str | None = None
    message: str | None = None
    dead: bool | None = None
