"""The client against a real Mosquitto."""

import asyncio
import logging
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from client_desk import LIMIT, App, Peer, client, lines, ready, scripted, settings
from servers.mosquitto import Mosquitto, mosquitto
from servers.ports import free_port
from waiting import until

from protocols.asgi import MQTTScope
from protocols.errors import Disconnected, LocalProtocolError
from protocols.mqtt.client.app_runs import NO_ROOM
from protocols.mqtt.client.client import MQTTClient, MQTTClientSettings
from protocols.mqtt.client.run import OVERFLOW
from protocols.secret import Secret


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with mosquitto() as broker:
        yield broker


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="protocols")
    return caplog


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_messages_arrive_and_are_acknowledged(broker: Mosquitto, version: str) -> None:
    app = App()
    async with client(app, broker.url, version=version, client_id="plänt") as server:
        await ready(server)
        assert server.status.detail == f"{version}; 1 subscription"
        broker.publish("t/é", "one", "-q", "1")
        broker.publish("t/2", "two", "-q", "0")
        await until(lambda: app.payloads() == [b"one", b"two"])
        await until(lambda: server.active() == {})
    [scope] = app.scopes
    assert scope.keys() == MQTTScope.__required_keys__
    assert (scope["role"], scope["protocol_version"], scope["client_id"]) == ("client", version, "plänt")
    assert (scope["client"], scope["state"]) == (("127.0.0.1", broker.port), {"answer": 42})
    connect, one, two, gone = app.events
    assert connect == {"type": "mqtt.connect", "username": None, "password": None}
    assert (one["topic"], one["qos"], one["id"], one["dup"], one["retain"]) == ("t/é", 1, 1, False, False)
    assert (two["topic"], two["qos"], two["id"]) == ("t/2", 0, None)
    assert gone == {"type": "mqtt.disconnect", "reason_code": 0, "reason": "the gateway stops", "clean": True}


async def test_properties_have_their_mqtt_names_both_ways(broker: Mosquitto) -> None:
    async def echo(event: Any, send: Any) -> None:
        await send({"type": "mqtt.send", "topic": "out", "payload": b"x", "properties": event["properties"]})

    app = App(echo)
    form = ("-V", "5", "-F", "%p %P %C")
    with broker.subscriber("out", 1, *form) as heard:
        async with client(app, broker.url) as server:
            await ready(server)
            given = (("user-property", "k", "v"), ("content-type", "text/x"), ("payload-format-indicator", "1"))
            options = [word for words in given for word in ("-D", "publish", *words)]
            broker.publish("t", "x", "-V", "5", *options)
            output, _ = await asyncio.to_thread(heard.communicate, None, LIMIT)
    expected = {"user_property": [("k", "v")], "content_type": "text/x", "payload_format_indicator": 1}
    assert app.events[1]["properties"] == expected
    assert b"x k:v text/x" in output


async def test_mqtt_send_reaches_a_subscriber(broker: Mosquitto) -> None:
    async def reply(event: Any, send: Any) -> None:
        for qos in (0, 1):
            await send({"type": "mqtt.send", "topic": "out/é", "payload": b"reply %d" % qos, "qos": qos})

    with broker.subscriber("out/#", 2) as heard:
        async with client(App(reply), broker.url) as server:
            await ready(server)
            broker.publish("t", "x", "-q", "1")
            output, _ = await asyncio.to_thread(heard.communicate, None, LIMIT)
    assert b"reply 0" in output
    assert b"reply 1" in output


async def test_what_a_crash_left_unacknowledged_comes_again(broker: Mosquitto, log: pytest.LogCaptureFixture) -> None:
    broken = [True]

    async def handle(event: Any, send: Any) -> None:
        if event["payload"] == b"two" and broken and broken.pop():
            raise RuntimeError("handler")

    app = App(handle)
    async with client(app, broker.url) as server:
        await ready(server)
        for text in ("one", "two", "three"):
            broker.publish("t", text, "-q", "1")
        await until(lambda: app.payloads()[-1:] == [b"three"] and not server.active())
    payloads = app.payloads()
    assert payloads.count(b"one") == 1
    assert payloads.count(b"two") == 2
    assert payloads.count(b"three") == 1
    assert len(app.scopes) == 2
    assert app.scopes[1]["session_present"]
    assert [event["dup"] for event in app.events if event.get("payload") == b"two"] == [False, True]
    assert len([record for record in log.records if record.exc_info]) == 1
    assert "the application failed (RuntimeError); next try in" in lines(log)[-1]


