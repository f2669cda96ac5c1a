"""The same server with and without an inbox.

    python -m benchmarks.inbox_apps mqtt|smtp plain|inbox|stored|policy PORT

``inbox`` also handles what it stores; ``stored`` only stores it, which is what its senders wait for.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from gateway import (
    AsyncEmailConsumer,
    AsyncMqttConsumer,
    EmailToRouter,
    Policy,
    ProtocolTypeRouter,
    TopicRouter,
    default,
    topic,
)
from gateway.delivery.service import Deliveries, deliveries
from gateway.delivery.worker import Worker
from gateway.garbage_collection import settle
from gateway.routing.table import route_table
from gateway.services import install
from gateway.store.sqlite import SQLiteStore
from protocols import MQTTServer, MQTTSettings, Server, SMTPServer, SMTPSettings


class Device(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        """Nothing to wait for."""


class Mail(AsyncEmailConsumer):
    async def receive(self, message: Any) -> None:
        """Nothing to wait for."""


POLICIES = {
    "plain": Policy(),
    "stored": Policy(inbox=True),
    "inbox": Policy(inbox=True),
    "policy": Policy(attempts=5),
}
"""``policy``: its sender waits for the handler."""


def server(protocol: str, policy: Policy, port: int) -> tuple[Any, Server]:
    bind = f"127.0.0.1:{port}"
    if protocol == "mqtt":
        app = ProtocolTypeRouter({"mqtt": TopicRouter([topic("#", Device, policy=policy)])})
        return app, MQTTServer(app, MQTTSettings(bind=bind), state={})
    app = ProtocolTypeRouter({"email": EmailToRouter([default(Mail, policy=policy)])})
    return app, SMTPServer(app, SMTPSettings(bind=bind), state={})


async def serve(protocol: str, kind: str, port: int) -> None:
    with tempfile.TemporaryDirectory(dir="build") as folder:  # on a real disk: fsync on a tmpfs costs nothing
        store = SQLiteStore(Path(folder) / "gateway.db")
        await store.open()
        app, made = server(protocol, POLICIES[kind], port)
        install({deliveries: (here := Deliveries(store, routes=route_table(app)))})
        if kind == "inbox":
            Worker(here, app, {}).start()
        settle()  # as the daemon does
        async with made:
            await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    Path("build").mkdir(exist_ok=True)
    uvloop.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
