"""The server over sockets, one raw client at a time: verdicts, acknowledgements, limits, endings."""

import asyncio
import logging
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import mqtt_peer as wire
import pytest
from mqtt_bytes import packet, string
from mqtt_peer import LIMIT, Recorder, connected, dial, serving

from protocols.errors import Disconnected, LocalProtocolError
from protocols.net.listener import TLS


@pytest.fixture
def app() -> Recorder:
    return Recorder()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("protocols.mqtt")]


async def test_connect_publish_goodbye(app: Recorder) -> None:
    async with serving(app) as server:
        async with connected(server, "dev-1", keepalive=30, will=("w", b"x")) as peer:
            await peer.ask(wire.publish("a/b", b"payload", packet_id=300), wire.puback(300))
            await peer.ask(wire.PINGREQ, wire.PINGRESP)
            assert server.active() == {"mqtt": 1}
            await peer.say(wire.DISCONNECT)
            assert await peer.hear() == b""
        await app.seen("mqtt.disconnect")
    assert [event["type"] for event in app.events] == ["mqtt.connect", "mqtt.receive", "mqtt.disconnect"]
    assert app.events[2]["clean"] is True
    scope = app.scopes[0]
    assert (scope["client_id"], scope["keepalive"], scope["clean_start"]) == ("dev-1", 30, True)
    assert scope["will"] == {"topic": "w", "payload": b"x", "qos": 1, "retain": False, "properties": {}}
    assert scope["client"][0] == "127.0.0.1"


