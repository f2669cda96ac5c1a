"""A table of temperatures, and who fills it: ``python -m benchmarks.orm_apps ours|paho|mqttasgi PORT DATABASE``.

``ours``: the MQTT server and a batch consumer. The others: Mosquitto, and behind it a consumer that inserts a row for
each message, on paho-mqtt (which acknowledges after it) or on ``mqttasgi``. All insert through Django's ORM, with one
and the same settings of SQLite.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection, models

TABLE = "reading"


def prepare(database: str) -> Any:
    """Set Django up over ``database``; the model of a row. Every commit is on disk when it returns."""
    options = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"}
    where = {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "CONN_MAX_AGE": None, "OPTIONS": options}
    settings.configure(DATABASES={"default": where}, USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
    django.setup()

    class Reading(models.Model):
        sensor = models.CharField(max_length=64)
        celsius = models.FloatField()
        measured_at = models.DateTimeField(auto_now_add=True)

        class Meta:
            app_label = "benchmarks"
            db_table = TABLE

    if TABLE not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Reading)
    return Reading


async def ours(port: int, reading: Any) -> None:
    from gateway import MqttBatchConsumer, MqttMessage
    from protocols.mqtt import MQTTServer, MQTTSettings

    class Keeps(MqttBatchConsumer):
        def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            reading.objects.bulk_create(
                reading(sensor=each.topic.split("/")[1], celsius=json.loads(each.payload)["celsius"])
                for each in messages
            )

    async with MQTTServer(Keeps.as_asgi(), MQTTSettings(bind=f"127.0.0.1:{port}")):
        await asyncio.Event().wait()


def behind_mosquitto(port: int, command: Sequence[str], database: str) -> None:
    """Mosquitto keeps everything that the consumer has not taken yet: by default it drops what is beyond 1,000."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosquitto.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        server = subprocess.Popen(["mosquitto", "-c", str(file)])
        wait_for(port)
        consumer = subprocess.Popen([sys.executable, *command], env={**os.environ, "BENCHMARK_DATABASE": database})
        try:
            signal.sigwait({signal.SIGTERM, signal.SIGINT})
        finally:
            for process in (consumer, server):
                process.kill()
                process.wait()


def on_paho(port: int, reading: Any) -> None:
    import paho.mqtt.client as paho

    def insert(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        reading.objects.create(sensor=message.topic.split("/")[1], celsius=json.loads(message.payload)["celsius"])

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="orm")
    client.on_message = insert
    client.on_connect = lambda *_: client.subscribe("sensors/#", qos=1)
    client.connect("127.0.0.1", port)
    client.loop_forever()


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)


if __name__ == "__main__":
    name, number, path = sys.argv[1:]
    match name:
        case "ours":
            import uvloop

            uvloop.run(ours(int(number), prepare(path)))
        case "paho":
            behind_mosquitto(int(number), ["-m", "benchmarks.orm_apps", "on_paho", number, path], path)
        case "on_paho":
            on_paho(int(number), prepare(path))
        case "mqttasgi":
            options = ["-H", "127.0.0.1", "-p", number, "-i", "orm", "benchmarks.orm_mqttasgi:application"]
            behind_mosquitto(int(number), ["-m", "mqttasgi.cli", *options], path)
