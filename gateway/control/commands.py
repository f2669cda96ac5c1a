"""What a daemon does when it is asked by its control socket. Each row of the table is one ``do``."""

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any

from gateway.arrivals import Arrival, arrivals
from gateway.arrivals.watch import size_of
from gateway.control.backlog import Backlog
from gateway.control.recent import Recent
from gateway.control.server import BadRequest, Command, Request
from gateway.delivery.kind import delivery_kind
from gateway.delivery.service import deliveries
from gateway.recording.entry import CONTENT, Entry
from gateway.scope_kinds import scope_kinds

UNREAD_ARRIVALS = 1000
"""Arrivals that a client of ``tail`` may be behind before it misses some."""
UNREAD_CONTENT = 16 * 1024 * 1024
"""Bytes of content that a client of ``record`` may be behind."""
_ENTRY = 2048
"""Bytes that an entry takes beside its content."""

Answers = AsyncGenerator[Mapping[str, Any], None]
Facts = Mapping[str, Any]


def commands(recent: Recent) -> Mapping[str, Command]:
    """Return the table of a daemon that remembers its ``recent`` arrivals."""
    return {"record": record, "ring": ring, "tail": partial(tail, recent)}


async def ring(request: Request) -> Answers:
    """Send what another process has put into the store now, and not at the next look."""
    try:
        deliveries.get().outgoing.notify()
    except LookupError as error:
        raise BadRequest("this gateway has no store") from error
    yield {"rung": True}


async def tail(recent: Recent, request: Request) -> Answers:
    """Tell the ``last`` arrivals, then that it is ``listening``, and with ``follow`` those that come; those alone that
    have the ``type`` and whose ``route`` or target contains the text."""
    last, scope_type = request.get("last", 0), request.get("type")
    if not isinstance(last, int):
        raise BadRequest("last: write a number")
    if scope_type and str(scope_type) not in (kinds := scope_kinds()):
        raise BadRequest(f"there is no scope type {scope_type!r}; there are {', '.join(sorted(kinds))}")
    backlog = Backlog[Facts](UNREAD_ARRIVALS)

    def keep(arrival: Arrival) -> None:
        if not _fits(arrival.type, arrival.route, arrival.target, request):
            return
        if backlog.room:
            backlog.put(arrival.facts())
        else:  # a client that does not read costs as little as can be
            backlog.miss()

    stop = arrivals.get().listen(keep)
    try:
        fitting = [each for each in recent if _fits(each["type"], each["route"], each["target"], request)]
        for facts in fitting[-last:] if last > 0 else ():
            yield {"arrival": facts}
        yield {"listening": True, "remembers": recent.remembers}
        while request.get("follow"):
            missed, items = await backlog.take()
            for facts in items:
                yield {"arrival": facts}
            if missed:
                yield {"missed": missed}
    finally:
        stop()


async def record(request: Request) -> Answers:
    """Tell each arrival with its scope and content. Its client leaves secrets out: that takes too long to do here."""
    backlog = Backlog[Arrival](UNREAD_CONTENT)
    stop = arrivals.get().listen(lambda arrival: _keep(backlog, arrival), content=True)
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


def _fits(scope_type: str, route: str, target: str, request: Request) -> bool:
    """Return whether the request asks for this arrival."""
    wanted, text = request.get("type"), request.get("route")
    if wanted and scope_type != wanted:
        return False
    return not text or str(text).casefold() in f"{route} -> {target}".casefold()