async def test_nothing_arrives_before_the_application_has_accepted(broker: Mosquitto) -> None:
    async with client(App(), broker.url) as server:
        await ready(server)
    broker.publish("t", "kept", "-q", "1")
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append(await receive())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                events.append(await receive())
        await send({"type": "mqtt.accept"})
        events.append(await receive())

    async with client(app, broker.url, retry=5.0):
        await until(lambda: len(events) == 2)
    assert [event["type"] for event in events] == ["mqtt.connect", "mqtt.receive"]


async def test_a_killed_broker_is_found_again_and_nothing_is_lost(
    broker: Mosquitto, log: pytest.LogCaptureFixture
) -> None:
    app = App()
    async with client(app, broker.url) as server:
        await ready(server)
        broker.publish("t", "before", "-q", "1")
        await until(lambda: app.payloads() == [b"before"])
        broker.stop(signal.SIGKILL)
        await until(lambda: "connection refused; next try in" in server.status.detail)
        assert server.status.state == "connecting"
        assert app.events[-1]["type"] == "mqtt.disconnect"
        assert app.events[-1]["clean"] is False
        broker.start()
        await ready(server)
        broker.publish("t", "after", "-q", "1")
        await until(lambda: app.payloads() == [b"before", b"after"])
    assert not [record for record in log.records if record.exc_info]


async def test_what_comes_while_we_are_away_is_kept(broker: Mosquitto) -> None:
    app = App()
    async with client(app, broker.url) as server:
        await ready(server)
    for number in range(100):
        broker.publish("t", str(number), "-q", "1")
    async with client(app, broker.url) as server:
        await until(lambda: len(app.payloads()) == 100)
    assert app.payloads() == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_a_wrong_password_is_one_clear_sentence(version: str, log: pytest.LogCaptureFixture) -> None:
    with mosquitto({"ann": "right"}) as broker:
        app = App()
        async with client(app, broker.url, version=version, username="ann", password=Secret("wrong")) as server:
            await until(lambda: "next try" in server.status.detail)
            assert server.status.detail.startswith("the broker refused us: not authorized; next try in ")
            assert server.status.state == "connecting"
        assert app.scopes == []
        assert "wrong" not in log.text
        assert "Traceback" not in log.text
        async with client(app, broker.url, version=version, username="ann", password=Secret("right")) as server:
            await ready(server)
        assert app.scopes[0]["username"] == "ann"
        assert app.events[0] == {"type": "mqtt.connect", "username": "ann", "password": None}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mqtt://127.0.0.1:{port}", "connection refused"),
        ("mqtt://localhost:{port}", "connection refused"),
        ("mqtt://no-such-host.invalid", "there is no host 'no-such-host.invalid'"),
        (f"mqtt://{'a' * 70}.example", "there is no host"),
    ],
)
async def test_a_broker_that_is_away_is_one_sentence(url: str, sentence: str, log: pytest.LogCaptureFixture) -> None:
    async with client(App(), url.format(port=free_port())) as server:
        await until(lambda: "next try" in server.status.detail)
        assert server.status.detail.startswith(sentence)
    assert "Traceback" not in log.text


async def test_a_silent_peer_and_a_babbling_one(log: pytest.LogCaptureFixture) -> None:
    answers = [b"", b"\x20\x03\x00\x00\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x01\x00", b"\xff" * 100]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (answer := answers.pop(0) if answers else None) is not None:
            writer.write(answer)
            if answer:
                await reader.read()
            else:
                await asyncio.sleep(0.2)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        app = App()
        async with client(app, f"mqtt://127.0.0.1:{port}", timeout=0.1):
            await until(lambda: not answers and len(lines(log)) >= 6)
    assert "Traceback" not in log.text
    assert "no answer within 0.1 s" in lines(log)[0]


