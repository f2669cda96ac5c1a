"""The client at the broker of amqtt, which speaks MQTT 3.1.1 only."""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncIterator, Iterator

import pytest
from amqtt.broker import Broker
from client_desk import LIMIT, App, client, ready
from servers.ports import free_port
from waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # amqtt leaves connections open


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_for_other_tests() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


ANYBODY = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


@contextlib.asynccontextmanager
async def amqtt() -> AsyncIterator[str]:
    port = free_port()
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": ANYBODY})
    await broker.start()
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        await broker.shutdown()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_both_ways(qos: int) -> None:
    app = App()
    async with amqtt() as url, client(app, url, version="3.1.1", qos=2) as server:
        await ready(server)
        for number in range(20):
            event = {"type": "mqtt.send", "topic": "t/x", "payload": b"%d" % number, "qos": qos}
            await asyncio.wait_for(server.publish(event), LIMIT)
        await until(lambda: len(app.payloads()) == 20 and not server.active())
    assert app.payloads() == [b"%d" % number for number in range(20)]
