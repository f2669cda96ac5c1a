"""MQTT 3.1.1 and 5.0 through the daemon: paho, Mosquitto's clients and `gateway send` in front, consumers behind."""

import json
import queue
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from servers.certificates import make
from servers.command import run, without_route
from servers.daemon import Daemon
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE, until

from protocols.access.users import hash_password
from protocols.mqtt.server import _detail
from protocols.mqtt.settings import MQTTSettings, MQTTWebSocket
from protocols.net.tls import TLS

HANDLERS = """
from gateway import AsyncMqttConsumer, MqttConsumer

ELSEWHERE = {"server_reference": "other.example.org:1883"}


class Shop(MqttConsumer):
    def connect(self, message):
        if message["username"] == "moved":
            self.reject(0x9C, ELSEWHERE)
        else:
            self.accept({"user_property": [("shop", "open")]})

    def subscribe(self, filters):
        return [0x87 if topic_filter.startswith("private/") else qos for topic_filter, qos in filters]

    def receive(self, topic, payload, qos, properties):
        if topic == "crash":
            raise ValueError("no such order")
        if topic == "never":
            self.reject_message(0x99, "that is not a number")
        elif topic == "close":
            self.close(0x98)
        elif topic == "tell":
            self.publish("told", payload, qos=qos, properties={"content_type": "text/plain"})
        else:
            print("got", topic, qos, payload.decode(), dict(sorted(properties.items())), flush=True)
            self.reply(payload.upper(), qos=1)


class AsyncShop(AsyncMqttConsumer):
    async def connect(self, message):
        if message["username"] == "moved":
            await self.reject(0x9C, ELSEWHERE)
        else:
            await self.accept({"user_property": [("shop", "open")]})

    async def subscribe(self, filters):
        return [0x87 if topic_filter.startswith("private/") else qos for topic_filter, qos in filters]

    async def receive(self, topic, payload, qos, properties):
        if topic == "crash":
            raise ValueError("no such order")
        if topic == "never":
            self.reject_message(0x99, "that is not a number")
        elif topic == "close":
            await self.close(0x98)
        elif topic == "tell":
            await self.publish("told", payload, qos=qos, properties={"content_type": "text/plain"})
        else:
            print("got", topic, qos, payload.decode(), dict(sorted(properties.items())), flush=True)
            await self.reply(payload.upper(), qos=1)
"""
FILE = """
servers:
  devices: {{protocol: mqtt, bind: "127.0.0.1:{devices}"}}
  secure:
    protocol: mqtt
    bind: "127.0.0.1:{secure}"
    tls: {{certificate: "{certificate}", key: "{key}"}}
    users: {{ann: "{hash}"}}
    acl: [{{allow: publish, topic: "orders/#"}}]
routes:
  mqtt: {{app: mqtt_handlers.{consumer}{policy}}}
"""
VERSIONS = [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]
VERSION_5 = MQTTProtocolVersion.MQTTv5
SECURE = ("--server", "secure")
ANN = ("--username", "ann", "--password")


