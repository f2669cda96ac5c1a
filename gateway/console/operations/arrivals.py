"""Operations on what arrives: the last arrivals, and those that come."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

from gateway.arrivals import Arrival, arrivals
from gateway.arrivals.outcome import outcome
from gateway.arrivals.watch import size_of
from gateway.console import joined
from gateway.console.filters import address_test, checked_topic
from gateway.console.here import Here
from gateway.console.joined_tail import joined_tail
from gateway.console.operation import operation
from gateway.console.resources import glob
from gateway.control.backlog import Backlog
from gateway.control.recent import Recent
from gateway.control.server import BadRequest, NotFound
from gateway.delivery.kind import delivery_kind
from gateway.own_thread import operator_thread
from gateway.recording.entry import CONTENT, Entry
from gateway.scope_kinds import scope_kinds
from protocols.mqtt.wire.topics import overlap
from protocols.units import Between

UNREAD_ARRIVALS = 1000
"""Arrivals that a client of ``tail`` may be behind before it misses some."""
UNREAD_CONTENT = 16 * 1024 * 1024
"""Bytes of content that a client of ``record`` may be behind."""
_ENTRY = 2048
"""Bytes that an entry takes beside its content."""

Facts = Any
"""ArrivalFacts, as :meth:`Arrival.facts` returns them."""


@dataclass(frozen=True)
class Wanted:
    """Which arrivals a client asked for; an empty text or None lets all pass. Those for parts are in lower
    case."""

    type: str | None
    server: str | None
    route: str
    verdict: str | None
    text: str
    client: str | None
    address: Callable[[str], bool] | None
    topic: str | None

    @property
    def takes_all(self) -> bool:
        """Whether nothing is left out."""
        return not any(vars(self).values())

    def may_fit(self, scope_type: str, server: str) -> bool:
        return (not self.type or scope_type == self.type) and (not self.server or server == self.server)

    def fits(self, facts: Facts) -> bool:
        if not self.may_fit(facts["type"], facts["server"]):
            return False
        if self.route and self.route not in f"{facts['route']} -> {facts['target']}".casefold():
            return False
        if self.verdict and self.verdict != outcome(facts["verdict"], facts["error"]):
            return False
        if self.client and not glob(self.client, facts["who"]):
            return False
        if self.address is not None and not self.address(facts["address"]):
            return False
        if self.topic and not (facts["event"].startswith(_ON_TOPICS) and overlap(self.topic, facts["what"])):
            return False
        return not self.text or any(self.text in facts[name].casefold() for name in _TEXTS)


_ON_TOPICS = "mqtt."
"""How the types of events begin that have a topic."""
_TEXTS = ("id", "who", "what", "verdict", "error")
"""Facts in which ``text`` is looked for."""


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
    size: int | None
    """Bytes of what was answered, or of what arrived; null if that is not known."""
    user_agent: str
    """The client's program, as it calls itself; empty if it does not."""
    address: str
    """The address of the other side, without the port; `unix` for a Unix socket, and empty if there is no
    connection."""
    attempt: int
    """The number of the attempt at a stored item; 0 for what arrives."""


class Told(TypedDict, total=False):
    """One of these: an arrival, or what a listener has to know."""

    arrival: ArrivalFacts
    """It has its outcome."""
    number: int
    """Beside `arrival`: its number, by which the operation `arrival` finds it. Only if the gateway remembers it."""
    missed: int
    """The number of arrivals that the client does not get, because it reads too slowly or was away for too long. If it
    reads too slowly, the number has only those that fit the filter."""
    at_most: bool
    """Beside `missed`: true if it is unknown how many of them would have fit the filter or, with several workers, how
    many they are."""
    listening: bool
    """True: the arrivals that `last` asked for have been sent, and new ones follow."""
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


