"""Connections before they are the server's: bounds, handshakes, PROXY headers."""

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from servers.certificates import make
from waiting import until

from protocols.net.listener import Listener
from protocols.net.tls import TLS

LIMIT = 10.0
HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
OTHER = b"PROXY TCP4 192.0.2.2 198.51.100.7 56324 443\r\n"


class Teller(asyncio.Protocol):
    """Says whom it thinks it talks to, and then everything that it hears."""

    open: set["Teller"] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.open.add(self)
        client, server = (transport.get_extra_info(name) for name in ("peername", "sockname"))
        self.transport.write((f"{client[0]} {server[0]}\n" if client else "nobody\n").encode())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.open.discard(self)


@contextlib.asynccontextmanager
async def serving(limit: int = 10, bind: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[Listener]:
    Teller.open = set()
    listener = Listener(bind, **options)
    await listener.start(Teller, count=lambda: len(Teller.open), limit=limit, refusal=b"later\n")
    try:
        async with asyncio.timeout(3 * LIMIT):
            yield listener
    finally:
        listener.stop()
        for each in list(Teller.open):
            each.transport.abort()
        await until(lambda: not Teller.open)


@contextlib.asynccontextmanager
async def dialled(listener: Listener, *said: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = listener.address.rpartition(":")
    if host == "unix":
        reader, writer = await asyncio.open_unix_connection(port)
    else:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        for piece in said:
            writer.write(piece)
            await asyncio.sleep(0)
        yield reader, writer
    finally:
        writer.close()


async def line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty where the connection is over, by a reset too."""
    async with asyncio.timeout(LIMIT):
        try:
            return await reader.readline()
        except ConnectionResetError:
            return b""


def trusting(tls: TLS) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls.certificate)


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return make(tmp_path)


async def test_handshakes_count_and_have_a_timeout(tls: TLS, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "protocols.net.acceptor")
    tls = TLS(tls.certificate, tls.key, handshake_timeout=0.3)
    async with serving(2, tls=tls) as listener, dialled(listener) as first, dialled(listener) as second:
        async with dialled(listener) as third:
            assert await line(third[0]) == b""
        assert "the limit of 2 connections" in caplog.text
        assert await line(first[0]) == b""  # it said nothing in its handshake
        assert await line(second[0]) == b""
        await greeted(listener, tls)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("said", [b"GET /secret HTTP/1.1\r\n\r\n", b"EHLO secret\r\n", b"\x10\x0c\0\4MQTTsecret"])
async def test_who_does_not_speak_tls(said: bytes, tls: TLS, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "protocols.net.acceptor")
    async with serving(tls=tls) as listener, dialled(listener, said) as peer:
        assert await line(peer[0]) == b""
        await until(lambda: bool(caplog.records))
        assert caplog.messages == [f"{listener.address}: closed a connection from 127.0.0.1: it does not speak TLS"]


async def greeted(listener: Listener, tls: TLS) -> None:
    """A connection comes through, if not the first: the places of those that were closed are free a moment later."""
    port = int(listener.address.rpartition(":")[2])
    async with asyncio.timeout(LIMIT):
        while True:
            with contextlib.suppress(ConnectionResetError):
                options: dict[str, Any] = {"ssl": trusting(tls), "server_hostname": "localhost"}
                reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
                break
            await asyncio.sleep(0.01)
        assert await line(reader) == b"127.0.0.1 127.0.0.1\n"
        writer.close()


async def test_a_connection_in_its_handshake_ends_when_the_listener_stops(tls: TLS) -> None:
    async with (
        serving(tls=tls, proxies=["127.0.0.1"]) as listener,
        dialled(listener) as early,
        dialled(listener, HEADER) as late,
    ):
        await asyncio.sleep(0.05)
        listener.stop()
        assert await line(early[0]) == b""
        assert await line(late[0]) == b""


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
async def test_one_connection_more_than_an_address_may(bind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(bind=bind, max_per_address=1) as listener:
        async with dialled(listener) as first:
            assert await line(first[0]) != b"later\n"
            for _ in range(3):
                async with dialled(listener) as other:
                    assert await line(other[0]) == b"later\n"
                    assert await line(other[0]) == b""
        [warning] = caplog.messages
        assert "as many connections as one address may" in warning
        await until(lambda: not Teller.open)
        async with dialled(listener) as first:
            assert await line(first[0]) != b"later\n"


@pytest.mark.parametrize("secure", [False, True])
async def test_the_address_that_counts_is_the_one_in_the_header(tls: TLS, *, secure: bool) -> None:
    options: dict[str, Any] = {"tls": tls} if secure else {}
    async with (
        serving(max_per_address=1, proxies=["127.0.0.0/8"], **options) as listener,
        told(listener, HEADER, tls if secure else None) as first,
    ):
        assert await line(first) == b"192.0.2.1 198.51.100.7\n"
        async with told(listener, OTHER, tls if secure else None) as second, dialled(listener, HEADER) as third:
            assert await line(second) == b"192.0.2.2 198.51.100.7\n"
            assert await line(third[0]) == (b"" if secure else b"later\n")


@contextlib.asynccontextmanager
async def told(listener: Listener, header: bytes, tls: TLS | None) -> AsyncIterator[asyncio.StreamReader]:
    """A client behind a proxy, in TLS where ``tls``."""
    if tls is None:
        async with dialled(listener, header) as (reader, _):
            yield reader
        return
    port = int(listener.address.rpartition(":")[2])
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.settimeout(0)
    await loop.sock_connect(raw, ("127.0.0.1", port))
    await loop.sock_sendall(raw, header)
    reader, writer = await asyncio.open_connection(sock=raw, ssl=trusting(tls), server_hostname="localhost")
    try:
        yield reader
    finally:
        writer.close()


async def test_a_header_in_pieces_and_what_comes_with_it(tls: TLS) -> None:
    async with serving(proxies=["127.0.0.1"]) as listener:
        pieces = [HEADER[at : at + 3] for at in range(0, len(HEADER), 3)]
        async with dialled(listener, *pieces[:-1], pieces[-1] + b"hello\n") as (reader, writer):
            assert await line(reader) == b"192.0.2.1 198.51.100.7\n"
            assert await line(reader) == b"hello\n"
            writer.write(b"again\n")
            assert await line(reader) == b"again\n"


async def test_the_proxys_own_connection_and_those_of_others() -> None:
    async with serving(proxies=["127.0.0.1"]) as listener, dialled(listener, b"PROXY UNKNOWN\r\n") as (reader, _):
        assert await line(reader) == b"127.0.0.1 127.0.0.1\n"
    async with serving(proxies=["192.0.2.0/24"]) as listener, dialled(listener, HEADER) as (reader, _):
        assert await line(reader) == b"127.0.0.1 127.0.0.1\n"
        assert await line(reader) == HEADER


async def test_a_proxy_on_a_unix_socket(tmp_path: Path) -> None:
    async with (
        serving(bind=f"unix:{tmp_path}/g", proxies=["unix"]) as listener,
        dialled(listener, HEADER) as (reader, _),
    ):
        assert await line(reader) == b"192.0.2.1 198.51.100.7\n"
    async with (
        serving(bind=f"unix:{tmp_path}/g", max_per_address=1) as listener,
        dialled(listener) as first,
        dialled(listener) as second,
    ):
        assert await line(first[0]) == await line(second[0]) == b"nobody\n"


async def test_what_is_no_header_is_closed_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protocols.net.acceptor.HEADER_TIMEOUT", 0.1)
    async with serving(proxies=["127.0.0.1"]) as listener:
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"):
            async with dialled(listener, said) as (reader, _):
                assert await line(reader) == b""
        assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
            "closed a connection from the proxy 127.0.0.1: it sent no PROXY header"
        ]
        for said in (b"", b"PROXY TCP4 "):
            async with dialled(listener, said) as (reader, _):
                assert await line(reader) == b""
        async with dialled(listener, HEADER) as (reader, _):
            assert await line(reader) == b"192.0.2.1 198.51.100.7\n"
    assert len(caplog.records) == 1


async def test_a_listener_without_descriptors_pauses_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protocols.net.listener._PAUSE", 0.05)
    async with serving(proxies=["192.0.2.1"]) as listener:
        host, _, port = listener.address.rpartition(":")
        with socket.create_connection((host, int(port))) as waiting:  # in the backlog: the loop has not run since
            with no_descriptors():
                await until(lambda: "Too many open files" in caplog.text)
            waiting.settimeout(0)
            async with asyncio.timeout(LIMIT):
                assert await asyncio.get_running_loop().sock_recv(waiting, 100) == b"127.0.0.1 127.0.0.1\n"
    assert len(caplog.records) == 1


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Every descriptor that this process may have is taken."""
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, was)
