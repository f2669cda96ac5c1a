"""What an MQTT server has and drops, while Mosquitto's clients use it."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_raw import connect, subscribe
from servers.measured import Measured
from servers.programs import program
from servers.site import until

LIMIT = 15.0
FILE = """
servers:
  devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", anonymous: true, sys_interval: 0, max_queued_all: 64kb,
    max_unsent: 4kb}
routes: {mqtt: handlers.Device}
log: {level: error}
"""
HANDLERS = """
from gateway import AsyncMqttConsumer

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Measured]:
    running = Measured(tmp_path, FILE, HANDLERS)
    yield running
    running.close()


def client(site: Measured, name: str, *options: str) -> list[str]:
    return [program(name), "-h", "127.0.0.1", "-p", str(site.port["devices"]), *options]


def publish(site: Measured, topic: str, *options: str, qos: int = 1, lines: str = "") -> None:
    command = client(site, "mosquitto_pub", "-t", topic, "-q", str(qos), *options)
    subprocess.run(command, input=lines, text=True, check=True, timeout=LIMIT, capture_output=True)


@contextlib.contextmanager
def subscribed(site: Measured, *options: str) -> Iterator[None]:
    """A mosquitto_sub whose session stays when it leaves, which it does at the end."""
    command = client(site, "mosquitto_sub", "-i", "away", "-c", "-q", "1", *options)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as subscriber:
        site.becomes(0, "gateway_mqtt_sessions_away", server="devices")
        until(lambda: site.value("gateway_mqtt_subscriptions", server="devices"), "it has subscribed")
        yield
        subscriber.terminate()
    site.becomes(1, "gateway_mqtt_sessions_away", server="devices")


def test_sessions_subscriptions_and_what_waits_for_a_client_that_is_away(site: Measured) -> None:
    of = {"server": "devices"}
    assert site.number("gateway_mqtt_sessions", **of) == site.number("gateway_mqtt_subscriptions", **of) == 0
    with subscribed(site, "-t", "a/#", "-t", "b"):
        site.becomes(2, "gateway_mqtt_subscriptions", **of)
        assert site.number("gateway_mqtt_sessions", **of) == 1
        assert site.number("gateway_in_flight", **of, type="mqtt") == 1
    assert site.number("gateway_mqtt_sessions", **of) == 1
    assert site.number("gateway_mqtt_subscriptions", **of) == 2
    publish(site, "a/b", "-m", "x" * 1000)
    waiting = site.number("gateway_mqtt_queued_bytes", **of)
    assert 1000 <= waiting < 2000
    publish(site, "a/b", "-m", "x" * 1000)
    assert site.number("gateway_mqtt_queued_bytes", **of) == 2 * waiting
    with subscribed(site, "-t", "a/#", "-t", "b"):
        site.becomes(0, "gateway_mqtt_queued_bytes", **of)


def test_more_than_may_wait(site: Measured) -> None:
    of = {"server": "devices"}
    limit = site.number("gateway_mqtt_queued_limit_bytes", **of)
    assert limit == 64 * 1000
    with subscribed(site, "-t", "a"):
        pass
    publish(site, "a", "-l", lines=("x" * 1000 + "\n") * 100)
    refused = site.number("gateway_mqtt_queue_refusals_total", **of)
    assert 100 - limit / 1000 <= refused < 60
    assert limit - 2000 < site.number("gateway_mqtt_queued_bytes", **of) <= limit


def test_retained_messages(site: Measured) -> None:
    for number, topic in enumerate(("a", "b", "c")):
        publish(site, topic, "-m", "x", "-r")
        site.becomes(number + 1, "gateway_mqtt_retained_messages", server="devices")
    publish(site, "b", "-n", "-r")
    site.becomes(2, "gateway_mqtt_retained_messages", server="devices")


def test_each_packet_behind_the_first(site: Measured) -> None:
    """Five messages at QoS 1, three at QoS 2 with a PUBREL each, and a DISCONNECT of each client."""
    publish(site, "a", "-l", lines="x\n" * 5)
    publish(site, "a", "-l", lines="x\n" * 3, qos=2)
    site.becomes(5 + 1 + 2 * 3 + 1, "gateway_mqtt_packets_received_total", server="devices")


def test_messages_to_a_client_that_does_not_read(site: Measured) -> None:
    """Its system takes some hundred kilobytes for it; of the rest, most is dropped."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.port["devices"]))
        deaf.sendall(connect(4, "deaf") + subscribe(4, 1, [("a", 0)]))
        site.becomes(1, "gateway_mqtt_subscriptions", server="devices")
        assert site.number("gateway_mqtt_messages_dropped_total", server="devices") == 0
        publish(site, "a", "-l", qos=0, lines=("x" * 100_000 + "\n") * 100)
        site.passes(50, "gateway_mqtt_messages_dropped_total", server="devices")
        assert site.number("gateway_mqtt_messages_dropped_total", server="devices") < 100