@operation("tail", "GET", "/api/arrivals", joined_stream=joined_tail)
async def tail(
    here: Here,
    *,
    last: Annotated[int, Between(0, 1000), "How many of the last arrivals to tell first."] = 0,
    follow: Annotated[bool, "Whether to go on with those that come."] = False,
    after: Annotated[int | None, Between(0), "Tell all that are remembered after this number first, too."] = None,
    content: Annotated[bool, "Whether to remember scopes and contents meanwhile, for the operation `arrival`."] = False,
    type: Annotated[str | None, "Only this scope type."] = None,
    server: Annotated[str | None, "Only the server of this name."] = None,
    route: Annotated[str | None, "Only if the route or its target contains this text."] = None,
    verdict: Annotated[Literal["good", "refused", "failed"] | None, "Only if it ended so."] = None,
    client: Annotated[str | None, "Only from this sender; an asterisk stands for any characters."] = None,
    address: Annotated[str | None, "Only from this address or network, or `unix`."] = None,
    topic: Annotated[str | None, "Only messages of MQTT whose topic this filter matches."] = None,
    text: Annotated[str | None, "Only if sender, recipient, id, verdict or error contains this text."] = None,
) -> AsyncGenerator[Told, None]:
    """Tell the last arrivals, and with `follow` those that come."""
    if type and type not in (kinds := scope_kinds()):
        raise BadRequest(f"there is no scope type {type!r}; there are {', '.join(sorted(kinds))}")
    wanted = Wanted(
        type,
        server,
        route=(route or "").casefold(),
        verdict=verdict,
        text=(text or "").casefold(),
        client=client,
        address=address_test(address) if address else None,
        topic=checked_topic(topic) if topic is not None else None,
    )
    recent, service = here.recent, here.service(arrivals)
    with recent.watched(service) if content else nullcontext():
        backlog = Backlog[Told](UNREAD_ARRIVALS)
        stop = service.listen(partial(_put, backlog, wanted, recent))
        try:
            for told in _remembered(recent, wanted, last, after):
                yield told
            yield {"listening": True, "remembers": recent.remembers}
            while follow:
                missed, items = await backlog.take()
                for told in items:
                    yield told
                if missed:
                    yield {"missed": missed}
        finally:
            stop()


def _put(backlog: Backlog[Told], wanted: Wanted, recent: Recent, arrival: Arrival) -> None:
    if not wanted.may_fit(arrival.type, arrival.server):
        return
    if not backlog.room and wanted.takes_all:  # a client that does not read costs as little as can be
        backlog.miss()
    elif wanted.fits(facts := arrival.facts()):
        backlog.put(_told(facts, recent.number_of(arrival)))


def _told(facts: Facts, number: int | None) -> Told:
    return {"arrival": facts} if number is None else {"arrival": facts, "number": number}


def _remembered(recent: Recent, wanted: Wanted, last: int, after: int | None) -> Iterator[Told]:
    """Yield the ``last`` ones, and all with a number above ``after``."""
    if after is not None and (missed := recent.missed(after)):
        is_exact = wanted.takes_all and recent.slot is None
        yield {"missed": missed} if is_exact else {"missed": missed, "at_most": True}
    fitting = [(number, facts) for number, facts in recent.numbered() if wanted.fits(facts)]
    begin = len(fitting) - last
    for at, (number, facts) in enumerate(fitting):
        if at >= begin or (after is not None and number > (after if recent.knows(after) else 0)):
            yield _told(facts, number)


class Whole(TypedDict):
    """One arrival with its scope and content."""

    arrival: ArrivalFacts
    """What arrived, and what became of it."""
    scope: Mapping[str, Any]
    """The scope that the application got. Bytes are `{"utf8": "text"}` or `{"base64": "..."}`, a tuple is
    `{"tuple": [...]}`."""
    events: list[Any] | None
    """The events that the application received, in the same form; null if they were too large to be remembered."""
    left_out: list[str]
    """The names of secrets in whose place there are stars."""
    traceback: str
    """Where its handler failed, without secrets; empty if it did not, or if the gateway does not wait for its end."""


@operation("arrival", "GET", "/api/arrivals/{number}", joined=joined.one)
async def arrival(here: Here, *, number: Annotated[int, Between(0), "Its number."]) -> Whole:
    """Show an arrival with its scope and content, but for secrets. The gateway remembers those that came while somebody
    listened by `tail` with `content`."""
    if (found := here.recent.content(number)) is None:
        raise NotFound(f"the content of arrival {number} is not remembered")
    return await operator_thread.run(_whole, found)


def _whole(arrival: Arrival) -> Whole:
    facts = {**arrival.facts(), "traceback": arrival.traceback}
    data = Entry.of(facts, arrival.scope or {}, arrival.events or ()).without_secrets().data()
    return {
        "traceback": data["arrival"].pop("traceback"),
        "arrival": data["arrival"],
        "scope": data["scope"],
        "events": None if arrival.events is None else data["events"],
        "left_out": data["left_out"],
    }


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
