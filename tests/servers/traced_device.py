"""A device that says by MQTT 5 to which trace its messages belong, and such a trace."""

import asyncio
from collections.abc import Sequence

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
STATE = "rojo=00f067aa0ba902b7,tenant@vendor=t61rcWkgMzE"


class Device:
    """paho, an MQTT client of somebody else's; of MQTT 5 unless ``version`` says otherwise."""

    def __init__(self, port: int, version: MQTTProtocolVersion = paho.MQTTv5) -> None:
        self.got: list[paho.MQTTMessage] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=version)
        self._client.on_message = lambda client, data, message: self.got.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    async def subscribe(self, topic: str) -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._client.on_subscribe = lambda *_: loop.call_soon_threadsafe(done.set)
        self._client.subscribe(topic, 1)
        await done.wait()

    async def publish(self, topic: str, payload: bytes = b"21.5", qos: int = 1, **fields: str) -> None:
        await self.publish_pairs(topic, list(fields.items()), payload, qos)

    async def publish_pairs(
        self, topic: str, fields: Sequence[tuple[str, str]], payload: bytes = b"21.5", qos: int = 1
    ) -> None:
        """``fields``: the user properties."""
        properties = Properties(PacketTypes.PUBLISH) if fields else None
        if properties is not None:
            properties.UserProperty = list(fields)
        sent = self._client.publish(topic, payload, qos, properties=properties)
        await asyncio.to_thread(sent.wait_for_publish, 10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
