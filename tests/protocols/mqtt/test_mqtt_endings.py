"""Connections that the server ends: a client that goes on sending reads why, and holds nobody up."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import mqtt5_wire as wire
import mqtt_peer
import pytest
from mqtt_peer import LIMIT, Kept, Recorder, connected, dial, serving
from servers import certificates
from waiting import until

from protocols.errors import NotSent
from protocols.mqtt import MQTTServer
from protocols.mqtt.broker.journal import Changes
from protocols.mqtt.connection import endings

End = Callable[[MQTTServer], Awaitable[Any]]


@pytest.fixture
def app() -> Recorder:
    return Recorder()


@contextlib.asynccontextmanager
async def raw(server: MQTTServer, connect: bytes) -> AsyncIterator[socket.socket]:
    """A socket that nothing reads, or closes, by itself; the client is accepted."""
    loop, (host, _, port) = asyncio.get_running_loop(), server.address.rpartition(":")
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, connect)
        assert (await loop.sock_recv(client, 1000))[0] == 0x20
        yield client


async def go_on_sending(client: socket.socket, version: int = 5) -> None:
    """Say something ten times more after the server has ended the connection. Raises OSError if that is reset."""
    loop = asyncio.get_running_loop()
    said = wire.publish("a", bytes(1000), version=version)
    for _ in range(10):
        await loop.sock_sendall(client, said)
        await asyncio.sleep(0.01)  # for a reset to arrive


async def rest(client: socket.socket) -> bytes:
    """Everything to the end of the connection."""
    loop, found = asyncio.get_running_loop(), b""
    async with asyncio.timeout(LIMIT):
        while data := await loop.sock_recv(client, 65536):
            found += data
    return found


def the_client(server: MQTTServer) -> Any:
    (client,) = server._clients
    return client


async def take_over(server: MQTTServer) -> None:
    peer = await dial(server)
    await peer.say(wire.connect("ann"))
    assert wire.read(await peer.hear()).code == 0
    peer.hang_up()


async def remove(server: MQTTServer) -> None:
    the_client(server).remove(with_will=True)


async def reconnect(server: MQTTServer) -> None:
    the_client(server).reconnect(LIMIT)


async def overflow(server: MQTTServer) -> None:
    the_client(server)._overflow()


ENDS = [(take_over, 0x8E), (remove, 0x98), (reconnect, 0x98), (overflow, 0x97)]


@pytest.mark.parametrize(("end", "code"), ENDS, ids=lambda each: getattr(each, "__name__", None))
async def test_a_client_that_goes_on_sending_reads_why(app: Recorder, end: End, code: int) -> None:
    async with serving(app) as server, raw(server, wire.connect("ann")) as client:
        await end(server)
        await until(lambda: len(server.endings))
        await go_on_sending(client)
        assert await rest(client) == bytes((0xE0, 1, code))
        client.close()
        await until(lambda: not len(server.endings))


async def test_so_it_does_where_it_has_broken_the_rules(app: Recorder) -> None:
    async with serving(app) as server, raw(server, wire.connect("ann")) as client:
        await asyncio.get_running_loop().sock_sendall(client, b"\0\0")
        await until(lambda: len(server.endings))
        await go_on_sending(client)
        assert await rest(client) == b"\xe0\1\x82"


@pytest.mark.parametrize("version", [4, 5])
async def test_so_it_does_where_the_server_stops(version: int) -> None:
    """Its last message is acknowledged, what it says after that is not."""
    go, app = asyncio.Event(), Recorder()
    message = wire.publish("a", b"1", 1, 7, version)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def receive_late() -> Any:
            event = await receive()
            if event["type"] == "mqtt.receive":
                await go.wait()
            return event

        await app(scope, receive_late, send)

    async with serving(slow) as server, raw(server, wire.connect("ann", version)) as client:
        await asyncio.get_running_loop().sock_sendall(client, message)
        await until(lambda: the_client(server)._unacked)
        stopping = asyncio.ensure_future(server.stop(LIMIT))
        await until(lambda: server.status.state == "draining")
        await go_on_sending(client, version)
        go.set()
        await until(lambda: len(server.endings))
        await go_on_sending(client, version)
        assert await rest(client) == b"\x40\x02\0\7" + (b"\xe0\1\x8b" if version == 5 else b"")
        client.close()
        await stopping
    assert len(await app.seen("mqtt.receive")) == 1


@pytest.mark.parametrize(("client_id", "code"), [("ann", 0x87), ("a" * 300, 0x85)])
async def test_so_it_does_where_it_is_refused(client_id: str, code: int) -> None:
    """By the application, and by the server before that."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.reject", "reason_code": 0x87})

    async with serving(app) as server:
        loop, (host, _, port) = asyncio.get_running_loop(), server.address.rpartition(":")
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, (host, int(port)))
            await loop.sock_sendall(client, wire.connect(client_id))
            await until(lambda: len(server.endings))
            await go_on_sending(client)
            assert wire.read(await rest(client)).code == code


