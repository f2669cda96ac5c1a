"""MQTT 5.0 over sockets: what is malformed, too much, too fast or half there. 3.1.1 where the same holds."""

import asyncio
import socket
from typing import Any

import mqtt5_wire as wire
import pytest
from contract import transport_of
from mqtt5_wire import read
from mqtt_bytes import packet, string
from mqtt_peer import CONNACK, LIMIT, PINGREQ, PINGRESP, Peer, Recorder, dial, serving
from waiting import until

from protocols.mqtt import MQTTServer


@pytest.fixture
def app() -> Recorder:
    return Recorder()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("protocols.mqtt")]


async def joined(server: MQTTServer, client_id: str = "ann", **options: Any) -> Peer:
    peer = await dial(server)
    await peer.say(wire.connect(client_id, **options))
    assert read(await peer.hear()).code == 0
    return peer


def raw_connect(*fields: bytes, flags: int = 2, level: int = 5) -> bytes:
    return packet(0x10, string("MQTT") + bytes((level, flags, 0, 0)) + b"".join(fields))


BEFORE = [
    (raw_connect(b"\0", string("a"), flags=3), 0x81),
    (raw_connect(b"\0", string("a"), flags=0x1E), 0x81),
    (raw_connect(b"\0", string("a"), b"more"), 0x81),
    (raw_connect(b"\0", b"\0\5a"), 0x81),
    (raw_connect(b"\2\x7f\0", string("a")), 0x81),
    (raw_connect(b"\2\x17\2", string("a")), 0x82),
    (raw_connect(b"\6\x21\0\1\x21\0\1", string("a")), 0x82),
    (raw_connect(b"\3\x21\0\0", string("a")), 0x82),
    (raw_connect(b"\0", string(b"a\xff")), 0x81),
    (raw_connect(b"\0", string("a" * 300)), 0x85),
    (raw_connect(b"\4\x16\0\1x", string("a")), 0x82),
    (raw_connect(b"\0", string("a"), b"\0", string("w/#"), string(""), flags=6), 0x90),
]


@pytest.mark.parametrize(("data", "code"), BEFORE)
async def test_a_connect_that_breaks_a_rule(
    app: Recorder, caplog: pytest.LogCaptureFixture, data: bytes, code: int
) -> None:
    async with serving(app) as server, await dial(server) as peer:
        await peer.say(data)
        heard = read(await peer.hear())
        assert (heard.kind, heard.code) == ("CONNACK", code)
        assert await peer.hear() == b""
    assert len(lines(caplog)) == 1
    assert not app.scopes


AFTER = [
    (wire.connect(), 0x82),
    (b"\x00\x00", 0x82),
    (b"\x20\x02\0\0", 0x82),
    (b"\x81\x00", 0x81),
    (b"\x30\xff\xff\xff\xff", 0x81),
    (b"\x30\xff\xff\xff\x7f", 0x95),
    (b"\xc0\x80\x00", 0x81),
    (b"\x36\x06\0\1a\0\1\0", 0x81),
    (b"\x38\x04\0\1a\0", 0x81),
    (b"\x32\x06\0\1a\0\0\0", 0x82),
    (wire.publish("a/#"), 0x90),
    (b"\x30\x03\0\0\0", 0x82),
    (wire.publish("", topic_alias=1), 0x82),
    (wire.publish("a", topic_alias=9999), 0x94),
    (wire.publish("a", subscription_identifier=[1]), 0x82),
    (wire.publish("a", bytes(300_000)), 0x95),
    (wire.subscribe(), 0x82),
    (packet(0x82, b"\0\1\0" + string("a") + b"\x03"), 0x82),
    (packet(0x82, b"\0\1\0" + string("a") + b"\x30"), 0x82),
    (packet(0x82, b"\0\1\0" + string("a") + b"\x40"), 0x81),
    (packet(0x82, b"\0\1\2\x0b\0" + string("a") + b"\0"), 0x82),
    (wire.subscribe("$share/g/a", no_local=True), 0x82),
    (wire.unsubscribe(), 0x82),
    (packet(0x40, b"\0\1\x05"), 0x82),
    (packet(0x62, b"\0\1\x80"), 0x82),
    (packet(0xE0, b"\x8d"), 0x82),
    (packet(0xF0, b"\x18\0"), 0x82),
    (wire.auth(0x19, authentication_method="x"), 0x82),
    (wire.disconnect(session_expiry_interval=9), 0x82),
    (wire.publish("a", b"x", 2, 7) + wire.pubrel(7), 0x82),
]


