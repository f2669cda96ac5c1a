"""Connections of servers that listen, and of the console: how many, who is refused, TLS handshakes, bytes, logins."""

from collections.abc import AsyncIterator, Iterator

from gateway.metrics.family import Sample, counter, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway
from protocols.net.listener import Listener
from protocols.server import Server

OPEN = gauge("gateway_connections", "Connections that are open, with those in their TLS handshake.", "server")
ACCEPTED = counter(
    "gateway_connections_accepted_total", "Connections that reached the server, after their TLS handshake.", "server"
)
REFUSED = counter(
    "gateway_connections_refused_total",
    "Connections that were closed at once: limit, address_limit, address_rate, proxy_header.",
    "server",
    "reason",
)
PAUSES = counter(
    "gateway_accept_pauses_total",
    "How often a listener stopped accepting because the process ran short of file descriptors.",
    "server",
)
PAUSED = gauge("gateway_accept_paused", "1 while a listener accepts nothing for that reason.", "server", joined="max")
HANDSHAKES = counter(
    "gateway_tls_handshakes_total",
    "TLS handshakes by their end: completed, failed, not_tls, timeout, left.",
    "server",
    "result",
)
RECEIVED = counter("gateway_received_bytes_total", "Bytes from clients, without TLS and TCP.", "server")
SENT = counter("gateway_sent_bytes_total", "Bytes to clients, without TLS and TCP.", "server")
LOGINS = counter(
    "gateway_logins_total",
    "Logins with a password by their outcome: right, wrong, busy, unavailable.",
    "server",
    "outcome",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    for server in gateway.listening:
        for sample in _of(server):
            yield sample


def _of(server: Server) -> Iterator[Sample]:
    name = server.name
    if server.listener is not None:
        yield from _connections(name, server.listener)
    if server.listener is not None and server.certificate() is not None:
        for result, number in server.listener.counters.handshakes.items():
            yield HANDSHAKES.sample(number, name, result)
    if server.traffic is not None:
        yield RECEIVED.sample(server.traffic.bytes_received, name)
        yield SENT.sample(server.traffic.bytes_sent, name)
    for outcome, number in (server.login_outcomes or {}).items():
        yield LOGINS.sample(number, name, outcome)


def _connections(name: str, listener: Listener) -> Iterator[Sample]:
    counted = listener.counters
    yield OPEN.sample(listener.connections, name)
    yield ACCEPTED.sample(counted.accepted, name)
    yield PAUSES.sample(counted.pauses, name)
    yield PAUSED.sample(float(listener.paused), name)
    for reason, number in counted.refused.items():
        yield REFUSED.sample(number, name, reason)


READER = Reader("connections", (OPEN, ACCEPTED, REFUSED, PAUSES, PAUSED, HANDSHAKES, RECEIVED, SENT, LOGINS), read)