async def test_under_tls_the_client_closes_when_it_reads_why(app: Recorder, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    async with serving(app, tls=pair) as server:
        context = ssl.create_default_context(cafile=pair.certificate)
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
        peer = mqtt_peer.Peer(reader, writer)
        async with peer:
            await peer.say(wire.connect("ann"))
            assert wire.read(await peer.hear()).code == 0
            await remove(server)
            for _ in range(10):
                writer.write(wire.publish("a", bytes(1000)))
                await writer.drain()
                await asyncio.sleep(0.01)
            assert wire.read(await peer.hear()).code == 0x98
            assert len(server.endings) == 1
        await until(lambda: not len(server.endings))


async def test_nobody_waits_for_a_client_that_does_not_close(app: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "LINGER", LIMIT)
    async with serving(app) as server, raw(server, wire.connect("ann")) as client:
        async with await dial(server) as second, await dial(server) as third:
            for peer in (second, third):
                await peer.say(wire.connect("ann"))
                assert wire.read(await peer.hear()).code == 0
            assert wire.read(await second.hear()).code == 0x8E
            assert server.active() == {"mqtt": 1}
            assert server._connections() == 1 + len(server.endings)
        client.close()


async def test_who_does_not_close_is_closed_after_a_while(app: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "LINGER", 0.05)
    async with serving(app) as server, raw(server, wire.connect("ann")) as client:
        await remove(server)
        assert len(server.endings) == 1
        await until(lambda: not len(server.endings))
        with pytest.raises(ConnectionError):
            await go_on_sending(client)


async def test_who_sends_too_much_is_closed_at_once(app: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "LINGER", 60.0)
    monkeypatch.setattr(endings, "DROPPED", 5000)
    async with serving(app) as server, raw(server, wire.connect("ann")) as client:
        await remove(server)
        with pytest.raises(ConnectionError):
            await go_on_sending(client)
        await until(lambda: not len(server.endings))


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_stop_ends_who_does_not_close(
    app: Recorder, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    for name in ("LINGER", "HAND_OVER"):
        monkeypatch.setattr(f"protocols.mqtt.server.{name}", 60.0)
    monkeypatch.setattr(f"protocols.mqtt.server.{'HAND_OVER' if is_replaced else 'LINGER'}", 0.05)
    monkeypatch.setattr(endings, "LINGER", 60.0)
    async with serving(app) as server, raw(server, wire.connect("ann")) as client:
        if is_replaced:
            await server.retire()
        await server.stop(LIMIT)
        assert not len(server.endings)
        with pytest.raises(ConnectionError):
            await go_on_sending(client)


async def test_nothing_follows_our_last_words(app: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """An acknowledgement that waits for the disk comes too late (3.14.4)."""

    class Slow(Kept):
        disk = asyncio.Event()

        async def commit(self, changes: Changes) -> None:
            await self.disk.wait()
            await super().commit(changes)

    async with serving(app, Slow()) as server, raw(server, wire.connect("ann")) as client:
        message = wire.publish("a", b"1", 1, 7, retain=True)
        await asyncio.get_running_loop().sock_sendall(client, message)
        await app.seen("mqtt.receive")
        await until(lambda: not the_client(server)._unacked)
        await remove(server)
        Slow.disk.set()
        await server.kept()
        await go_on_sending(client)
        assert await rest(client) == b"\xe0\1\x98"
    assert not [each for each in caplog.records if each.name == "asyncio"]


async def test_a_client_that_says_goodbye_is_closed_at_once(app: Recorder) -> None:
    async with serving(app) as server, connected(server) as peer:
        await peer.say(mqtt_peer.DISCONNECT)
        assert await peer.hear() == b""
        await app.seen("mqtt.disconnect")
        assert not len(server.endings)


async def test_a_client_that_has_gone_already_is_no_error(app: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """A client of 3.1.1 is not told anything, so that no write fails first."""
    async with serving(app) as server, raw(server, wire.connect("ann", 4)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # the event loop has not seen the reset yet
        await remove(server)
        await app.seen("mqtt.disconnect")
        await until(lambda: not server._connections())
    assert not [each for each in caplog.records if each.name == "asyncio"]


async def test_a_publication_that_is_not_kept_is_not_sent_when_the_server_ends(app: Recorder) -> None:
    """As in a process that others have taken for dead: its place in the store is another one's. What waits for the
    commit would wait for ever, and hold up what it publishes for."""

    class Given(Kept):
        """To another process."""

        tried = 0

        async def commit(self, changes: Changes) -> None:
            self.tried += 1
            raise OSError("was given to another gateway")

    kept = Given()
    async with serving(app, kept) as server:
        message = {"type": "mqtt.send", "topic": "t", "payload": b"21.5", "qos": 1, "retain": True}
        publishing = asyncio.create_task(server.publish(message))
        await until(lambda: is_positive(kept.tried))
        assert not publishing.done()
        await server.stop(0.0)
        with pytest.raises(NotSent, match="ended before it was kept"):
            async with asyncio.timeout(LIMIT):
                await publishing


async def is_positive(number: int) -> bool:
    return number > 0