async def test_credentials_are_in_the_connect_event_alone(app: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fields = b"".join(map(string, ("dev", "ann", b"se\xffcret")))
    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(packet(0x10, string("MQTT") + b"\x04\xc2\0\0" + fields), wire.CONNACK)
        await peer.say(b"\x00\x00")
        await app.seen("mqtt.disconnect")
    assert app.events[0]["username"] == app.scopes[0]["username"] == "ann"
    assert app.events[0]["password"] == b"se\xffcret"
    assert "cret" not in repr(app.scopes) + caplog.text


@pytest.mark.parametrize(
    ("reason_code", "return_code"), [(None, 5), (0x84, 1), (0x85, 2), (0x88, 3), (0x86, 4), (0x87, 5), (0x97, 3)]
)
async def test_a_rejection_is_the_nearest_return_code(reason_code: int | None, return_code: int) -> None:
    events = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.reject"} | ({"reason_code": reason_code} if reason_code is not None else {}))
        events.append(await receive())
        with pytest.raises(Disconnected):
            await send({"type": "mqtt.send", "topic": "a", "payload": b""})

    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(wire.connect(), bytes((0x20, 2, 0, return_code)))
        assert await peer.hear() == b""
    assert [event["type"] for event in events] == ["mqtt.disconnect"]


async def test_an_application_that_never_answers_connects_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "mqtt.disconnect":
            pass

    async with serving(app, connect_timeout=0.1) as server, await dial(server) as peer:
        await peer.ask(wire.connect(), b"\x20\x02\x00\x03")
        assert await peer.hear() == b""
    assert "did not answer within 0.1 s" in lines(caplog)[0]


async def test_an_application_that_returns_without_an_answer_connects_nobody() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(wire.connect(), b"\x20\x02\x00\x03")
        assert await peer.hear() == b""


async def test_a_socket_that_says_nothing_is_closed(app: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app, connect_timeout=0.1) as server, await dial(server) as peer:
        await peer.say(wire.connect()[:5])
        assert await peer.hear() == b""
    assert app.events == []
    assert "no CONNECT within 0.1 s" in lines(caplog)[0]


async def test_what_comes_before_the_accept_waits_and_is_bounded() -> None:
    accept = asyncio.Event()
    counted = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await accept.wait()
        await send({"type": "mqtt.accept"})
        while (event := await receive())["type"] == "mqtt.receive":
            counted.append(event["payload"][:4])

    async with serving(app) as server, await dial(server) as peer:
        flood = b"".join(wire.publish("a", i.to_bytes(4, "big") + bytes(1000)) for i in range(20_000))
        saying = asyncio.ensure_future(peer.say(wire.connect(), flood, wire.DISCONNECT))
        await asyncio.sleep(0.2)
        (device,) = server._clients
        assert device._parser.waiting < 1_000_000
        assert not saying.done()
        accept.set()
        await peer.expect(wire.CONNACK)
        await saying
        assert await peer.hear() == b""
        await server.tasks.drain(LIMIT)
    assert counted == [i.to_bytes(4, "big") for i in range(20_000)]


async def test_a_slow_application_stops_the_socket_and_loses_nothing() -> None:
    go = asyncio.Event()
    counted = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        await go.wait()
        while (event := await receive())["type"] == "mqtt.receive":
            counted.append(event["payload"])
            if event["id"]:
                await send({"type": "mqtt.ack", "id": event["id"]})

    async with serving(app) as server, connected(server) as peer:
        flood = b"".join(wire.publish("a", i.to_bytes(4, "big") + bytes(200)) for i in range(50_000))
        saying = asyncio.ensure_future(peer.say(flood, wire.publish("a", b"last", packet_id=1)))
        await asyncio.sleep(0.2)
        (device,) = server._clients
        assert len(device._queue) < 200
        assert device._parser.waiting < 1_000_000
        go.set()
        await saying
        await peer.expect(wire.puback(1))
    assert len(counted) == 50_001


async def test_the_puback_leaves_when_the_application_acknowledges_in_its_order() -> None:
    ids: asyncio.Queue[int] = asyncio.Queue()
    ack: asyncio.Queue[int] = asyncio.Queue()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        for _ in range(3):
            ids.put_nowait((await receive())["id"])
        for _ in range(3):
            await send({"type": "mqtt.ack", "id": await ack.get()})
        await receive()

    async with serving(app) as server, connected(server) as peer:
        await peer.say(*(wire.publish("a", packet_id=i) for i in (1, 2, 3)))
        assert [await ids.get() for _ in range(3)] == [1, 2, 3]
        await peer.ask(wire.PINGREQ, wire.PINGRESP)
        for packet_id in (3, 1, 2):
            ack.put_nowait(packet_id)
            await peer.expect(wire.puback(packet_id))


async def test_a_crash_acknowledges_nothing_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        first = await receive()
        await send({"type": "mqtt.ack", "id": first["id"]})
        await receive()
        raise KeyError("order")

    async with serving(app) as server, connected(server) as peer:
        await peer.say(*(wire.publish("a", packet_id=i) for i in (1, 2, 3)))
        await peer.expect(wire.puback(1), b"")
    assert [record.name for record in caplog.records if record.exc_info] == ["protocols.app_run"]


async def test_what_an_application_may_not_send_is_its_error() -> None:
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for event in (
            {"type": "mqtt.send", "topic": "a", "payload": b""},
            {"type": "mqtt.accept"},
            {"type": "mqtt.accept"},
            {"type": "mqtt.ack"},
            {"type": "mqtt.ack", "id": 4},
            {"type": "mqtt.subscribe", "filters": []},
        ):
            try:
                await send(event)
            except LocalProtocolError as error:
                errors.append(str(error))
        await send({"type": "mqtt.disconnect", "reason_code": 0x98})
        assert await receive() == {
            "type": "mqtt.disconnect",
            "reason_code": 0x98,
            "reason": "closed by the application",
            "clean": False,
        }
        errors.append("end")

    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(wire.connect(), wire.CONNACK)
        assert await peer.hear() == b""
        await server.tasks.drain(LIMIT)
    assert [error.split("'")[1] if "'" in error else error for error in errors] == [
        "mqtt.send",
        "mqtt.accept",
        "id",
        "mqtt.ack: no message 4 is waiting for it",
        "mqtt.subscribe",
        "end",
    ]


async def test_the_application_publishes_to_subscribers(app: Recorder) -> None:
    async def publisher(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            else:
                await send({"type": "mqtt.send", "topic": "out", "payload": event["payload"], "qos": 1, "retain": True})

    async with serving(publisher) as server, connected(server, "a") as ann, connected(server, "b") as bob:
        await ann.ask(wire.subscribe(("out", 1)), b"\x90\x03\x00\x01\x01")
        await bob.say(wire.publish("in", b"x"))
        await ann.expect(wire.publish("out", b"x", packet_id=1))
        await bob.ask(wire.subscribe(("#", 0)), b"\x90\x03\x00\x01\x00")
        await bob.expect(wire.publish("out", b"x", retain=True))


@pytest.mark.parametrize(
    ("data", "answer", "rule"),
    [
        (wire.PINGREQ, b"", "not MQTT: the first packet is not CONNECT [MQTT-3.1.0-1]"),
        (b"\x16\x03\x01\x02\x00\x01private", b"", "(it looks like TLS: is tls: missing?)"),
        (b"GET /private HTTP/1.1\r\n\r\n", b"", "(it looks like HTTP)"),
        (b"POST / HTTP/1.1\r\n\r\n", b"", "(it looks like HTTP)"),  # the length of a PUBREC that has not come whole
        (b"SSH-2.0-private\r\n", b"", "(it looks like SSH)"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"", "proxy_protocol"),
        (wire.connect() * 2, wire.CONNACK, "MQTT-3.1.0-2"),
        (wire.connect("", clean=False), b"\x20\x02\x00\x02", "MQTT-3.1.3-8"),
        (
            packet(0x10, string("MQTT") + b"\x03\x02\0\0" + string("a")),
            b"\x20\x02\x00\x01",
            "MQTT-3.1.2-2",
        ),
        (
            packet(0x10, string("MQTT") + b"\x06\x02\0\0\0" + string("a")),
            b"\x20\x03\0\x84\0",
            "level 6",
        ),
        (packet(0x10, string("MQTX") + b"\x04\x02\0\0" + string("a")), b"", "MQTT-3.1.2-1"),
        (wire.connect() + b"\x81\x00", wire.CONNACK, "MQTT-2.2.2-2"),
        (wire.connect() + b"\x30\xff\xff\xff\xff", wire.CONNACK, "2.2.3"),
        (wire.connect() + b"\x30\xff\xff\xff\x7f", wire.CONNACK, "the limit is"),
        (wire.connect() + b"\x36\x05\0\1a\0\1", wire.CONNACK, "QoS 3"),
        (wire.connect() + wire.publish("private/+"), wire.CONNACK, "MQTT-3.3.2-2"),
        (wire.connect() + wire.publish(b"private\xff"), wire.CONNACK, "MQTT-1.5.3-1"),
        (wire.connect() + wire.publish("private\0"), wire.CONNACK, "MQTT-1.5.3-2"),
        (wire.connect() + wire.publish(""), wire.CONNACK, "MQTT-4.7.3-1"),
    ],
)
async def test_a_peer_that_breaks_a_rule_is_closed_with_one_line(
    app: Recorder, caplog: pytest.LogCaptureFixture, data: bytes, answer: bytes, rule: str
) -> None:
    async with serving(app) as server, await dial(server) as peer:
        await peer.say(data)
        heard = await peer.hear()
        assert heard == answer
        if heard:
            assert await peer.hear() == b""
    assert len(lines(caplog)) == 1
    assert rule in lines(caplog)[0]
    assert "private" not in caplog.text


async def test_an_empty_client_identifier_is_given_one(app: Recorder) -> None:
    async with serving(app) as server, connected(server, ""), connected(server, ""):
        pass
    first, second = (scope["client_id"] for scope in app.scopes)
    assert first.startswith("auto-")
    assert first != second


async def test_a_takeover_closes_the_old_connection_and_keeps_the_session(app: Recorder) -> None:
    async with serving(app) as server, connected(server, "dev", clean=False) as old:
        await old.ask(wire.subscribe(("a", 1)), b"\x90\x03\x00\x01\x01")
        async with await dial(server) as new:
            await new.ask(wire.connect("dev", clean=False), wire.CONNACK_PRESENT)
            assert await old.hear() == b""
            assert app.scopes[1]["session_present"] is True
            (gone,) = await app.seen("mqtt.disconnect")
            assert gone["reason_code"] == 0x8E
            await new.say(wire.publish("a", b"x"))
            await new.expect(wire.publish("a", b"x"))


async def test_a_client_that_is_not_accepted_takes_nothing_over() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        password = (await receive())["password"]
        await send({"type": "mqtt.accept" if password is None else "mqtt.reject"})
        await receive()

    async with serving(app) as server, connected(server, "dev") as peer, await dial(server) as thief:
        fields = b"".join(map(string, ("dev", "ann", "wrong")))
        await thief.ask(packet(0x10, string("MQTT") + b"\x04\xc2\0\0" + fields), b"\x20\x02\x00\x05")
        await peer.ask(wire.PINGREQ, wire.PINGRESP)


async def test_a_reset_connection_publishes_the_will_and_ends_the_scope_once(app: Recorder) -> None:
    async with serving(app) as server, connected(server, "watcher") as watcher:
        await watcher.ask(wire.subscribe(("will", 0)), b"\x90\x03\x00\x01\x00")
        async with connected(server, "dev", will=("will", b"gone")) as peer:
            peer.hang_up()
            await watcher.expect(wire.publish("will", b"gone"))
        (gone,) = await app.seen("mqtt.disconnect")
        assert (gone["client_id"], gone["clean"]) == ("dev", False)


async def test_what_was_said_before_the_end_of_the_stream_is_heard(app: Recorder) -> None:
    async with serving(app) as server:
        async with connected(server) as peer:
            await peer.say(*(wire.publish("a", b"%d" % i) for i in range(5000)))
        await app.seen("mqtt.disconnect")
        assert len(await app.seen("mqtt.receive")) == 5000


async def test_keep_alive(app: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app) as server, connected(server, keepalive=1) as peer:
        assert await peer.hear() == b""
        (gone,) = await app.seen("mqtt.disconnect")
    assert gone["reason_code"] == 0x8D
    assert "MQTT-3.1.2-24" in lines(caplog)[0]


async def test_keep_alive_does_not_run_while_the_application_is_behind() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        await go.wait()
        while (await receive())["type"] == "mqtt.receive":
            pass

    async with serving(app) as server, connected(server, keepalive=1) as peer:
        await peer.say(wire.publish("a") * 200, wire.PINGREQ)
        await asyncio.sleep(1.8)
        go.set()
        await peer.expect(wire.PINGRESP)


@pytest.mark.parametrize("reads", [True, False])
async def test_keep_alive_of_a_client_that_reads_slowly(app: Recorder, reads: bool) -> None:
    """Its packets are not read meanwhile; that it reads shows that it is there."""
    loop = asyncio.get_running_loop()
    async with serving(app, max_unsent=40_000) as server, connected(server, "loud") as loud:
        host, _, port = server.address.rpartition(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(0)
            await loop.sock_connect(slow, (host, int(port)))
            await loop.sock_sendall(slow, wire.connect("slow", keepalive=1) + wire.subscribe(("a", 0)))
            await app.seen("mqtt.connect", 2)
            (device,) = (each for each in server._clients if each.client_id == "slow")
            while not device._outgoing.congested:
                await loud.ask(wire.publish("a", bytes(10_000)) + wire.PINGREQ, wire.PINGRESP)
            if not reads:
                await app.seen("mqtt.disconnect")
                return
            for _ in range(18):  # longer than the keep-alive
                await asyncio.sleep(0.1)
                await loop.sock_recv(slow, 4096)  # all: its kernel asks for more when half is free, or all
            assert device._outgoing.congested
            assert "mqtt.disconnect" not in [event["type"] for event in app.events]


async def test_a_subscriber_that_does_not_read_costs_bounded_memory(
    app: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"max_unsent": 100_000, "max_queued": 50_000}
    async with serving(app, **settings) as server, connected(server, "deaf") as deaf, connected(server, "loud") as loud:
        await deaf.ask(wire.subscribe(("a", 0), ("b", 1)), b"\x90\x04\x00\x01\x00\x01")
        device = next(device for device in server._clients if device.client_id == "deaf")
        deaf._reader._transport.pause_reading()  # type: ignore[attr-defined]
        for i in range(1, 3000):
            await loud.say(wire.publish("a", bytes(10_000)))
            if i % 100 == 0:
                await loud.ask(wire.PINGREQ, wire.PINGRESP)
        assert device._outgoing.dropped > 0
        assert device._transport.get_write_buffer_size() < 300_000
        await loud.say(*(wire.publish("b", bytes(1000), packet_id=i) for i in range(1, 200)))
        gone = await app.seen("mqtt.disconnect")
        assert (gone[0]["client_id"], gone[0]["reason_code"]) == ("deaf", 0x97)
        deaf.hang_up()
    assert any("its queue is full" in line for line in lines(caplog))


async def test_drops_are_logged_when_the_subscriber_reads_again(
    app: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(app, max_unsent=10_000) as server,
        connected(server, "slow") as slow,
        connected(server, "loud") as loud,
    ):
        await slow.ask(wire.subscribe(("a", 0)), b"\x90\x03\x00\x01\x00")
        transport = slow._reader._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        for _ in range(1000):
            await loud.say(wire.publish("a", bytes(20_000)))
        await loud.ask(wire.PINGREQ, wire.PINGRESP)
        transport.resume_reading()
        received = 0
        while "dropped while it did not read" not in caplog.text:
            assert await slow.hear()
            received += 1
    assert 0 < received < 1000


async def test_what_was_dropped_while_a_device_was_away_is_told_as_a_loss(
    app: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """No flood of other lines hides it."""
    async with serving(app, max_queued=600) as server, connected(server, "loud") as loud:
        async with connected(server, "away", clean=False) as away:
            await away.ask(wire.subscribe(("a", 1)), b"\x90\x03\x00\x01\x01")
            await away.say(wire.DISCONNECT)
            await away.hear()
        for number in range(1, 10):
            await loud.ask(wire.publish("a", bytes(100), packet_id=number), wire.puback(number))
        async with await dial(server) as back:
            await back.ask(wire.connect("away", clean=False), b"\x20\x02\x01\x00")
    [told] = [record for record in caplog.records if "dropped while it was away" in record.getMessage()]
    assert hasattr(told, "lost")


async def test_one_connection_too_many_is_closed(app: Recorder) -> None:
    async with serving(app, max_connections=1) as server, connected(server), await dial(server) as second:
        await second.say(wire.connect("other"))
        assert await second.hear() == b""


async def test_stop_lets_acknowledgements_leave_and_says_goodbye() -> None:
    received, release = asyncio.Event(), asyncio.Event()
    events = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        message = await receive()
        received.set()
        await release.wait()
        await send({"type": "mqtt.ack", "id": message["id"]})
        events.append(await receive())

    async with serving(app) as server, connected(server) as peer, connected(server, "idle") as idle:
        await peer.say(wire.publish("a", packet_id=5))
        await received.wait()
        stopping = asyncio.ensure_future(server.stop(LIMIT))
        assert await idle.hear() == b""
        assert server.status.state == "draining"
        release.set()
        await peer.expect(wire.puback(5), b"")
        await stopping
    assert events[0]["reason_code"] == 0x8B
    assert server.status.state == "stopped"


async def test_stop_refuses_who_is_not_accepted_yet() -> None:
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with serving(app) as server, await dial(server) as peer:
        await peer.say(wire.connect())
        await asked.wait()
        await server.stop(0.05)
        await peer.expect(b"\x20\x02\x00\x03", b"")  # server unavailable


async def test_stop_does_not_wait_for_a_socket_that_said_nothing(app: Recorder) -> None:
    async with serving(app) as server, await dial(server) as peer:
        await peer.say(b"\x10")
        await asyncio.sleep(0.05)
        async with asyncio.timeout(LIMIT):
            await server.stop(LIMIT)
        assert await peer.hear() == b""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    folder: Path = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return TLS(certificate=str(cert), key=str(key))


async def test_tls(app: Recorder, certificate: TLS) -> None:
    context = ssl.create_default_context(cafile=certificate.certificate)
    async with serving(app, tls=certificate) as server:
        port = int(server.address.rpartition(":")[2])
        streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        async with wire.Peer(*streams) as peer:
            await peer.ask(wire.connect(), wire.CONNACK)
            await peer.ask(wire.publish("a", bytes(100_000), packet_id=2), wire.puback(2))
            await peer.say(wire.DISCONNECT)
            assert await peer.hear() == b""
        await app.seen("mqtt.disconnect")
    assert app.scopes[0]["extensions"]["tls"]["tls_version"] == 0x0304


async def test_a_unix_socket(app: Recorder, tmp_path: Path) -> None:
    from protocols.mqtt import MQTTServer, MQTTSettings

    async with MQTTServer(app, MQTTSettings(bind=f"unix:{tmp_path}/mqtt"), state={}) as server:
        assert server.address == f"unix:{tmp_path}/mqtt"
        async with wire.Peer(*await asyncio.open_unix_connection(f"{tmp_path}/mqtt")) as peer:
            await peer.ask(wire.connect(), wire.CONNACK)
            await peer.say(wire.DISCONNECT)
        await app.seen("mqtt.disconnect")
    assert app.scopes[0]["client"] is None
