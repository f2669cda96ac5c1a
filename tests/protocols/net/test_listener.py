"""Listening sockets of every kind."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from servers.certificates import make

from protocols.errors import BindError
from protocols.net.listener import TLS, Listener

LIMIT = 5.0


class Greeter(asyncio.Protocol):
    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        type(self).open += 1
        transport.write(b"hello")

    def connection_lost(self, error: Exception | None) -> None:
        type(self).open -= 1


async def serve(listener: Listener, limit: int = 10) -> None:
    Greeter.open = 0
    await listener.start(Greeter, count=lambda: Greeter.open, limit=limit, refusal=b"later")


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    async with asyncio.timeout(LIMIT):
        said = await reader.readexactly(5)
    writer.close()
    return said


async def test_tcp_and_the_port_that_the_system_gave() -> None:
    listener = Listener("127.0.0.1:0")
    await serve(listener)
    host, _, port = listener.address.rpartition(":")
    assert await greeting(*await asyncio.open_connection(host, int(port))) == b"hello"
    listener.stop()
    listener.stop()
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize("proxies", [(), ("127.0.0.2",)])
async def test_a_small_write_is_not_held_back(proxies: tuple[str, ...]) -> None:
    made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Looks(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            made.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    listener = Listener("127.0.0.1:0", proxies=proxies)
    await listener.start(Looks, count=lambda: 0, limit=10)
    _, writer = await asyncio.open_connection(*listener.address.split(":"))
    assert await made
    writer.close()
    listener.stop()


async def test_a_socket_that_has_passed_through_several_processes_never_blocks() -> None:
    first = Listener("127.0.0.1:0")
    await serve(first)
    listeners = [first]
    for _ in range(2):
        received = [socket.socket(fileno=each.detach()) for each in listeners[-1].copies()]  # as the channel makes them
        assert not any(os.get_blocking(each.fileno()) for each in received)
        listeners.append(Listener(first.address))
        listeners[-1].inherit(received)
        await serve(listeners[-1])
    for each in listeners:
        each.stop()


async def test_connections_that_wait_are_accepted_in_a_few_turns_of_the_loop() -> None:
    """A busy server has long turns: with one accept in each, a client waits for seconds in a queue of a hundred."""
    listener = Listener("127.0.0.1:0")
    await serve(listener, limit=1000)
    host, _, port = listener.address.rpartition(":")
    await asyncio.sleep(0)
    with contextlib.ExitStack() as clients:
        clients.callback(listener.stop)
        for _ in range(90):  # the loop does not turn meanwhile
            clients.enter_context(socket.create_connection((host, int(port))))
        for _ in range(20):
            await asyncio.sleep(0)
        assert Greeter.open == 90


async def test_a_unix_socket_replaces_a_dead_one_and_not_a_live_one(tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    listener = Listener(f"unix:{path}")
    await serve(listener)
    assert await greeting(*await asyncio.open_unix_connection(path)) == b"hello"
    with pytest.raises(BindError, match="already in use"):
        await serve(Listener(f"unix:{path}"))
    listener.stop()
    assert not path.exists()


async def test_a_unix_socket_whose_server_does_not_come_to_accept_is_not_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "g.sock")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)  # its backlog is full: the next one would wait
        async with asyncio.timeout(LIMIT):
            with pytest.raises(BindError, match="already in use"):
                await serve(Listener(f"unix:{path}"))


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not to be lost")
    with pytest.raises(BindError, match="not a socket"):
        await serve(Listener(f"unix:{path}"))
    assert path.read_text() == "not to be lost"


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Without root's rights, to whom nothing is denied."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


async def test_a_folder_where_no_socket_may_be_made() -> None:
    with nobody(), pytest.raises(BindError, match=r"^unix:/etc/g\.sock: permission denied$"):
        await serve(Listener("unix:/etc/g.sock"))


async def test_an_inherited_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        listener = Listener(f"fd:{os.dup(inherited.fileno())}")  # the listener closes its own
        await serve(listener)
        assert await greeting(*await asyncio.open_connection(*inherited.getsockname())) == b"hello"
        listener.stop()


async def test_one_connection_more_than_the_limit_is_refused_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = Listener("127.0.0.1:0")
    await serve(listener, limit=1)
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await reader.readexactly(5) == b"hello"
    for _ in range(3):
        assert await greeting(*await asyncio.open_connection(host, int(port))) == b"later"
    assert len(caplog.records) == 1
    writer.close()
    listener.stop()


async def test_a_refusal_is_not_overtaken_by_a_reset() -> None:
    """What the peer has sent before it was accepted is read."""
    listener = Listener("127.0.0.1:0")
    await serve(listener, limit=0)
    host, _, port = listener.address.rpartition(":")
    loop = asyncio.get_running_loop()
    with socket.create_connection((host, int(port))) as peer, contextlib.ExitStack() as end:
        end.callback(listener.stop)
        peer.sendall(b"a request")  # before the loop has its turn
        peer.setblocking(False)
        async with asyncio.timeout(LIMIT):
            assert [await loop.sock_recv(peer, 1024) for _ in range(2)] == [b"later", b""]


@pytest.mark.parametrize("bind", ["203.0.113.7:0", "fd:987"])
async def test_an_address_that_cannot_be_had_is_one_sentence(bind: str) -> None:
    with pytest.raises(BindError, match="no such"):
        await serve(Listener(bind))


def certificate(folder: Path) -> TLS:
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {cert} "
        "-addext subjectAltName=DNS:localhost",
        shell=True,
        check=True,
        capture_output=True,
    )
    return TLS(certificate=str(cert), key=str(key))


async def test_tls(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    listener = Listener("127.0.0.1:0", tls=tls)
    await serve(listener)
    context = ssl.create_default_context(cafile=tls.certificate)
    port = int(listener.address.rpartition(":")[2])
    streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    assert await greeting(*streams) == b"hello"
    listener.stop()


async def test_a_missing_certificate_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="No such file"):
        await serve(Listener("127.0.0.1:0", tls=TLS(certificate=str(tmp_path / "none.pem"), key="none")))


async def connect(address: str) -> bytes:
    unix = address.startswith("unix:")
    host, _, port = address.rpartition(":")
    opened = asyncio.open_unix_connection(port) if unix else asyncio.open_connection(host, int(port))
    return await greeting(*await opened)


@pytest.mark.parametrize("place", ["127.0.0.1:0", "unix:{}/g.sock"])
async def test_a_successor_has_the_sockets_and_no_connection_is_refused_in_between(place: str, tmp_path: Path) -> None:
    bind = place.format(tmp_path)
    first, second = Listener(bind), Listener(bind)
    await serve(first)
    address = first.address
    second.inherit(first.copies())
    await first.retire()
    waiting = [asyncio.ensure_future(connect(address)) for _ in range(50)]
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in waiting), "they wait in the system's queue"
    first.stop()
    await second.start(Greeter, count=lambda: 0, limit=100)
    assert second.address == address
    assert await asyncio.gather(*waiting) == [b"hello"] * 50
    assert await connect(address) == b"hello", "the first has not taken the path away"
    second.stop()
    with pytest.raises(OSError, match=r".*"):
        await connect(address)


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return make(tmp_path)


async def test_connections_under_way_reach_the_server_that_accepted_them(tls: TLS) -> None:
    """A peer that is in its handshake when the successor comes is not cut off."""
    first, second = Listener("127.0.0.1:0", tls=tls), Listener("127.0.0.1:0", tls=tls)
    await serve(first)
    host, _, port = first.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    second.inherit(first.copies())
    await second.start(Greeter, count=lambda: 0, limit=100)
    retired = asyncio.ensure_future(first.retire())
    await asyncio.sleep(0.05)
    assert not retired.done()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await writer.start_tls(context)
    async with asyncio.timeout(LIMIT):
        await retired
    assert await greeting(reader, writer) == b"hello"
    first.stop()
    second.stop()


async def test_a_listener_that_has_retired_does_not_accept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may run short of descriptors with the last connection that it has accepted."""
    monkeypatch.setattr("protocols.net.listener._PAUSE", 0.01)
    listener = Listener("127.0.0.1:0")
    await serve(listener)
    [successor] = listener.copies()
    await listener.retire()
    assert listener._acceptor is not None
    listener._acceptor.pause("few descriptors are left")
    await asyncio.sleep(0.1)
    with successor, socket.create_connection(successor.getsockname()):
        await asyncio.sleep(0.1)
        accepted, _ = successor.accept()
        accepted.close()
    listener.stop()
