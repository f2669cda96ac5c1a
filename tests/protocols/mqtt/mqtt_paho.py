"""A client of paho's, of either version, on a thread of its own; what it hears is in queues."""

import itertools
import queue
import socket
from typing import Any, Self, cast

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

LIMIT = 10.0
"""Seconds that any wait may take."""

_VERSIONS = {4: MQTTProtocolVersion.MQTTv311, 5: MQTTProtocolVersion.MQTTv5}

_words = itertools.count()


def properties(kind: str, **given: Any) -> Properties:
    made = Properties(getattr(PacketTypes, kind))
    for name, value in given.items():
        setattr(made, name, value)
    return made


class Paho:
    """``expiry``: seconds that its session outlives the connection; in 3.1.1, where it is not 0, it is a clean session
    or not. ``given``: more of CONNECT's properties. A lost connection stays lost.
    """

    def __init__(
        self,
        port: int,
        client_id: str,
        version: int,
        *,
        clean: bool = True,
        expiry: int = 0,
        keepalive: int = 60,
        will: tuple[str, bytes, int, bool] | None = None,
        will_delay: int = 0,
        acknowledges: bool = True,
        **given: Any,
    ) -> None:
        self.version = version
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.connack: queue.Queue[tuple[bool, int, dict[str, Any]]] = queue.Queue()
        self.subacks: queue.Queue[list[int]] = queue.Queue()
        self.unsubacks: queue.Queue[list[int]] = queue.Queue()
        self.lost: queue.Queue[int] = queue.Queue()
        self.published: queue.Queue[int] = queue.Queue()
        self._port, self._keepalive = port, keepalive
        session = {"clean_session": clean and not expiry} if version == 4 else {}
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=_VERSIONS[version],
            reconnect_on_failure=False,
            manual_ack=not acknowledges,
            **session,
        )
        self._connect: dict[str, Any] = {}
        if version == 5:
            given |= {"SessionExpiryInterval": expiry} if expiry else {}
            self._connect = {"clean_start": clean, "properties": properties("CONNECT", **given)}
        if will is not None:
            delay = {"properties": properties("WILLMESSAGE", WillDelayInterval=will_delay)} if will_delay else {}
            self.client.will_set(*will, **delay)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_disconnect = lambda client, data, flags, code, props: self.lost.put(code.value)
        self.client.on_subscribe = lambda client, data, mid, codes, props: self.subacks.put([c.value for c in codes])
        self.client.on_unsubscribe = lambda client, data, mid, codes, props: self.unsubacks.put(
            [c.value for c in codes]
        )
        self.client.on_publish = lambda client, data, mid, code, props: self.published.put(code.value)

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._port, keepalive=self._keepalive, **self._connect)
        self.client.loop_start()
        self.present, self.code, self.told = self.connack.get(timeout=LIMIT)
        return self

    def __exit__(self, *error: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        if (left := self.client.socket()) is not None:
            left.close()

    def _on_connect(self, client: Any, data: Any, flags: Any, code: ReasonCode, told: Properties | None) -> None:
        self.connack.put((flags.session_present, code.value, told.json() if told is not None else {}))

    def leave(self, code: int = 0, **given: Any) -> None:
        """Says DISCONNECT."""
        if self.version == 5:
            said = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
            self.client.disconnect(reasoncode=said, properties=properties("DISCONNECT", **given))
        else:
            self.client.disconnect()
        self.lost.get(timeout=LIMIT)

    def cut(self) -> None:
        """Ends the connection without a word."""
        there = cast("socket.socket | None", self.client.socket())
        assert there is not None
        there.shutdown(socket.SHUT_RDWR)
        self.lost.get(timeout=LIMIT)

    def subscribe(self, *filters: str, qos: int = 2, identifier: int = 0, **options: Any) -> list[int]:
        """SUBACK's codes. ``options`` are :class:`SubscribeOptions`'s."""
        if self.version == 5:
            given = {"SubscriptionIdentifier": identifier} if identifier else {}
            asked = [(each, SubscribeOptions(qos=qos, **options)) for each in filters]
            self.client.subscribe(asked, properties=properties("SUBSCRIBE", **given))
        else:
            self.client.subscribe([(each, qos) for each in filters])
        return self.subacks.get(timeout=LIMIT)

    def unsubscribe(self, *filters: str) -> list[int]:
        self.client.unsubscribe(list(filters))
        return self.unsubacks.get(timeout=LIMIT)

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, *, retain: bool = False, **given: Any) -> int:
        """Wait until it is acknowledged: the reason code."""
        more = {"properties": properties("PUBLISH", **given)} if given else {}
        self.client.publish(topic, payload, qos, retain=retain, **more)
        return self.published.get(timeout=LIMIT)

    def message(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=LIMIT)

    def hear(self) -> tuple[str, bytes, int, bool]:
        """The next message: topic, payload, QoS, retain."""
        message = self.message()
        return message.topic, message.payload, message.qos, message.retain

    def heard(self, sender: "Paho") -> list[tuple[str, bytes, int, bool]]:
        """All that was published before this: ``sender`` says a last word, at QoS 2, which paho hands over last."""
        topic = f"last/{next(_words)}"
        self.subscribe(topic)
        sender.publish(topic, b"", 2)
        return list(iter(self.hear, (topic, b"", 2, False)))
