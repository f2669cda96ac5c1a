"""The consumer that ``mqttasgi`` runs behind Mosquitto, as its documentation writes one: a row for each message."""

import json
import os
from typing import Any

from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter
from mqttasgi.consumers import MqttConsumer

from benchmarks.orm_apps import prepare

Reading = prepare(os.environ["BENCHMARK_DATABASE"])


class Keeps(MqttConsumer):
    async def connect(self) -> None:
        await self.subscribe("sensors/#", qos=1)

    async def receive(self, mqtt_message: dict[str, Any]) -> None:
        await self.insert(mqtt_message["topic"].split("/")[1], json.loads(mqtt_message["payload"])["celsius"])

    @database_sync_to_async
    def insert(self, sensor: str, celsius: float) -> None:
        Reading.objects.create(sensor=sensor, celsius=celsius)


application = ProtocolTypeRouter({"mqtt": Keeps.as_asgi()})