@pytest.mark.parametrize(("data", "code"), AFTER)
async def test_a_packet_that_breaks_a_rule(caplog: pytest.LogCaptureFixture, data: bytes, code: int) -> None:
    class Slow(Recorder):
        async def answer(self, event: dict[str, Any], send: Any) -> None:
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})

    app = Slow()
    async with serving(app) as server, await joined(server) as peer:
        await peer.say(data)
        heard = read(await peer.hear())
        assert (heard.kind, heard.code) == ("DISCONNECT", code)
        assert await peer.hear() == b""
        (gone,) = await app.seen("mqtt.disconnect")
        assert (gone["reason_code"], gone["clean"]) == (code, False)
    assert len(lines(caplog)) == 1


@pytest.mark.parametrize(
    "said",
    [wire.publish("a"), wire.auth(0x18, authentication_method="other"), wire.auth(0x19, authentication_method="M")],
)
async def test_what_breaks_a_rule_while_it_authenticates_gets_a_connack(said: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.auth", "data": b"1"})
        while (await receive())["type"] != "mqtt.disconnect":
            pass

    async with serving(app) as server, await dial(server) as peer:
        await peer.say(wire.connect(authentication_method="M"))
        assert read(await peer.hear()).kind == "AUTH"
        await peer.say(said)
        heard = read(await peer.hear())
        assert (heard.kind, heard.code) == ("CONNACK", 0x82)
        assert await peer.hear() == b""


async def test_extended_authentication_to_its_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["properties"]["authentication_data"] == b"1"
        await receive()
        await send({"type": "mqtt.auth", "data": b"2"})
        event = await receive()
        assert event["data"] == b"3"
        await send({"type": "mqtt.accept", "properties": {"authentication_data": b"4"}})
        event = await receive()
        assert (event["type"], event["reason_code"]) == ("mqtt.auth", 0x19)
        await send({"type": "mqtt.auth", "reason_code": 0})
        await receive()

    async with serving(app) as server, await dial(server) as peer:
        await peer.say(wire.connect(authentication_method="M", authentication_data=b"1"))
        assert read(await peer.hear()).properties["authentication_data"] == b"2"
        await peer.say(wire.auth(0x18, authentication_method="M", authentication_data=b"3"))
        assert read(await peer.hear()).properties["authentication_data"] == b"4"
        await peer.say(wire.auth(0x19, authentication_method="M"))
        assert read(await peer.hear()).code == 0


async def test_assigned_identifier_keep_alive_and_redirects() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["client_id"] == "old":
            await send({"type": "mqtt.reject", "reason_code": 0x9C, "properties": {"server_reference": "new:1"}})
            return
        await send({"type": "mqtt.accept", "properties": {"server_keep_alive": 1}})
        await receive()

    async with serving(app) as server, await dial(server) as peer, await dial(server) as old:
        await peer.say(wire.connect(""))
        connack = read(await peer.hear())
        assert connack.properties["assigned_client_identifier"].startswith("auto-")
        assert connack.properties["server_keep_alive"] == 1
        await old.say(wire.connect("old"))
        refused = read(await old.hear())
        assert (refused.code, refused.properties) == (0x9C, {"server_reference": "new:1"})
        assert read(await peer.hear()).code == 0x8D


async def test_acknowledgements_come_before_the_goodbye() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        for _ in range(2):
            await send({"type": "mqtt.ack", "id": (await receive())["id"]})
        await send({"type": "mqtt.disconnect", "reason_code": 0x98})

    async with serving(app) as server, await joined(server) as peer:
        await peer.say(wire.publish("a", b"x", 1, 1), wire.publish("a", b"x", 1, 2))
        heard = [read(await peer.hear()) for _ in range(3)]
        assert [each.kind for each in heard] == ["PUBACK", "PUBACK", "DISCONNECT"]


async def test_takeover_says_why(app: Recorder) -> None:
    async with serving(app) as server, await joined(server) as first, await joined(server):
        assert read(await first.hear()).code == 0x8E
        assert await first.hear() == b""  # once, and nothing after it (MQTT-3.14.4-1)


async def test_stopping_says_why(app: Recorder) -> None:
    async with serving(app) as server, await joined(server) as peer:
        await server.stop(LIMIT)
        assert read(await peer.hear()).code == 0x8B


async def test_at_the_end_of_the_grace_it_is_told_before_its_handler_is_cancelled() -> None:
    received = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        await receive()
        received.set()
        await asyncio.Event().wait()

    async with serving(app) as server, await joined(server) as peer:
        await peer.say(wire.publish("a", b"x", 1, 1))
        await received.wait()
        await server.stop(0.05)
        goodbye = read(await peer.hear())
        assert (goodbye.kind, goodbye.code) == ("DISCONNECT", 0x8B)
        assert await peer.hear() == b""


# Too much.


@pytest.mark.parametrize("hello", [b"", b"\x10", wire.connect()[:-1], b"\x10\xff\xff\x03" + bytes(50_000)])
async def test_floods_of_connections_that_never_say_connect(app: Recorder, hello: bytes) -> None:
    async with serving(app, max_connections=20, connect_timeout=0.3) as server:
        peers = [await dial(server) for _ in range(40)]
        for peer in peers:
            await peer.say(hello)
        assert server._connections() <= 20
        for peer in peers:
            assert await peer.hear() == b""
            await peer.__aexit__()
        async with await joined(server):
            pass
    assert len(app.scopes) == 1


@pytest.mark.parametrize("version", [4, 5])
async def test_a_million_subscriptions(app: Recorder, version: int) -> None:
    async with serving(app, max_subscriptions=100) as server, await dial(server) as peer:
        await peer.say(wire.connect("ann", version))
        await peer.hear()
        refused = 0x97 if version == 5 else 0x80
        for part in range(0, 1_000_000, 4_000):  # a SUBSCRIBE has 4,096 filters at most
            filters = [f"{each:x}" for each in range(part, part + 4_000)]
            await peer.say(wire.subscribe(*filters, qos=0, version=version))
            codes = (await peer.hear())[-4_000:]
            assert codes == (bytes(100) if not part else b"") + bytes([refused]) * (4_000 if part else 3_900)
        assert server.broker.subscriptions == 100


@pytest.mark.parametrize("what", [PINGREQ, wire.publish("a", b"x", 2, 1, dup=True), wire.pubrel(9)])
async def test_a_client_that_never_reads_is_not_read(app: Recorder, what: bytes) -> None:
    async with serving(app, max_unsent=20_000) as server, await joined(server) as peer:
        await peer.say(wire.publish("a", b"x", 2, 1))
        assert read(await peer.hear()).kind == "PUBREC"
        (device,) = server._clients
        transport = transport_of(peer._writer)
        transport.pause_reading()
        for end, buffer in ((device._transport, socket.SO_SNDBUF), (transport, socket.SO_RCVBUF)):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, buffer, 4096)
        async with asyncio.timeout(4 * LIMIT):
            while not device._outgoing.congested:
                transport.write(what * (20_000 // len(what)))
                await asyncio.sleep(0.001)
        before = server.counters.bytes_received
        for _ in range(20):
            transport.write(what * (200_000 // len(what)))
            await asyncio.sleep(0.001)
        assert server.counters.bytes_received - before < 1_000_000
        assert device._transport.get_write_buffer_size() < 1_500_000
        async with await joined(server, "other") as other:  # and nobody else is hurt
            await other.ask(PINGREQ, PINGRESP)
        transport.abort()


async def test_packet_identifiers_in_any_order(app: Recorder) -> None:
    async with serving(app) as server, await joined(server) as peer:
        ids = [7, 65535, 1, 300, 2, 65534]
        await peer.say(*(wire.publish("a", b"x", 1, each) for each in ids))
        assert [read(await peer.hear()).id for _ in ids] == ids
        await peer.say(*(wire.publish("a", b"x", 2, each) for each in ids))
        assert [read(await peer.hear()).id for _ in ids] == ids
        await peer.say(*(wire.pubrel(each) for each in reversed(ids)), wire.puback(999), wire.pubcomp(998))
        assert [read(await peer.hear())[:3] for _ in ids] == [("PUBCOMP", each, 0) for each in reversed(ids)]
        await peer.ask(PINGREQ, PINGRESP)


async def test_more_than_the_receive_maximum() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        while (await receive())["type"] != "mqtt.disconnect":
            pass

    async with serving(app, max_unacked=3) as server, await joined(server) as peer:
        await peer.say(*(wire.publish("a", b"x", 1 + each % 2, each) for each in range(1, 4)))
        await peer.ask(PINGREQ, PINGRESP)
        await peer.say(wire.publish("a", b"x", 2, 4))
        assert read(await peer.hear()).code == 0x93


async def test_the_publish_rate_slows_what_is_published_and_nothing_else(app: Recorder) -> None:
    loop = asyncio.get_running_loop()
    async with serving(app, max_publish_rate=100) as server, await joined(server) as peer:
        await peer.say(wire.puback(9) * 5000)
        await peer.ask(PINGREQ, PINGRESP)
        (device,) = server._clients
        assert device._throttle is None
        begun = loop.time()
        await peer.say(*(wire.publish("a", b"x", 1, each) for each in range(1, 201)))
        for _ in range(200):
            await peer.hear()
        assert loop.time() - begun > 0.3  # never sooner, whatever the machine does
        assert len(await app.seen("mqtt.receive")) == 200


async def test_a_rate_does_not_wake_an_application_that_is_behind() -> None:
    go = asyncio.Event()
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        await go.wait()
        while (event := await receive())["type"] == "mqtt.receive":
            heard.append(event["payload"])

    async with serving(app, max_publish_rate=2000) as server, await joined(server) as peer:
        await peer.say(*(wire.publish("a", b"%d" % each) for each in range(4000)))
        await asyncio.sleep(0.3)
        (device,) = server._clients
        assert len(device._queue) <= 128 + device.limit
        go.set()
        await peer.ask(PINGREQ, PINGRESP)
        await until(lambda: len(heard) >= 4000)
    assert heard == [b"%d" % each for each in range(4000)]


async def test_the_servers_figures(app: Recorder) -> None:
    async with serving(app, sys_interval=0.05) as server, await joined(server) as peer:
        async with await joined(server, "kept", clean=False, session_expiry_interval=99) as kept:
            await kept.say(wire.subscribe("a", "b"), wire.disconnect())
            while await kept.hear():
                pass
        async with await dial(server):  # one that has not said CONNECT is no client
            await peer.say(wire.publish("r", b"x", retain=True), wire.subscribe("$SYS/broker/#", qos=0))
            figures: dict[str, bytes] = {}
            wanted = {"clients/connected": b"1", "clients/disconnected": b"1", "clients/total": b"2"}
            wanted |= {"subscriptions/count": b"3"}
            async with asyncio.timeout(LIMIT):
                while not wanted.items() <= figures.items() or int(figures["bytes/received"]) < 20:
                    heard = read(await peer.hear())
                    figures[heard.topic.removeprefix("$SYS/broker/")] = heard.payload
    assert int(figures["retained messages/count"]) >= 1
    assert figures["uptime"].endswith(b" seconds")


@pytest.mark.parametrize("data", [wire.connect(), PINGREQ[:1] + b"\x01\x00", b"\x34\x05\0\1a\0\0"])
async def test_3_1_1_has_no_word_and_is_closed(app: Recorder, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    async with serving(app) as server, await dial(server) as peer:
        await peer.ask(wire.connect("ann", 4), CONNACK)
        await peer.say(data)
        assert await peer.hear() == b""
    assert len(lines(caplog)) == 1
