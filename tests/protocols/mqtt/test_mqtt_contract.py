"""MQTT keeps the contract of every server."""

import asyncio
from typing import Any, ClassVar

import mqtt5_wire
import mqtt_peer as wire
from contract import Outcome, SessionContract, SessionDriver, connect

from protocols.asgi import MQTTScope
from protocols.mqtt import MQTTServer, MQTTSettings
from protocols.server import Server


class MQTTDriver(SessionDriver):
    scope_type = "mqtt"
    scope = MQTTScope
    disconnect = "mqtt.disconnect"
    garbage: ClassVar[list[bytes]] = [
        bytes(10_000),
        b"\xff" * 10_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\x10\xff\xff\xff\x7f",
        b"\x10\xff\xff\xff\xff\xff",
        b"\x10\x10never ends",
        wire.PINGREQ + wire.connect(),
        wire.connect()[:-1] + b"\xff",
        wire.connect() * 2,
        wire.connect() + b"\x00" * 1000,
        wire.connect() + b"\x34\x05\x00\x01a\x00\x01",
        wire.connect() + wire.subscribe(("#/#", 1), ("/" * 60_000, 1)) * 3,
        wire.connect() + wire.publish("/" * 60_000, packet_id=1),
        wire.connect() + wire.PINGREQ * 20_000,
        wire.connect() + wire.publish("a", bytes(1000)) * 5000,
    ]

    def server(self, app: Any, bind: str = "127.0.0.1:0", state: dict[str, Any] | None = None) -> Server:
        return MQTTServer(app, MQTTSettings(bind=bind), state=state)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "mqtt":
            raise NotImplementedError
        while (event := await receive())["type"] != "mqtt.disconnect":
            if event["type"] == "mqtt.connect":
                await send({"type": "mqtt.accept"})
            elif event["id"] is not None:
                await send({"type": "mqtt.ack", "id": event["id"]})

    async def exchange(self, address: str) -> Outcome:
        async with wire.Peer(*await connect(address)) as peer:
            # A client may go on before it has its CONNACK (3.1.4).
            await peer.say(wire.connect(), wire.publish("a", b"x", packet_id=7))
            self.heard = await peer.hear()
            if self.heard == wire.CONNACK:
                self.heard += await peer.hear()
            await peer.say(wire.DISCONNECT)
            return "done" if self.heard == wire.CONNACK + wire.puback(7) else "failed"

    async def leave(self, address: str, running: asyncio.Event) -> None:
        async with wire.Peer(*await connect(address)) as peer:
            await peer.say(wire.connect())
            await running.wait()


class TestMQTTContract(SessionContract):
    driver_class = MQTTDriver


class MQTT5Driver(MQTTDriver):
    garbage: ClassVar[list[bytes]] = [
        *MQTTDriver.garbage,
        mqtt5_wire.connect() * 2,
        mqtt5_wire.connect()[:-1] + b"\xff",
        mqtt5_wire.connect() + mqtt5_wire.publish("", topic_alias=9),
        mqtt5_wire.connect() + mqtt5_wire.pubrel(1) * 20_000,
        mqtt5_wire.connect() + mqtt5_wire.publish("a", bytes(1000), 2, 1, dup=True) * 5000,
        mqtt5_wire.connect() + mqtt5_wire.publish("a", user_property=[("", "")] * 40_000),
        mqtt5_wire.connect() + mqtt5_wire.auth(0x19, authentication_method="x"),
        mqtt5_wire.connect(authentication_method="x") + bytes(1000),
    ]

    async def exchange(self, address: str) -> Outcome:
        async with wire.Peer(*await connect(address)) as peer:
            await peer.say(mqtt5_wire.connect(), mqtt5_wire.publish("a", b"x", 2, 7))
            heard = []
            while (data := await peer.hear()) and (heard := [*heard, mqtt5_wire.read(data)])[-1].kind != "PUBREC":
                pass
            accepted = [each[:3] for each in heard] == [("CONNACK", 0, 0), ("PUBREC", 7, 0)]
            await peer.say(wire.DISCONNECT)
            return "done" if accepted else "failed"

    async def leave(self, address: str, running: asyncio.Event) -> None:
        async with wire.Peer(*await connect(address)) as peer:
            await peer.say(mqtt5_wire.connect())
            await running.wait()


class TestMQTT5Contract(SessionContract):
    driver_class = MQTT5Driver
