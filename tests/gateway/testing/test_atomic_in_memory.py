"""Routes with ``atomic: true`` in the gateway in memory: the tables of the handlers are in the store's database."""

from pathlib import Path

import pytest

from gateway.testing import InMemoryGateway

FILE = """
servers: {devices: {protocol: mqtt, anonymous: true}}
routes:
  mqtt:
    - {topic: sync/+, app: atomic_in_memory.Sync, atomic: true, attempts: 2, backoff: 10}
    - {topic: async/+, app: atomic_in_memory.Async, atomic: true, attempts: 2, backoff: 10}
"""
HANDLERS = """
from gateway import AsyncMqttConsumer, MqttConsumer


def fail_once(consumer):
    if consumer.scope["extensions"]["delivery"]["attempt"] == 1:
        raise LookupError("not yet")


class Sync(MqttConsumer):
    def receive(self, topic, payload):
        self.connection.execute("INSERT INTO rows VALUES (?)", [topic])
        self.publish("seen", payload)
        fail_once(self)


class Async(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await self.connection.execute("INSERT INTO rows VALUES (?)", [topic])
        await self.publish("seen", payload)
        fail_once(self)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "atomic_in_memory.py").write_text(HANDLERS)
    (tmp_path / "gateway.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "gateway.yaml"


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_failed_attempt_leaves_no_row_and_the_next_leaves_one(file: Path, form: str) -> None:
    async with InMemoryGateway(file) as gateway:
        await gateway.store.execute("CREATE TABLE rows (topic TEXT)")
        async with gateway.mqtt("d1") as device:
            assert await device.connect()
            await device.publish(f"{form}/1", b"on")
            await gateway.settle()
            assert await gateway.store.execute("SELECT topic FROM rows") == []
            assert gateway.outbox.publications == []
            await gateway.move_time(10)
            await gateway.settle()
        assert await gateway.store.execute("SELECT topic FROM rows") == [(f"{form}/1",)]
        assert len(gateway.outbox.publications) == 1