async def test_a_broker_that_refuses_5_is_asked_with_3(log: pytest.LogCaptureFixture) -> None:
    versions: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(10)
        versions.append(head[8])
        refusal = b"\x20\x02\x00\x01" if head[8] == 5 else b"\x20\x02\x00\x00"
        writer.write(refusal)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        app = App()
        url = f"mqtt://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with client(app, url, subscribe=()) as server:
            await ready(server)
            assert server.status.detail == "3.1.1; 0 subscriptions"
    assert versions == [5, 4]
    assert app.scopes[0]["protocol_version"] == "3.1.1"


@pytest.mark.parametrize("closes", [True, False])
async def test_a_broker_that_does_not_answer_5_speaks_only_3_perhaps(
    closes: bool, log: pytest.LogCaptureFixture
) -> None:
    async def first(peer: Peer) -> None:
        await peer.read()
        await asyncio.sleep(0.0 if closes else 0.5)

    async def second(peer: Peer) -> None:
        await peer.welcome()

    async def third(peer: Peer) -> None:
        await peer.read()

    async with scripted(first, second, third) as (url, _), client(App(), url, subscribe=(), timeout=0.3):
        await until(lambda: len(lines(log)) >= 3)
    said = "the connection is lost" if closes else "no answer within 0.3 s"
    hint = 'if the broker speaks only MQTT 3.1.1, set version: "3.1.1"'
    assert f": {said}; {hint}; next try in " in lines(log)[0]
    assert not any(hint in line for line in lines(log)[1:])


