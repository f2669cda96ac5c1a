"""The MQTT server: MQTT 3.1.1, QoS 0 and 1, over TCP or TLS."""

import asyncio
from collections.abc import Mapping
from typing import Any

from protocols.asgi import Application
from protocols.listener import Listener
from protocols.mqtt.broker import Broker
from protocols.mqtt.device import Arrival, Device, Entrance
from protocols.mqtt.settings import MQTTSettings
from protocols.server import Server, Status


class MQTTServer(Server):
    """Each connection of a device is one run of the application over an ``mqtt`` scope (see docs/asgi/mqtt.md)."""

    protocol = "mqtt"
    scope_types = ("mqtt",)

    def __init__(
        self, app: Application, settings: MQTTSettings, *, name: str = "mqtt", state: dict[str, Any] | None = None
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self.broker = Broker(settings)
        self._listener = Listener(
            settings.bind,
            tls=settings.tls,
            proxies=settings.proxy_protocol,
            max_per_address=settings.max_per_address,
            alpn=("mqtt",),
        )
        self._arrivals: set[Arrival] = set()
        self._devices: set[Device] = set()
        self._empty = asyncio.Event()

    @property
    def address(self) -> str:
        return self._listener.address

    def active(self) -> dict[str, int]:
        return {"mqtt": len(self._devices)} if self._devices else {}

    async def start(self) -> None:
        limit = self.settings.max_connections
        await self._listener.start(lambda: Entrance(self), count=self._connections, limit=limit)
        self.status = Status("ready", "3.1.1")

    async def stop(self, grace: float) -> None:
        self.status = Status("draining")
        self._listener.stop()
        for arrival in list(self._arrivals):
            arrival.close()
        for device in list(self._devices):
            device.stop()
        await self.tasks.drain(grace)
        await self.tasks.cancel()
        await self._disconnect_all()
        self.status = Status("stopped")

    async def publish(self, event: Mapping[str, Any]) -> None:
        """``mqtt.send`` outside any connection: to the matching subscribers. Raises LocalProtocolError."""
        self.broker.send(event)

    async def _disconnect_all(self) -> None:
        """Every socket is closed or closing; give up on those whose peers do not read."""
        for device in self._devices:
            device.abort()
        if self._devices:
            self._empty.clear()
            await self._empty.wait()

    def _connections(self) -> int:
        return len(self._arrivals) + len(self._devices)

    # What arrivals and devices call.

    def arrived(self, arrival: Arrival) -> None:
        self._arrivals.add(arrival)

    def left(self, arrival: Arrival) -> None:
        self._arrivals.discard(arrival)

    def connected(self, device: Device) -> None:
        self._devices.add(device)
        self.tasks.spawn(device.serve(), name=f"mqtt {device.client_id}")

    def disconnected(self, device: Device) -> None:
        self._devices.discard(device)
        if not self._devices:
            self._empty.set()