class Shop:
    """A running daemon over one of the consumers above."""

    def __init__(self, folder: Path, consumer: str, policy: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        tls = make(folder)
        (folder / "mqtt_handlers.py").write_text(HANDLERS)
        (folder / "gateway.yaml").write_text(
            FILE.format(
                devices=self.port,
                secure=free_port(),
                certificate=tls.certificate,
                key=tls.key,
                hash=hash_password(b"secret"),
                consumer=consumer,
                policy=policy,
            )
        )
        self.daemon = Daemon(folder)
        self.daemon.says("try:")

    def send(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """``gateway send mqtt``: its exit code and what it says."""
        done = run(self.folder, "send", "mqtt", *arguments, **environment)
        assert "Traceback" not in done.stderr
        return done.returncode, without_route(done.stdout) + done.stderr

    def crashes(self) -> list[str]:
        return [line for line in self.daemon.lines if line.startswith("ERROR")]


@pytest.fixture(scope="module", params=["Shop", "AsyncShop"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"), request.param)
    yield made
    made.daemon.close()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, "Shop", ", inbox: true, attempts: 2, backoff: 50ms")
    yield made
    made.daemon.close()


class Client:
    """paho, on its own thread; what it hears is in queues."""

    def __init__(self, port: int, version: MQTTProtocolVersion, *, username: str = "", session: str = "") -> None:
        """With a ``session`` it comes back by itself, soon, and says again what was not acknowledged."""
        self.heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        clean: dict[str, Any] = {} if version == VERSION_5 else {"clean_session": not session}
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, session, protocol=version, reconnect_on_failure=bool(session), **clean
        )
        self.paho.reconnect_delay_set(0.1, 0.1)
        if username:
            self.paho.username_pw_set(username, "x")
        self.paho.on_connect = lambda client, data, flags, code, told: self._say("connack", (code.value, told))
        self.paho.on_disconnect = lambda client, data, flags, code, told: self._say("disconnect", code.value)
        self.paho.on_subscribe = lambda client, data, mid, codes, told: self._say("suback", [c.value for c in codes])
        self.paho.on_publish = lambda client, data, mid, code, told: self._say("puback", (code.value, told))
        self.paho.on_message = lambda client, data, message: self._say("message", message)
        given: dict[str, Any] = {}
        if version == VERSION_5:
            lives = Properties(PacketTypes.CONNECT)
            lives.SessionExpiryInterval = 60 if session else 0
            given = {"clean_start": not session, "properties": lives}
        self.paho.connect("127.0.0.1", port, **given)

    def _say(self, kind: str, what: Any) -> None:
        self.heard.put((kind, what))

    def __enter__(self) -> Self:
        self.paho.loop_start()
        self.code, self.told = self.hear("connack")
        return self

    def __exit__(self, *error: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()
        if (left := self.paho.socket()) is not None:
            left.close()

    def hear(self, kind: str) -> Any:
        """The next of that kind; fails at another."""
        found, what = self.heard.get(timeout=PATIENCE)
        assert found == kind, (found, what)
        return what


def said(shop: Shop, words: str) -> None:
    shop.daemon.says(words)


def test_the_start_page_says_who_may_connect(shop: Shop) -> None:
    lines = [" ".join(line.split()) for line in shop.daemon.lines]
    assert f"mqtt devices 127.0.0.1:{shop.port} ready 3.1.1, 5.0; anonymous: yes" in lines
    assert any(
        line.startswith("mqtt secure") and line.endswith("ready TLS; 3.1.1, 5.0; anonymous: no") for line in lines
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"persistence": True}, "anonymous: yes; persistent"),
        ({"websocket": MQTTWebSocket(on="web")}, "anonymous: yes; ws web/mqtt"),
        ({"password_file": "mqtt.users", "anonymous": True}, "anonymous: yes"),
        ({"tls": TLS("c", "k", client_ca="ca"), "certificate_user": True}, "anonymous: no; client certificates"),
    ],
)
def test_what_a_server_says_of_itself(settings: dict[str, Any], said: str) -> None:
    secure = "TLS; " if "tls" in settings else ""
    assert _detail(MQTTSettings(**settings)) == f"{secure}3.1.1, 5.0; {said}"


# Consumers.


def test_properties_reach_the_handler(shop: Shop) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "text/plain"
    properties.UserProperty = [("a", "1"), ("a", "2")]
    with Client(shop.port, VERSION_5) as client:
        assert client.told.json()["UserProperty"] == [("shop", "open")]
        client.paho.publish("orders/5", "five", 2, properties=properties)
        assert client.hear("puback")[0] == 0
    told = {"content_type": "text/plain", "user_property": [("a", "1"), ("a", "2")]}
    said(shop, f"got orders/5 2 five {told}")


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_device_of_3_1_1_is_served_by_the_same_consumer(shop: Shop, qos: int) -> None:
    with Client(shop.port, MQTTProtocolVersion.MQTTv311) as client:
        client.paho.publish(f"orders/old-{qos}", "four", qos)
        assert client.hear("puback")[0] == 0
    said(shop, f"got orders/old-{qos} {qos} four {{}}")


