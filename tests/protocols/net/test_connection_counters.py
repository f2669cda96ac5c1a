"""What a listener counts: each way in which a connection is taken or refused, and each end of a handshake."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from servers.certificates import make
from waiting import until

from protocols.net.connection_counters import HANDSHAKES, REFUSALS
from protocols.net.listener import Listener
from protocols.net.tls import TLS

LIMIT = 10.0
ELSEWHERE = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"


class Peer(asyncio.Protocol):
    open: set["Peer"] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.open.discard(self)


@contextlib.asynccontextmanager
async def serving(limit: int = 10, **options: Any) -> AsyncIterator[Listener]:
    Peer.open = set()
    listener = Listener("127.0.0.1:0", **options)
    await listener.start(Peer, count=lambda: len(Peer.open), limit=limit)
    try:
        async with asyncio.timeout(3 * LIMIT):
            yield listener
    finally:
        listener.stop()
        for each in list(Peer.open):
            each.transport.abort()
        await until(lambda: not Peer.open)


@contextlib.contextmanager
def dialled(listener: Listener, said: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(listener.address.rpartition(":")[2])), LIMIT) as peer:
        peer.sendall(said)
        yield peer


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return make(tmp_path)


def of(*counted: str) -> dict[str, int]:
    """Each of them once, and nothing else."""
    known = REFUSALS if counted[0] in REFUSALS else HANDSHAKES
    return {each: int(each in counted) for each in known}


async def test_all_that_is_counted_begins_at_zero() -> None:
    listener = Listener("127.0.0.1:0")
    assert listener.counters.refused == dict.fromkeys(REFUSALS, 0)
    assert listener.counters.handshakes == dict.fromkeys(HANDSHAKES, 0)
    assert (listener.counters.accepted, listener.counters.pauses, listener.connections) == (0, 0, 0)


async def test_open_connections_are_those_that_have_not_left() -> None:
    async with serving() as listener:
        with dialled(listener), dialled(listener):
            await until(lambda: listener.connections == 2)
        await until(lambda: listener.connections == 0)
        assert listener.counters.accepted == 2


@pytest.mark.parametrize("secure", [False, True])
async def test_one_more_than_the_limit(tls: TLS, *, secure: bool) -> None:
    async with serving(1, tls=tls if secure else None) as listener:
        with dialled(listener):
            await until(lambda: listener.connections == 1)
            with dialled(listener):
                await until(lambda: listener.counters.refused == of("limit"))
        assert listener.counters.accepted == int(not secure)


@pytest.mark.parametrize(
    ("options", "reason"), [({"max_per_address": 1}, "address_limit"), ({"max_rate": 1}, "address_rate")]
)
async def test_one_more_than_an_address_may(options: dict[str, Any], reason: str) -> None:
    async with serving(proxies=["127.0.0.1"], **options) as listener:
        with dialled(listener, ELSEWHERE), dialled(listener, ELSEWHERE):
            await until(lambda: listener.counters.refused == of(reason))
            assert listener.counters.accepted == 1


async def test_a_proxy_that_sends_no_header() -> None:
    async with serving(proxies=["127.0.0.1"]) as listener:
        with dialled(listener, b"EHLO proxy\r\n"):
            await until(lambda: listener.counters.refused == of("proxy_header"))


def stranger() -> ssl.SSLContext:
    return ssl.create_default_context()  # it does not trust the listener's certificate


def friend() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shake_hands(listener: Listener, context: ssl.SSLContext) -> None:
    """Not asyncio's, which sends no alert when it rejects a certificate."""
    with dialled(listener) as peer, contextlib.suppress(ssl.SSLError):
        context.wrap_socket(peer, server_hostname="localhost").close()


@pytest.mark.parametrize(("context", "end"), [(friend, "completed"), (stranger, "failed")])
async def test_the_end_of_a_handshake(tls: TLS, context: Callable[[], ssl.SSLContext], end: str) -> None:
    async with serving(tls=tls) as listener:
        await asyncio.to_thread(shake_hands, listener, context())
        await until(lambda: listener.counters.handshakes == of(end))
        assert listener.counters.accepted == int(end == "completed")


async def test_a_client_that_does_not_speak_tls(tls: TLS) -> None:
    async with serving(tls=tls) as listener:
        with dialled(listener, b"GET / HTTP/1.1\r\n\r\n"):
            await until(lambda: listener.counters.handshakes == of("not_tls"))


async def test_a_client_that_says_nothing_in_its_handshake(tls: TLS) -> None:
    async with serving(tls=TLS(tls.certificate, tls.key, handshake_timeout=0.1)) as listener:
        with dialled(listener):
            await until(lambda: listener.counters.handshakes == of("timeout"))


@pytest.mark.parametrize("linger", [None, 0], ids=["closes", "resets"])
async def test_a_client_that_leaves_within_its_handshake(tls: TLS, linger: int | None) -> None:
    async with serving(tls=tls) as listener:
        with dialled(listener) as peer:
            await until(lambda: listener.connections == 1)
            if linger is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
        await until(lambda: listener.counters.handshakes == of("left"))
