"""`gateway reload --reconnect`: connections of earlier generations end as their protocols say, and lose nothing."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import gmqtt
import httpx
import pytest
from mqtt_paho import Paho
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from servers.command import run
from servers.gateway_process import GatewayProcess
from servers.mosquitto import Mosquitto, mosquitto
from servers.ports import free_port
from servers.programs import program
from servers.site import until
from waiting import until as reached
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

HANDLERS = """
import asyncio
from pathlib import Path

started = 0

def note(*what):
    with Path("handled").open("a") as file:
        file.write(" ".join(map(str, what)) + "\\n")

async def app(scope, receive, send):
    await globals()[scope["type"]](scope, receive, send, (scope.get("state") or {}).get("generation"))

async def lifespan(scope, receive, send, _):
    global started
    await receive()
    started += 1
    scope["state"]["generation"] = started
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("ended", scope["state"]["generation"])
    await send({"type": "lifespan.shutdown.complete"})

async def http(scope, receive, send, generation):
    await receive()
    stream = scope["path"] == "/events"
    kind = b"text/event-stream" if stream else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"data: %d\\n\\n" % generation, "more_body": stream})
    while stream and (await receive())["type"] != "http.disconnect":
        pass

async def websocket(scope, receive, send, generation):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(generation)})
    note("websocket", generation, event["code"])

async def mqtt(scope, receive, send, generation):
    await receive()
    await send({"type": "mqtt.accept"})
    while (event := await receive())["type"] == "mqtt.receive":
        payload = event["payload"].decode()
        note("begins", payload, generation)
        if payload == "slow" and generation == 1:
            await asyncio.sleep(0.3)
        if payload == "stuck" and generation == 1:
            await asyncio.sleep(3600)
        note(payload, generation)
        if event["id"] is not None:
            await send({"type": "mqtt.ack", "id": event["id"]})
    note(scope["client_id"], generation, hex(event["reason_code"]))

async def email(scope, receive, send, generation):
    await receive()
    note("mail", generation)
    await send({"type": "email.accept"})
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  devices:
    protocol: mqtt
    bind: 127.0.0.1:{devices}
    anonymous: true
    websocket: {{on: web}}
    disconnect_grace: 1s
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}
  {more}
