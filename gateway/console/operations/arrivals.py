"""Operations on what arrives: the last arrivals, and those that come."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from gateway.arrivals import Arrival, arrivals
from gateway.arrivals.watch import size_of
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.control.backlog import Backlog
from gateway.control.server import BadRequest
from gateway.delivery.kind import delivery_kind
from gateway.recording.entry import CONTENT, Entry
from gateway.scope_kinds import scope_kinds
from protocols.units import Between

UNREAD_ARRIVALS = 1000
"""Arrivals that a client of ``tail`` may be behind before it misses some."""
UNREAD_CONTENT = 16 * 1024 * 1024
"""Bytes of content that a client of ``record`` may be behind."""
_ENTRY = 2048
"""Bytes that an entry takes beside its content."""

Facts = Any
"""ArrivalFacts, as :meth:`Arrival.facts` returns them."""


class ArrivalFacts(TypedDict):
    """What arrived, and what became of it; without its content."""

    time: float
    """When it arrived, in seconds since 1970."""
    type: str
    """The scope type."""
    event: str
    """The type of the event that brought it, such as `mqtt.receive`; of what leaves by the outbox, such as
    `email.send`."""
    server: str
    """The name of its server; empty for what leaves."""
    id: str
    """The event id; empty if it has none."""
    who: str
    """Its sender: an address, a number, a client identifier."""
    what: str
    """To whom, or for what: `GET /orders/`, a recipient, a topic."""
    route: str
    """The pattern of the route that took it; empty if none did."""
    target: str
    """The application of that route; empty if no route took it."""
    verdict: str
    """In a word or two: `200`, `accepted`, `rejected, 550`, `stored`, `next in 30 s`."""
    seconds: float
    """From `time` to the verdict."""
    error: str
    """The error of a handler that failed, on one line; empty if none did."""
    attempt: int
    """The number of the attempt at a stored item; 0 for what arrives."""


class Told(TypedDict, total=False):
    """One of these: an arrival, or what a listener has to know."""

    arrival: ArrivalFacts
    """It has its outcome."""
    missed: int
    """So many arrivals could not be told, because the client reads too slowly."""
    listening: bool
    """True: those that were asked for by `last` have been told; those that come follow."""
    remembers: bool
    """Beside `listening`: whether the gateway remembers its last arrivals (`log: {arrivals: true}`)."""


class Recorded(TypedDict, total=False):
    """One of these: an arrival with its scope and content, or what a listener has to know."""

    entry: Mapping[str, Any]
    """The arrival under `arrival`; `scope`, `events`, and `left_out`, the names of what is not there."""
    missed: int
    """So many arrivals could not be told: they are too large, or the client reads too slowly."""
    listening: bool
    """True: from now on."""


@operation("tail", "GET", "/api/arrivals")
async def tail(
    here: Here,
    *,
    last: Annotated[int, Between(0, 1000), "How many of the last arrivals to tell first."] = 0,
    follow: Annotated[bool, "Whether to go on with those that come."] = False,
    type: Annotated[str | None, "Only this scope type."] = None,
    route: Annotated[str | None, "Only if the route or its target contains this text."] = None,
) -> AsyncGenerator[Told, None]:
    """Tell the last arrivals, and with `follow` those that come."""
    if type and type not in (kinds := scope_kinds()):
        raise BadRequest(f"there is no scope type {type!r}; there are {', '.join(sorted(kinds))}")
    wanted = _Wanted(type or "", (route or "").casefold())
    backlog = Backlog[Facts](UNREAD_ARRIVALS)

    def keep(arrival: Arrival) -> None:
        if not wanted.fits(arrival.type, arrival.route, arrival.target):
            return
        if backlog.room:
            backlog.put(arrival.facts())
        else:  # a client that does not read costs as little as can be
            backlog.miss()

    stop = here.service(arrivals).listen(keep)
    try:
        for facts in wanted.among(here.recent, last):
            yield {"arrival": facts}
        yield {"listening": True, "remembers": here.recent.remembers}
        while follow:
            missed, items = await backlog.take()
            for facts in items:
                yield {"arrival": facts}
            if missed:
                yield {"missed": missed}
    finally:
        stop()


@operation("record", "GET")
async def record(here: Here) -> AsyncGenerator[Recorded, None]:
    """Tell each arrival that comes with its scope and content, secrets too. Leaving those out takes too long to do
    here, and is left to the client."""
    backlog = Backlog[Arrival](UNREAD_CONTENT)
    stop = here.service(arrivals).listen(lambda arrival: _keep(backlog, arrival), content=True)
    try:
        yield {"listening": True}
        while True:
            missed, items = await backlog.take()
            for arrival in items:
                yield {"entry": _entry(arrival).data()}
            if missed:
                yield {"missed": missed}
    finally:
        stop()


@dataclass(frozen=True)
class _Wanted:
    """Which arrivals a client asked for."""

    type: str
    text: str
    """In lower case."""

    def fits(self, scope_type: str, route: str, target: str) -> bool:
        if self.type and scope_type != self.type:
            return False
        return not self.text or self.text in f"{route} -> {target}".casefold()

    def among(self, recent: Iterable[Facts], last: int) -> Sequence[Facts]:
        fitting = [each for each in recent if self.fits(each["type"], each["route"], each["target"])]
        return fitting[-last:] if last > 0 else ()


def _keep(backlog: Backlog[Arrival], arrival: Arrival) -> None:
    if not _is_wanted(arrival):
        return
    if arrival.events is None:  # it is too large
        backlog.miss()
    else:
        backlog.put(arrival, _ENTRY + sum(map(size_of, arrival.events)))


def _is_wanted(arrival: Arrival) -> bool:
    """Not what leaves, and not what another server carries: what that makes of it is an arrival of its own."""
    if arrival.attempt:
        return arrival.event != f"{arrival.type}.send"
    return not arrival.target.startswith("servers.") and scope_kinds()[arrival.type].records(arrival)


def _entry(arrival: Arrival) -> Entry:
    """An attempt at a stored message has no content here: the message had it when it arrived."""
    if arrival.attempt:
        return Entry(arrival.facts(), {}, ())
    is_unread = not arrival.events and delivery_kind(arrival.type) is not None
    return Entry.of(arrival.facts(), arrival.scope, arrival.events or (), [CONTENT] if is_unread else [])
