"""Traces by way of another broker, a real Mosquitto: in and out by MQTT 5's user properties; 3.1.1 has no place."""

from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from gateway_traced import Traced, handlers, traced
from servers.mosquitto import Mosquitto, mosquitto
from servers.traced_device import SENT, SPAN, STATE, TRACE, UNSAMPLED, Device
from waiting import until

HANDLERS = """
from gateway import AsyncMqttConsumer


class Things(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await self.publish("answers", payload)
"""
FILE = """
servers:
  plant: {protocol: mqtt-client, url: "BROKER", subscribe: ["things/#"], version: "VERSION"}
routes:
  mqtt: [{topic: things/+, app: traced_handlers.Things, inbox: INBOX}]
store: sqlite:traced.db
log: {level: warning}
tracing: {endpoint: "COLLECTOR", sample: SAMPLE, trust: [plant]}
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with mosquitto() as server:
        yield server


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path) -> Iterator[None]:
    with handlers(tmp_path, HANDLERS):
        yield


def file(broker: Mosquitto, version: str, *, inbox: bool, sample: str) -> str:
    values = {"BROKER": broker.url, "VERSION": version, "INBOX": str(inbox).lower(), "SAMPLE": sample}
    text = FILE
    for name, value in values.items():
        text = text.replace(name, value)
    return text


async def asked(gateway: Traced, device: Device, payload: bytes, **fields: str) -> dict[str, str]:
    """Publish by the broker. Return the user properties of what the handler publishes there."""
    await until(lambda: gateway.gateway.servers.named("plant").status.state == "ready")
    await device.publish("things/1", payload, **fields)
    await until(lambda: [each for each in device.got if each.payload == payload])
    answer = next(each for each in device.got if each.payload == payload)
    return dict(answer.properties.json().get("UserProperty", []))


@pytest.mark.parametrize("inbox", [False, True])
async def test_a_trace_goes_in_and_out_by_mqtt_5(broker: Mosquitto, inbox: bool) -> None:
    async with traced(file(broker, "5.0", inbox=inbox, sample="0%")) as gateway:
        device = Device(broker.port)
        await device.subscribe("answers")
        got = await asked(gateway, device, b"sampled", traceparent=SENT, tracestate=STATE)
        created = await gateway.span("create mqtt")
        assert got == {"traceparent": f"00-{TRACE}-{created.id}-01", "tracestate": STATE}
        message = await gateway.span("receive things/+" if inbox else "process things/+")
        assert (message.trace, message.parent, message.attributes["gateway.server"]) == (TRACE, SPAN, "plant")
        before = len(gateway.collector.named("create mqtt"))
        unsampled = await asked(gateway, device, b"unsampled", traceparent=UNSAMPLED, tracestate=STATE)
        assert unsampled == {"traceparent": UNSAMPLED, "tracestate": STATE}
        await asked(gateway, device, b"at last", traceparent=SENT)
        await until(lambda: len(gateway.collector.named("create mqtt")) > before)
        assert len(gateway.collector.named("create mqtt")) == before + 1, "the unsampled one has none"
        device.close()


@pytest.mark.parametrize("inbox", [False, True])
@pytest.mark.parametrize("sender", [paho.MQTTv5, paho.MQTTv311])
async def test_at_3_1_1_nothing_goes_in_or_out(
    broker: Mosquitto, inbox: bool, sender: paho.MQTTProtocolVersion, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is handled has a trace of its own, and its answer is as it would be without tracing."""
    async with traced(file(broker, "3.1.1", inbox=inbox, sample="100%")) as gateway:
        listener, device = Device(broker.port), Device(broker.port, sender)
        await listener.subscribe("answers")
        await until(lambda: gateway.gateway.servers.named("plant").status.state == "ready")
        fields = {"traceparent": SENT} if sender == paho.MQTTv5 else {}
        await device.publish("things/1", b"hello", **fields)
        await until(lambda: listener.got)
        assert listener.got[0].properties.json() == {}
        message = await gateway.span("receive things/+" if inbox else "process things/+")
        assert message.trace != TRACE
        assert (message.parent, message.links) == ("", ())
        assert (await gateway.span("create mqtt")).trace == message.trace
        assert capfd.readouterr().err == ""
        for each in (listener, device):
            each.close()