async def test_a_refused_subscription_is_said_and_tried_again(log: pytest.LogCaptureFixture) -> None:
    """The broker here grants nothing: SUBACK 0x87."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")
        subscribe = await reader.read(1000)
        if subscribe:
            writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00\x87")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        url = f"mqtt://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with client(App(), url) as server:
            await until(lambda: "next try" in server.status.detail)
            detail = server.status.detail
    assert detail.startswith("the broker refused the subscription 't/#': not authorized; next try in ")
    assert "Traceback" not in log.text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("tls")
    key, certificate = str(root / "key.pem"), str(root / "certificate.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return certificate, key


async def test_tls(certificate: tuple[str, str], log: pytest.LogCaptureFixture) -> None:
    pem, key = certificate
    tls_port = free_port()
    lines = (f"listener {tls_port} 127.0.0.1", f"certfile {pem}", f"keyfile {key}", f"cafile {pem}",
             "require_certificate true")  # fmt: skip
    with mosquitto(lines=lines) as broker:
        for changes, sentence in (
            ({}, "TLS: self-signed certificate"),
            ({"ca": "/no/such.pem"}, "TLS: /no/such.pem: No such file"),
            ({"url": f"mqtts://127.0.0.1:{tls_port}", "ca": pem}, "TLS: IP address mismatch"),
            ({"url": f"mqtts://localhost:{broker.port}", "ca": pem}, ""),
        ):
            given = {"url": f"mqtts://localhost:{tls_port}", **changes}
            async with client(App(), given.pop("url"), **given) as server:
                words = (sentence, "next try")  # at first, perhaps, that there is nobody yet
                await until(lambda words=words, server=server: all(each in server.status.detail for each in words))
        app = App()
        async with client(app, f"mqtts://localhost:{tls_port}", ca=pem, certificate=pem, key=key) as server:
            await ready(server)
            broker.publish("t", "x", "-q", "1")
            await until(app.payloads)
        assert app.scopes[0]["extensions"] == {"tls": {}}
    assert "Traceback" not in log.text


async def test_rejecting_disconnects_and_tries_later(broker: Mosquitto) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await receive()
        await send({"type": "mqtt.reject"})

    async with client(app, broker.url) as server:
        await until(lambda: len(scopes) == 3)
        await until(lambda: server.status.detail.startswith("the application rejected the connection; next try in"))


async def test_what_may_not_be_sent_raises_out_of_send(broker: Mosquitto) -> None:
    wrong = [
        {"type": "mqtt.ack", "id": 99},
        {"type": "mqtt.ack"},
        {"type": "mqtt.send", "topic": "a/+", "payload": b""},
        {"type": "mqtt.send", "topic": "a", "payload": "text"},
        {"type": "mqtt.send", "topic": "a", "payload": b"", "qos": 3},
        {"type": "mqtt.send", "topic": "a", "payload": b"", "qos": 1, "properties": {"message_expiry_interval": "x"}},
        {"type": "mqtt.send", "topic": "a", "payload": b"", "qos": 1, "properties": {"no_such_property": "x"}},
        {"type": "mqtt.subscribe", "filters": [("a/#/b", 0)]},
        {"type": "mqtt.subscribe", "filters": [("a", 3)]},
        {"type": "mqtt.suback", "id": 1, "reason_codes": [0]},
    ]

    refused: list[Any] = []

    async def handle(event: Any, send: Any) -> None:
        for one in wrong:
            try:
                await send(one)
            except LocalProtocolError:
                refused.append(one)

    app = App(handle)
    async with client(app, broker.url) as server:
        await ready(server)
        broker.publish("t", "x", "-q", "1")
        await until(lambda: app.payloads() and not server.active())
    assert refused == wrong
    assert len(app.scopes) == 1


async def test_an_application_subscribes_and_unsubscribes(broker: Mosquitto) -> None:
    async def handle(event: Any, send: Any) -> None:
        if event["topic"] == "t/on":
            await send({"type": "mqtt.subscribe", "filters": [("more/é", 1)]})
        if event["topic"] == "t/off":
            await send({"type": "mqtt.unsubscribe", "filters": ["more/é"]})

    app = App(handle)
    async with client(app, broker.url) as server:
        await ready(server)
        for topic in ("t/on", "more/é", "t/off", "more/é", "t/end"):
            broker.publish(topic, topic, "-q", "1")
            await until(lambda topic=topic: server.active() == {})
            await asyncio.sleep(0.05)
        await until(lambda: app.payloads()[-1:] == [b"t/end"])
    assert app.payloads() == [b"t/on", "more/é".encode(), b"t/off", b"t/end"]


async def test_a_slow_application_stops_the_reading_and_still_hears_answers(broker: Mosquitto) -> None:
    """With QoS 0 nothing but the socket holds the broker back; a PUBACK must come through nevertheless."""
    released = asyncio.Event()

    async def handle(event: Any, send: Any) -> None:
        if event["payload"] == b"first":
            await released.wait()
            await send({"type": "mqtt.send", "topic": "out", "payload": b"x", "qos": 1})

    app = App(handle)
    async with client(app, broker.url, max_unacked=4, qos=0) as server:
        await ready(server)
        [connection] = server._connections
        [run] = connection.runs
        broker.publish("t", "first")
        await until(app.payloads)
        for number in range(10):
            broker.publish("t", str(number))
        await until(lambda: connection.broker.paused)
        released.set()
        broker.publish("t", "last")
        await until(lambda: app.payloads()[-1:] == [b"last"])
    assert len(run._queue) == 0


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_more_than_there_is_room_for_comes_on_the_next_connection(
    version: str, log: pytest.LogCaptureFixture
) -> None:
    """For each PUBACK, Mosquitto 2.0 sends as many messages as the receive maximum. They are read on and on where a
    handler waits for an answer."""

    async def handle(event: Any, send: Any) -> None:
        await send({"type": "mqtt.send", "topic": "out", "payload": event["payload"], "qos": 1})

    count, first, second = 2 * OVERFLOW, App(), App(handle)
    options: dict[str, Any] = {"client_id": "one", "version": version, "max_unacked": 2}
    with mosquitto(lines=("max_queued_messages 0",)) as broker:
        async with client(first, broker.url, **options) as server:
            await ready(server)
        await asyncio.to_thread(broker.publish_lines, "t", [str(number) for number in range(4 * count)])
        async with client(second, broker.url, **options) as server:
            await until(lambda: len({*second.payloads()}) == 4 * count)
            [connection] = server._connections
            await until(lambda: not connection.unacknowledged)
    assert f"mqtt-client plant 127.0.0.1:{broker.port}: {NO_ROOM}" in lines(log)
    assert [*dict.fromkeys(second.payloads())] == [str(number).encode() for number in range(4 * count)]
    assert len(second.scopes) > 2


async def test_qos_0_that_has_no_room_is_dropped_and_counted(log: pytest.LogCaptureFixture) -> None:
    """It comes while a handler waits for an answer, so that reading goes on."""

    async def handle(event: Any, send: Any) -> None:
        if event["payload"] == b"first":
            await send({"type": "mqtt.send", "topic": "out", "payload": b"", "qos": 1})

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.say(0x30, b"\0\1t\0first")
        publish = await peer.read()
        peer.say_all(b"\x30\5\0\1t\0x" * 100)
        peer.say(0x40, publish[6:8])
        await until(lambda: len(app.payloads()) > 2 * OVERFLOW)

    app = App(handle)
    async with scripted(first) as (url, over), client(app, url, subscribe=(), max_unacked=2, client_id="one"):
        await asyncio.wait_for(over.wait(), LIMIT)
        await until(lambda: len(lines(log)) >= 3)
    dropped = 101 - len(app.payloads())
    assert 0 < dropped <= 100 - 2 * OVERFLOW + 1
    assert lines(log)[:2] == [
        "mqtt one: too slow; messages at QoS 0 are dropped",
        f"mqtt one: {dropped} messages at QoS 0 were dropped",
    ]


async def test_stop_acknowledges_what_has_arrived(broker: Mosquitto) -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def handle(event: Any, send: Any) -> None:
        running.set()
        await release.wait()

    app = App(handle)
    server = MQTTClient(app, settings(broker.url), state={})
    await server.start()
    await ready(server)
    broker.publish("t", "one", "-q", "1")
    broker.publish("t", "two", "-q", "1")
    await until(lambda: server.active() == {"mqtt": 2})
    stopping = asyncio.ensure_future(server.stop(LIMIT))
    await asyncio.sleep(0.02)
    broker.publish("t", "three", "-q", "1")
    release.set()
    await stopping
    assert server.status.state == "stopped"
    assert app.payloads() == [b"one", b"two"]
    again = App()
    async with MQTTClient(again, settings(broker.url), state={}):
        await until(lambda: again.payloads() == [b"three"])


async def test_stop_gives_up_on_what_does_not_finish(broker: Mosquitto) -> None:
    cancelled = asyncio.Event()

    async def handle(event: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    app = App(handle)
    server = MQTTClient(app, settings(broker.url), state={})
    await server.start()
    await ready(server)
    broker.publish("t", "one", "-q", "1")
    await until(lambda: server.active() == {"mqtt": 1})
    async with asyncio.timeout(LIMIT):
        await server.stop(0.05)
    assert cancelled.is_set()
    again = App()
    async with MQTTClient(again, settings(broker.url), state={}):
        await until(lambda: again.payloads() == [b"one"])


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_publication_whose_id_was_anothers_a_moment_ago_gets_its_own_answer(
    qos: int, log: pytest.LogCaptureFixture
) -> None:
    """With a window of one, each begins in the moment in which the one before it is answered."""
    with mosquitto(lines=("max_inflight_messages 1",)) as broker:
        async with client(App(), broker.url) as server:
            await ready(server)
            event = {"topic": "out", "payload": b"x", "qos": qos}
            async with asyncio.timeout(LIMIT / 2):
                await asyncio.gather(*(server.publish(event) for _ in range(20)))
    assert not [line for line in lines(log) if "no answer" in line]


async def test_sending_to_a_lost_broker_raises_disconnected(broker: Mosquitto, log: pytest.LogCaptureFixture) -> None:
    raised: list[BaseException] = []

    async def handle(event: Any, send: Any) -> None:
        broker.stop(signal.SIGKILL)
        try:
            for _ in range(100):
                await send({"type": "mqtt.send", "topic": "out", "payload": b"x", "qos": 1})
        except Disconnected as error:
            raised.append(error)
            raise

    async with client(App(handle), broker.url) as server:
        await ready(server)
        broker.publish("t", "x", "-q", "1")
        await until(lambda: raised)
        await until(lambda: "next try" in server.status.detail)
    assert not [record for record in log.records if record.exc_info]


async def test_a_brokers_last_words_are_heard() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")
        await asyncio.sleep(0.02)
        writer.write(b"\xe0\x02\x8e\x00")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        app = App()
        url = f"mqtt://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with client(app, url, subscribe=(), retry=5.0) as server:
            await until(lambda: "next try" in server.status.detail)
            assert "another client has taken over our client id" in server.status.detail
    assert (app.events[-1]["reason_code"], app.events[-1]["clean"]) == (0x8E, False)


async def test_a_broker_that_still_sends_reads_our_last_words_before_its_socket_fails() -> None:
    """Mosquitto gives a connection up when it cannot write to it, and would lose the PUBACKs that it has not read."""

    async def serve(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(1, b"one", qos=1)
        assert (await peer.read())[:3] == b"\x40\0\1"
        stopping.set()
        assert (await peer.read())[0] == 0xE0
        for packet_id in range(2, 12):
            peer.publish(packet_id, bytes(100), qos=1)
            await asyncio.sleep(0.02)  # for a reset to arrive
        with pytest.raises(asyncio.IncompleteReadError):  # a FIN, and no answer
            await peer.read()

    stopping, app = asyncio.Event(), App()
    async with scripted(serve) as (url, over), client(app, url, subscribe=()):
        await asyncio.wait_for(stopping.wait(), LIMIT)
    assert over.is_set(), "the broker has closed first"
    assert app.payloads() == [b"one"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://x"},
        {"url": "mqtt://"},
        {"url": "mqtt://ann:secret@x"},
        {"url": "mqtt://x/path"},
        {"url": "mqtt://x", "subscribe": ("a/#/b",)},
        {"url": "mqtt://x:99999"},
        {"url": "ws://"},
        {"url": "wss://ann:secret@x/mqtt"},
        {"url": "mqtt://x", "parallel": 0},
        {"url": "mqtt://x", "max_unacked": 0},
        {"url": "mqtt://x", "max_unacked": 1000, "parallel": 100},
        {"url": "mqtt://x", "keepalive": 65536},
        {"url": "mqtt://x", "session_expiry": 2.0**32},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"url|subscribe|parallel|max_unacked|keepalive|session_expiry") as caught:
        MQTTClientSettings(**wrong)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("version", ["5.0", "3.1.1"])
async def test_a_message_that_is_too_large_does_not_hold_up_the_next(
    broker: Mosquitto, version: str, log: pytest.LogCaptureFixture
) -> None:
    """A broker of 5.0 drops it, and says nothing; one of 3.1.1 has not heard of our limit."""
    app = App()
    async with client(app, broker.url, version=version, max_packet=1000, client_id="one") as server:
        await ready(server)
        broker.publish("t/large", "x" * 5000, "-q", "1")
        broker.publish("t/small", "x", "-q", "1")
        await until(app.payloads)
        await until(lambda: not server.active())
    said = "mqtt one: a message to 't/large' is lost: its 5011 bytes are more than max_packet, 1000"
    assert lines(log) == ([said] if version == "3.1.1" else [])
    assert app.payloads() == [b"x"]
    again = App()
    async with client(again, broker.url, version=version, client_id="one") as server:
        await ready(server)
        broker.publish("t", "end", "-q", "1")
        await until(again.payloads)
    assert again.payloads() == [b"end"]