application: reconnect_handlers.app
shutdown_timeout: 1s
log: {{level: info}}
"""
LETTER = "Subject: x\r\n\r\nhello\r\n"


class Daemon(GatewayProcess):
    def __init__(self, folder: Path, more: str = "") -> None:
        self.web, self.devices, self.mail = free_port(), free_port(), free_port()
        text = FILE.format(web=self.web, devices=self.devices, mail=self.mail, more=more)
        super().__init__(folder, "reconnect_handlers", HANDLERS, text)
        self.start()
        until(lambda: "try:" in self.output() or "ready" in self.output(), self.output)
        until(self.answers, self.output)

    def answers(self) -> bool:
        with contextlib.suppress(httpx.ConnectError):
            return httpx.get(f"http://127.0.0.1:{self.web}/").text == "data: 1\n\n"
        return False

    def reload(self, *options: str) -> "subprocess.CompletedProcess[str]":
        done = run(self.folder, "reload", *options)
        assert done.returncode == 0, done.stderr
        return done

    def handled(self) -> list[str]:
        file = self.folder / "handled"
        return file.read_text().splitlines() if file.exists() else []

    def until_handled(self, *lines: str) -> None:
        until(lambda: set(lines) <= set(self.handled()), lambda: f"{self.handled()}\n{self.output()}")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    yield made
    made.stop(signal.SIGKILL)


def told(done: "subprocess.CompletedProcess[str]") -> str:
    return done.stdout.splitlines()[-1]


def test_a_client_of_mqtt_is_told_0x98_or_closed_and_its_session_stays(daemon: Daemon) -> None:
    five = Paho(daemon.devices, "five", 5, clean=False, expiry=60, will=("gone", b"five", 0, False))
    three = Paho(daemon.devices, "three", 4, clean=False, expiry=60)
    with five, three:
        five.subscribe("#")
        daemon.reload("--force")
        assert told(daemon.reload("--reconnect")) == "2 of 2 connections of earlier generations told to connect again"
        assert five.lost.get(timeout=10) == 0x98
        three.lost.get(timeout=10)
    daemon.until_handled("five 1 0x98", "three 1 0x98", "ended 1")
    with Paho(daemon.devices, "five", 5, clean=False, expiry=60) as again:
        assert again.present, "its session is there"
        assert told(daemon.reload("--reconnect")) == "0 of 0 connections of earlier generations told to connect again"
        assert again.lost.empty()


def test_a_will_is_published_as_where_an_operator_disconnects_a_client(daemon: Daemon) -> None:
    dying = Paho(daemon.devices, "dying", 5, will=("gone", b"dying", 0, False))
    with dying:
        daemon.reload("--force")
        with Paho(daemon.devices, "watching", 5) as watching:
            watching.subscribe("gone")
            daemon.reload("--reconnect")
            assert watching.messages.get(timeout=10).payload == b"dying"
            assert watching.lost.empty()


def test_a_message_under_way_is_acknowledged_or_comes_again(daemon: Daemon) -> None:
    """The handler of the one ends in time, that of the other never. paho connects again by itself."""
    stuck = paho.Client(CallbackAPIVersion.VERSION2, client_id="stuck", clean_session=False)
    stuck.connect("127.0.0.1", daemon.devices)
    stuck.loop_start()
    with Paho(daemon.devices, "slow", 5, clean=False, expiry=60) as slow:
        slow.client.publish("t", "slow", qos=1)
        sent = stuck.publish("t", "stuck", qos=1)
        daemon.until_handled("begins slow 1", "begins stuck 1")
        daemon.reload("--force", "--reconnect")
        assert slow.published.get(timeout=10) == 0
        assert slow.lost.get(timeout=10) == 0x98
        sent.wait_for_publish(20)
        assert sent.is_published()
    stuck.disconnect()
    stuck.loop_stop()
    daemon.until_handled("slow 1", "stuck 2", "ended 1")
    assert "stuck 1" not in daemon.handled()


async def test_gmqtt_comes_again_by_itself(daemon: Daemon) -> None:
    client = gmqtt.Client("ann", session_expiry_interval=60)
    arrived: list[bytes] = []

    async def note(_: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        arrived.append(payload)
        return 0

    client.on_message = note
    await client.connect("127.0.0.1", daemon.devices, keepalive=60)
    client.subscribe("news", qos=1)
    await asyncio.to_thread(daemon.reload, "--force", "--reconnect")
    await asyncio.to_thread(daemon.until_handled, "ann 1 0x98")

    async def is_back() -> bool:
        client.publish("news", b"back", qos=1)
        await asyncio.sleep(0.1)
        return b"back" in arrived

    await reached(is_back)
    await asyncio.to_thread(daemon.until_handled, "back 2", "ended 1")
    await client.disconnect()


def test_a_websocket_is_closed_with_1012(daemon: Daemon) -> None:
    url = f"ws://127.0.0.1:{daemon.web}/"
    with connect(url) as old:
        old.send("x")
        assert old.recv(10) == "1"
        daemon.reload("--force")
        with connect(url) as new:
            assert told(daemon.reload("--reconnect")).startswith("1 of 1 connection ")
            with pytest.raises(ConnectionClosed) as closed:
                old.recv(10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            new.send("x")
            assert new.recv(10) == "2"
    daemon.until_handled("websocket 1 1012", "ended 1")


async def test_websockets_of_the_library_websockets_come_again_by_themselves(daemon: Daemon) -> None:
    told = []
    async for socket_ in connect_websocket(f"ws://127.0.0.1:{daemon.web}/"):
        try:
            await socket_.send("x")
            told.append(await socket_.recv())
            if len(told) == 1:
                await asyncio.to_thread(daemon.reload, "--force", "--reconnect")
                await socket_.recv()
            await socket_.close()
            break
        except ConnectionClosed:
            continue
    assert told == ["1", "2"]


def test_a_device_over_websocket_is_told_by_mqtt(daemon: Daemon) -> None:
    with Paho(daemon.devices, "direct", 5):
        pass
    connected = _connect_packet(b"browser")
    with connect(f"ws://127.0.0.1:{daemon.web}/mqtt", subprotocols=["mqtt"]) as browser:
        browser.send(connected)
        assert browser.recv(10, decode=False)[:1] == b"\x20"
        daemon.reload("--force")
        assert told(daemon.reload("--reconnect")).startswith("1 of 1 connection ")
        assert browser.recv(10, decode=False)[::2][:2] == b"\xe0\x98"
    daemon.until_handled("browser 1 0x98", "ended 1")


def _connect_packet(name: bytes) -> bytes:
    body = b"\0\4MQTT\5\2\0\0\0" + len(name).to_bytes(2) + name
    return b"\x10" + bytes([len(body)]) + body


async def test_an_http_connection_closes_after_its_next_answer(daemon: Daemon) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{daemon.web}/", connector=connector) as session:

        async def ask() -> tuple[str, str]:
            async with session.get("") as answer:
                return await answer.text(), answer.headers.get("connection", "")

        assert await ask() == ("data: 1\n\n", "")
        await asyncio.to_thread(daemon.reload, "--force")
        assert await ask() == ("data: 2\n\n", "")
        done = await asyncio.to_thread(daemon.reload, "--reconnect")
        assert told(done).startswith("1 of 1 connection ")
        assert await ask() == ("data: 2\n\n", "close")
        assert await ask() == ("data: 2\n\n", ""), "on a connection of its own"


def test_an_event_stream_ends(daemon: Daemon) -> None:
    with httpx.stream("GET", f"http://127.0.0.1:{daemon.web}/events", timeout=10) as answer:
        parts = answer.iter_text()
        assert next(parts) == "data: 1\n\n"
        daemon.reload("--force", "--reconnect")
        with pytest.raises(httpx.RemoteProtocolError):  # without a last chunk: it may not look complete
            list(parts)
    daemon.until_handled("ended 1")


async def test_a_client_of_smtp_gets_421_between_two_messages(daemon: Daemon) -> None:
    async with contextlib.AsyncExitStack() as stack:
        idle, sending = (aiosmtplib.SMTP(hostname="127.0.0.1", port=daemon.mail, timeout=10) for _ in range(2))
        for client in (idle, sending):
            await client.connect()
            stack.callback(client.close)
            await client.ehlo()
        await sending.mail("a@example.net")
        await sending.rcpt("b@example.org")
        done = await asyncio.to_thread(daemon.reload, "--force", "--reconnect")
        assert told(done) == "2 of 2 connections of earlier generations told to connect again"
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPResponseException)):
            await idle.noop()
            await idle.noop()
        assert (await sending.data(LETTER)).code == 250
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPResponseException)):
            await sending.noop()
            await sending.noop()
        await asyncio.to_thread(daemon.until_handled, "mail 2")


def test_what_a_client_of_smtp_reads_is_421(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.mail), 10) as peer, peer.makefile("rwb") as lines:
        assert lines.readline().startswith(b"220 ")
        lines.write(b"HELO x\r\nMAIL FROM:<a@example.net>\r\n")
        lines.flush()
        assert [lines.readline()[:3] for _ in range(2)] == [b"250", b"250"]
        daemon.reload("--force", "--reconnect")
        lines.write(b"RSET\r\n")
        lines.flush()
        assert [lines.readline()[:4] for _ in range(3)] == [b"250 ", b"421 ", b""]


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with mosquitto(lines=("max_queued_messages 0",)) as started:
        yield started


def test_our_client_of_a_broker_connects_again_at_once_and_loses_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    lines = (
        f'broker: {{protocol: mqtt-client, url: "{broker.url}", client_id: us, subscribe: ["t"], qos: 1, retry: 60s}}'
    )
    daemon = Daemon(tmp_path, lines)
    try:

        def publish_until_handled(payload: str) -> None:
            broker.publish("t", payload, "-q", "1")
            until(lambda: any(line.startswith(f"{payload} ") for line in daemon.handled()), daemon.output)

        until(lambda: _subscribed(broker, daemon), daemon.output)
        publish_until_handled("first")
        daemon.reload("--force")
        payloads = [f"m{number}" for number in range(200)]
        with subprocess.Popen(
            [program("mosquitto_pub"), "-p", str(broker.port), "-t", "t", "-q", "1", "-l"], stdin=subprocess.PIPE
        ) as source:
            assert source.stdin is not None
            for number, payload in enumerate(payloads):
                source.stdin.write(f"{payload}\n".encode())
                source.stdin.flush()
                if number == 100:  # the first ones are for the application of before
                    until(lambda: any(line.startswith("m0 ") for line in daemon.handled()), daemon.output)
                    assert told(daemon.reload("--reconnect")).startswith("1 of 1 connection ")
            source.stdin.close()
        until(lambda: {line.split()[0] for line in daemon.handled()} >= set(payloads), daemon.output)
        seen = [line for line in daemon.handled() if line.startswith("m")]
        assert len(seen) == len(payloads), "each once"
        assert {line.split()[1] for line in seen} == {"1", "2"}
        assert "connecting again after a reload" in daemon.output()
        assert "next try" not in daemon.output()
        daemon.until_handled("ended 1")
    finally:
        daemon.stop(signal.SIGKILL)


def _subscribed(broker: Mosquitto, daemon: Daemon) -> bool:
    broker.publish("t", "probe", "-q", "1")
    return any(line.startswith("probe ") for line in daemon.handled())


def test_connections_end_at_a_rate_and_what_is_done_is_told(daemon: Daemon) -> None:
    """Four a second are told one after the other, and the answers come meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(connect(f"ws://127.0.0.1:{daemon.web}/"))
        done = daemon.reload("--force", "--reconnect", "--rate", "4", "--json")
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert "reading" in answers[0]
    assert answers[1]["done"]["result"] == "reloaded"
    progress = [(each["reconnecting"]["asked"], each["reconnecting"]["total"]) for each in answers[2:]]
    assert progress[0][0] < 6, "the answers come meanwhile"
    assert {total for _, total in progress} == {6}
    assert [asked for asked, total in progress if asked == total] == [6]
    until(lambda: "6 connections of earlier generations told to connect again" in daemon.output(), daemon.output)


def test_a_mistake_ends_no_connection(daemon: Daemon) -> None:
    with connect(f"ws://127.0.0.1:{daemon.web}/") as old:
        daemon.reload("--force")
        (daemon.folder / "gateway.yaml").write_text("servers: [")
        done = run(daemon.folder, "reload", "--reconnect")
        assert done.returncode == 2
        assert "reconnect" not in done.stdout
        old.send("x")
        assert old.recv(10) == "1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--check", "--reconnect"), "--check changes nothing"),
        (("--code", "--reconnect"), "--code ends the old connections anyway"),
        (("--rate", "5"), "--rate: write --reconnect as well"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, "reload", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_gateway_that_stops_meanwhile_is_no_success(daemon: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(f"ws://127.0.0.1:{daemon.web}/"))
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", "reload", "--force", "--reconnect", "--rate", "1"],
            cwd=daemon.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            until(lambda: "generation 2, " in daemon.output(), daemon.output)
            daemon.signal(signal.SIGTERM)
            _, said = command.communicate(timeout=20)
    assert (command.returncode, said) == (1, "the gateway was stopped before it answered\n")
    until(lambda: "of 3 connections of earlier generations told to connect again" in daemon.output(), daemon.output)