def test_what_a_handler_publishes_has_its_properties_in_5_and_arrives_in_both(shop: Shop) -> None:
    with Client(shop.port, VERSIONS[0]) as old, Client(shop.port, VERSIONS[1]) as new:
        for client in (old, new):
            client.paho.subscribe("told", 2)
            assert client.hear("suback") == [2]
        new.paho.publish("tell", "news", 2)
        heard = [
            old.hear("message"),
            *[what for kind, what in (new.heard.get(timeout=PATIENCE) for _ in "12") if kind == "message"],
        ]
    assert [(each.topic, each.payload, each.qos) for each in heard] == [("told", b"news", 2)] * 2
    assert heard[1].properties.ContentType == "text/plain"


def test_mosquitto_s_request_is_replied_to(shop: Shop) -> None:
    command = [program("mosquitto_rr"), "-p", str(shop.port), "-V", "5", "-q", "1", "-W", "15"]
    command += ["-t", "orders/asked", "-e", "answers/7", "-m", "hello", "-D", "publish", "correlation-data", "c-1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "HELLO\n"), done.stderr


@pytest.mark.parametrize(("version", "refused"), [(VERSIONS[0], 0x80), (VERSIONS[1], 0x87)])
def test_a_consumer_decides_who_may_subscribe(shop: Shop, version: Any, refused: int) -> None:
    with Client(shop.port, version) as client:
        client.paho.subscribe(
            [("private/x", 1), ("public/x", 1)]
            if version == VERSIONS[0]
            else [("private/x", paho.SubscribeOptions(qos=1)), ("public/x", paho.SubscribeOptions(qos=1))]
        )
        assert client.hear("suback") == [refused, 1]


def test_a_consumer_sends_a_device_elsewhere(shop: Shop) -> None:
    with Client(shop.port, VERSION_5, username="moved") as client:
        assert client.code == 0x9C
        assert client.told.json()["ServerReference"] == "other.example.org:1883"
    with Client(shop.port, VERSIONS[0], username="moved") as client:
        assert client.code == 0x88  # paho's word for return code 3


def test_a_refusal_reaches_a_device_of_5_in_words(shop: Shop) -> None:
    """At QoS 2, where paho does not tell of it, `gateway send` does, below."""
    with Client(shop.port, VERSION_5) as client:
        client.paho.publish("never", "x", 1)
        code, told = client.hear("puback")
        assert (code, told.json().get("ReasonString")) == (0x99, "that is not a number")
        client.paho.publish("orders/next", "x", 1)
        assert client.hear("puback")[0] == 0


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_whose_handler_failed_stays_with_the_device(shop: Shop, version: Any, qos: int) -> None:
    """No acknowledgement, the connection closed with a code that says no more, one record in the log; and the device
    says it again on its next connection."""
    name = f"dev-{version.value}-{qos}"
    with Client(shop.port, version, session=name) as client:
        before = len(shop.crashes())
        client.paho.publish("crash", "x", qos)
        code = client.hear("disconnect")
        assert code == 0x80
        until(lambda: len(shop.crashes()) > before, "the crash is logged")
        assert re.search(r"ERROR +mqtt \S+ crash -> mqtt_handlers\.\w+: ValueError no such order$", shop.crashes()[-1])
        client.hear("connack")
        assert client.hear("disconnect") == 0x80
        until(lambda: len(shop.crashes()) >= before + 2, lambda: "\n".join(shop.crashes()))
    assert not any("Traceback" in line or "ExceptionGroup" in line for line in shop.daemon.lines)


# The inbox.


@pytest.mark.parametrize("version", VERSIONS)
def test_with_a_policy_the_device_is_acknowledged_and_the_message_becomes_a_dead_letter(
    inbox: Shop, version: Any
) -> None:
    with Client(inbox.port, version) as client:
        for qos in (1, 2):
            client.paho.publish("crash", "x", qos)
            assert client.hear("puback")[0] == 0
        client.paho.subscribe("private/x", 1)
        assert client.hear("suback") == [0x87 if version == VERSION_5 else 0x80]
        client.paho.publish("orders/7", "x", 1)
        assert client.hear("puback")[0] == 0
    said(inbox, "got orders/7 1 x {}")
    until(lambda: inbox.daemon.text.count("now among the dead letters") == 2, lambda: inbox.daemon.text)
    listed = json.loads(run(inbox.folder, "dead", "list", "--json").stdout)
    assert [each["attempts"] for each in listed] == [2, 2]


# gateway send mqtt. A command takes a second: what differs between the consumers is in the tests above.

ONE_SHOP = pytest.mark.parametrize("shop", ["Shop"], indirect=True, scope="module")


@ONE_SHOP
@pytest.mark.parametrize("version", ["3.1.1", "5.0"])
@pytest.mark.parametrize(
    ("qos", "answer"), [(0, "sent; QoS 0 has no acknowledgement"), (1, "acknowledged"), (2, "acknowledged")]
)
def test_send(shop: Shop, version: str, qos: int, answer: str) -> None:
    topic = f"orders/sent-{version}-{qos}"
    arguments = (topic, "x", "--qos", str(qos), "--mqtt-version", version, "--server", "devices", "--retain")
    assert shop.send(*arguments) == (0, f"{answer}\n")
    said(shop, f"got {topic} {qos} x {{}}")
    with Client(shop.port, VERSION_5) as later:
        later.paho.subscribe(topic, 1)
        later.hear("suback")
        assert later.hear("message").retain


@ONE_SHOP
def test_send_over_tls_with_a_password(shop: Shop) -> None:
    assert shop.send(*SECURE, *ANN, "secret", "orders/1", "x") == (0, "acknowledged\n")
    assert shop.send(*SECURE, *ANN[:2], "orders/1", "x", MQTT_PASSWORD="secret") == (0, "acknowledged\n")


@ONE_SHOP
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*SECURE, "orders/1", "x"], "refused: not authorized (0x87)"),
        ([*SECURE, "orders/1", "x", "--mqtt-version", "3.1.1"], "refused: not authorized (0x05)"),
        ([*SECURE, *ANN, "guess", "orders/1", "x"], "refused: bad user name or password (0x86)"),
        ([*SECURE, *ANN, "secret", "elsewhere", "x"], "refused: not authorized (0x87)"),
    ],
)
def test_send_says_in_words_why_a_server_refused_it(shop: Shop, arguments: list[str], said: str) -> None:
    assert shop.send(*arguments) == (1, f"{said}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["never", "x"], "refused: the payload is not what its format says (0x99)"),
        (["never", "x", "--qos", "2"], "refused: the payload is not what its format says (0x99)"),
        (["crash", "x"], "not acknowledged: the gateway closed the connection"),
        (["crash", "x", "--mqtt-version", "3.1.1"], "not acknowledged: the gateway closed the connection"),
        (["close", "x"], "not acknowledged: the gateway closed the connection: its operator has closed it (0x98)"),
        (["x", "x", "--username", "moved"], "refused: use another server (0x9C)"),
    ],
)
def test_send_says_in_words_what_the_handler_did(shop: Shop, arguments: list[str], said: str) -> None:
    assert shop.send(*arguments) == (1, f"{said}\n")


@ONE_SHOP
def test_what_is_no_topic_name_is_told_before_it_leaves(shop: Shop) -> None:
    code, words = shop.send("orders/#", "x")
    assert (code, words) == (2, "cannot send: 'orders/#' is not a topic to publish to: + and # are for subscribers\n")


def test_two_gateways_do_not_keep_the_sessions_of_one_server(tmp_path: Path) -> None:
    (tmp_path / "shop_handlers.py").write_text(HANDLERS)
    text = (
        "store: sqlite:gateway.db\nservers: {{devices: {{protocol: mqtt, bind: '127.0.0.1:{}', persistence: true}}}}\n"
    )
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text(text.format(free_port()) + "routes: {mqtt: shop_handlers.Shop}\n")
    first = Daemon(tmp_path, "one.yaml")
    try:
        first.says("persistent")
        second = Daemon(tmp_path, "two.yaml")
        try:
            assert second.wait() == 3
            assert second.lines == [
                "ERROR   cannot start: servers.devices: its sessions: "
                "mqtt devices is kept by another gateway that is running"
            ]
        finally:
            second.close()
    finally:
        first.close()
