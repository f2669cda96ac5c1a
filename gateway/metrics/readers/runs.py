"""Every run of an application: a request, a connection, a message."""

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain

from gateway.counts import BOUNDS, Durations, Messages, ServerCounts, run_counts
from gateway.histogram import Histogram
from gateway.metrics.family import Distribution, Sample, counter, gauge, histogram
from gateway.metrics.reader import Reader
from gateway.routing import Router
from gateway.routing.table import labels_of
from gateway.runtime.build import Gateway
from gateway.scope_kinds import scope_kinds
from protocols.checkpoint import checkpoint
from protocols.server import Server

_LABELS = ("server", "type", "route")
RUNS = counter(
    "gateway_runs_total",
    "Runs of an application that have ended (a request, a connection, a mail, a text), by what has come of them.",
    *(*_LABELS, "verdict"),
)
DURATION = histogram(
    "gateway_run_duration_seconds",
    "How long those runs took that are no connections, from the scope to the end of the application.",
    *_LABELS,
    bounds=BOUNDS,
)
IN_FLIGHT = gauge(
    "gateway_in_flight",
    "Requests, connections and messages that a server works on now.",
    *("server", "type"),
)
EVENTS = counter(
    "gateway_connection_events_total",
    "Events that applications have received on connections: the beginning, each message, and the end.",
    *("server", "type"),
)
MESSAGES = counter(
    "gateway_routed_messages_total",
    "Messages on connections that a router has given to the application of a route of its own.",
    *_LABELS,
)
ANSWERS = counter(
    "gateway_routed_message_answers_total",
    "Acknowledgements of those messages, by what they say. A message at QoS 0 has none.",
    *(*_LABELS, "verdict"),
)
MESSAGE_DURATION = histogram(
    "gateway_routed_message_duration_seconds",
    "How long messages took from the moment the application received them to its acknowledgement. In a burst one in "
    "16 is timed.",
    *_LABELS,
    bounds=BOUNDS,
)
REFUSALS = counter(
    "gateway_refusals_total",
    "Requests, commands of a mail session, and devices that a server refused before any application got them, by the "
    "answer to the peer: a status of HTTP, the name of an error of HTTP/2, a reply code of SMTP, a reason code of "
    "MQTT.",
    *("server", "reason"),
)
NO_ROUTE = "none"


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    counts = gateway.services[run_counts]
    kinds = {server.name: server.scope_types for server in gateway.servers}
    for server in gateway.servers:
        for sample in chain(_in_flight(server), _refusals(server)):
            yield sample
    for name in dict.fromkeys((*kinds, *counts)):  # also those that went on with a successor
        of_server = counts.of(name)
        for sample in _of_server(gateway, name, kinds.get(name, of_server.kinds), of_server):
            yield sample
        for kind, number in (await _events(kinds.get(name, ()), of_server)).items():
            yield EVENTS.sample(number, name, kind)


def _refusals(server: Server) -> Iterator[Sample]:
    for reason, number in {**dict.fromkeys(server.refusal_reasons, 0), **server.refusals}.items():
        yield REFUSALS.sample(number, server.name, reason)


def _in_flight(server: Server) -> Iterator[Sample]:
    numbers = dict.fromkeys(server.scope_types, 0)
    for noun, number in server.active().items():
        kind = noun if noun in numbers else server.scope_types[0]  # a mail server counts by its protocol
        numbers[kind] += number
    for kind, number in numbers.items():
        yield IN_FLIGHT.sample(number, server.name, kind)


def _of_server(gateway: Gateway, name: str, kinds: Iterable[str], counts: ServerCounts) -> Iterator[Sample]:
    without_routes = "" if isinstance(gateway.app, Router) else gateway.settings.application or ""
    for kind in kinds:
        known = labels_of(gateway.app, kind)
        runs = counts.runs.found.get(kind, {})
        for label in dict.fromkeys((*known, "", *runs)):
            place = (name, kind, label or without_routes or NO_ROUTE)
            yield from _runs(kind, place, runs.get(label) or Durations())
        messages = counts.messages.found.get(kind, {})
        for label in dict.fromkeys((*_in_router(kind, known), *messages)):
            place = (name, kind, label or NO_ROUTE)
            yield from _messages(place, messages.get(label) or Messages())


def _messages(place: tuple[str, str, str], messages: Messages) -> Iterator[Sample]:
    yield MESSAGES.sample(messages.taken, *place)
    yield ANSWERS.sample(messages.accepted, *place, "accepted")
    yield ANSWERS.sample(messages.rejected, *place, "rejected")
    yield MESSAGE_DURATION.sample(_distribution(messages.durations), *place)


def _runs(kind: str, place: tuple[str, str, str], durations: Durations) -> Iterator[Sample]:
    facts = scope_kinds().get(kind)
    numbers = dict.fromkeys(facts.results if facts is not None else (), 0)
    statuses = [(f"{status // 100}xx", of_status) for status, of_status in durations.statuses.items()]
    for verdict, of_result in (*statuses, *durations.words.items()):
        numbers[verdict] = numbers.get(verdict, 0) + sum(of_result.counts)
    for verdict, number in numbers.items():
        yield RUNS.sample(number, *place, verdict)
    if facts is None or not facts.is_connection:
        yield DURATION.sample(_distribution(durations.together()), *place)


def _distribution(durations: Histogram) -> Distribution:
    return Distribution(counts=list(durations.counts), sum=durations.sum)


def _in_router(kind: str, known: tuple[str, ...]) -> list[str]:
    """Return the labels of a router's routes: an application that has all of a scope type is behind none."""
    return [label for label in known if not label.startswith(f"{kind} -> ")]


async def _events(known: Iterable[str], counts: ServerCounts) -> dict[str, int]:
    """Add up the events of the runs that have ended by now, and of the runs that have not: none is counted twice, or
    missed because it ends meanwhile."""
    kinds = scope_kinds()
    numbers = {kind: 0 for kind in known if kind in kinds and kinds[kind].is_connection} | counts.events
    for number, run in enumerate(tuple(counts.open)):
        kind: str = run.scope["type"]
        numbers[kind] = numbers.get(kind, 0) + run.received
        if number % 100 == 0:
            await checkpoint()
    return numbers


READER = Reader("runs", (RUNS, DURATION, IN_FLIGHT, EVENTS, MESSAGES, ANSWERS, MESSAGE_DURATION, REFUSALS), read)
