"""``gateway.compat.channels`` on a real server: workers in the gateway's process, and what differs from Channels."""

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from own_services import installed
from servers import site
from servers.daemon import Daemon
from servers.ports import free_port
from waiting import until
from websockets.asyncio.client import connect as websocket

from gateway import InMemoryChannelLayer
from gateway.compat.channels import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    ChannelNameRouter,
    ProtocolTypeRouter,
    SyncConsumer,
    Worker,
    get_channel_layer,
)
from gateway.layers import channel_layer
from gateway.layers.bus import LayerUnavailable
from protocols.http.server import HTTPServer, HTTPSettings

ROOT = Path(__file__).resolve().parents[3]


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[HTTPServer]:
    async with asyncio.timeout(20), HTTPServer(app, HTTPSettings(bind="127.0.0.1:0")) as server:
        yield server


async def idle(server: HTTPServer) -> None:
    await until(lambda: not sum(server.active().values()))


class Work(AsyncConsumer):
    async def work_start(self, message: dict[str, Any]) -> None:
        if message["number"] == 13:
            raise ValueError("unlucky")
        await get_channel_layer().group_send("pages", {"type": "work.done", "number": message["number"] * 2})


class SyncWork(SyncConsumer):
    def work_start(self, message: dict[str, Any]) -> None:
        self.group_send("pages", {"type": "work.done", "number": -message["number"]})


class Page(AsyncWebsocketConsumer):
    groups = ["pages"]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        assert text_data is not None
        channel, _, number = text_data.partition(" ")
        await get_channel_layer().send(channel, {"type": "work.start", "number": int(number)})

    async def work_done(self, message: dict[str, Any]) -> None:
        await self.send(str(message["number"]))


async def test_the_gateway_works_for_the_channels_of_its_router(caplog: pytest.LogCaptureFixture) -> None:
    app = ProtocolTypeRouter(
        {
            "websocket": Page.as_asgi(),
            "channel": ChannelNameRouter({"double": Work.as_asgi(), "negative": SyncWork}),
        }
    )
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        async with serving(app) as server:
            async with websocket(f"ws://{server.address}/") as peer:
                for sent in ("double 4", "negative 4", "double 13", "double 5"):
                    await peer.send(sent)
                    if sent != "double 13":
                        assert await peer.recv() in ("8", "-4", "10")
            await idle(server)
        assert layer.groups == 0
        await layer.send("double", {"type": "work.start", "number": 1})
        await asyncio.sleep(0)
        assert layer.unread == 1  # the worker has ended with the server
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "channel double"
    assert record.exc_info
    assert str(record.exc_info[1]) == "unlucky"


async def test_a_worker_runs_by_itself_until_it_is_cancelled() -> None:
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        await layer.group_add("pages", "reader")
        worker = asyncio.ensure_future(Worker(Work.as_asgi(), ["a", "b"]).run())
        for channel, number in (("a", 1), ("b", 2)):
            await layer.send(channel, {"type": "work.start", "number": number})
        async with asyncio.timeout(5):
            assert sorted([(await layer.receive("reader"))["number"] for _ in range(2)]) == [2, 4]
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker


class Slow(AsyncConsumer):
    """Tells what it does. Its handler returns when the test says so."""

    begun: ClassVar[list[Any]] = []
    done: ClassVar[list[Any]] = []
    go_on: ClassVar[asyncio.Event]

    async def work_start(self, message: dict[str, Any]) -> None:
        self.begun.append(message["number"])
        await self.go_on.wait()
        self.done.append(message["number"])


@pytest.fixture
def slow() -> type[Slow]:
    class Own(Slow):
        begun: ClassVar[list[Any]] = []
        done: ClassVar[list[Any]] = []
        go_on = asyncio.Event()

    return Own


async def send(layer: InMemoryChannelLayer, *numbers: int) -> None:
    for number in numbers:
        await layer.send("a", {"type": "work.start", "number": number})


async def test_so_many_messages_of_a_channel_are_handled_at_once(slow: type[Slow]) -> None:
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        worker = Worker(slow, ["a"], concurrency=3)
        working = asyncio.ensure_future(worker.run())
        await send(layer, *range(5))
        await until(lambda: len(slow.begun) == 3)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (slow.begun, layer.unread) == ([0, 1, 2], 2)
        slow.go_on.set()
        await until(lambda: sorted(slow.done) == [0, 1, 2, 3, 4])
        await worker.stop()
        await working


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_worker_that_would_handle_nothing_is_refused(slow: type[Slow], wrong: int) -> None:
    with pytest.raises(ValueError, match="concurrency is"):
        ChannelNameRouter({"a": slow}, concurrency=wrong)


async def test_a_worker_that_stops_finishes_what_it_has_and_takes_no_more(slow: type[Slow]) -> None:
    layer = InMemoryChannelLayer()
    app = ChannelNameRouter({"a": slow, "idle": Work.as_asgi()})
    with installed({channel_layer: layer}):
        async with serving(app):
            await send(layer, 1, 2)
            await until(lambda: slow.begun == [1])
            asyncio.get_running_loop().call_later(0.05, slow.go_on.set)
        assert (slow.begun, slow.done, layer.unread) == ([1], [1], 1)


async def test_a_handler_that_does_not_return_is_cancelled_when_its_worker_has_stopped(
    slow: type[Slow], caplog: pytest.LogCaptureFixture
) -> None:
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        worker = Worker(slow, ["a"])
        working = asyncio.ensure_future(worker.run())
        await send(layer, 1)
        await until(lambda: slow.begun == [1])
        await worker.stop(timeout=0.01)
        await working
    assert slow.done == []
    assert "worker: a: its handler is cancelled, 0.01 s after the worker's stop" in caplog.text


@pytest.mark.parametrize(("target", "code"), [("project:worker", 0), ("project:Page", 2)])
def test_a_file_without_servers_needs_a_worker(target: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(
        "from gateway import AsyncWebsocketConsumer as Page\n"
        "from gateway.compat.channels import ChannelNameRouter, SyncConsumer\n"
        "worker = ChannelNameRouter({'words': SyncConsumer})\n"
    )
    (tmp_path / "gateway.yaml").write_text(f"servers: {{}}\napplication: {target}\n")
    command = [sys.executable, "-m", "gateway", "check"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == code
    assert ("1:10: error: servers: must not be empty" in ran.stdout + ran.stderr) == bool(code)


PROJECT = """
from gateway import HttpConsumer, get_channel_layer
from gateway.compat.channels import AsyncConsumer, AsyncHttpConsumer, ChannelNameRouter, ProtocolTypeRouter


class Work(AsyncConsumer):
    async def work_start(self, message):
        await self.channel_layer.send(message["to"], {"type": "done"})


class Page(AsyncHttpConsumer):
    async def handle(self, body):
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.send("work", {"type": "work.start", "to": channel})
        await layer.receive(channel)
        await self.send_response(200, b"worked")


app = ProtocolTypeRouter({"http": Page.as_asgi(), "channel": ChannelNameRouter({"work": Work.as_asgi()})})
"""


def has_begun(daemon: Daemon, times: int) -> bool:
    return daemon.text.count("worker of the channels work") == times


def test_a_reload_leaves_the_channels_with_one_worker(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    port = free_port()
    file = f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{port}'}}}}\napplication: project.app\n"
    (tmp_path / "gateway.yaml").write_text(file)
    with contextlib.closing(Daemon(tmp_path)) as daemon:
        daemon.says("ready")
        for number in (1, 2, 3):
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=10).text == "worked"
            (tmp_path / "gateway.yaml").write_text(f"{file}threads: {4 + number}\n")
            daemon.process.send_signal(signal.SIGHUP)
            site.until(partial(has_begun, daemon, 1 + number), lambda: daemon.text)
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=10).text == "worked"
        daemon.process.terminate()
        assert daemon.wait() == 0
    assert "ERROR" not in daemon.text


async def test_a_worker_that_has_not_begun_is_stopped() -> None:
    await Worker(Work, ["a"]).stop()


class Away(InMemoryChannelLayer):
    """A layer that cannot be read for a while, also by readers that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = asyncio.Event()

    async def receive(self, channel: str) -> dict[str, Any]:
        reading = asyncio.ensure_future(super().receive(channel))
        away = asyncio.ensure_future(self.is_away.wait())
        try:
            await asyncio.wait((reading, away), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            raise LayerUnavailable("it is away")
        finally:
            reading.cancel()
            away.cancel()


async def test_a_layer_that_fails_ends_no_worker(slow: type[Slow], caplog: pytest.LogCaptureFixture) -> None:
    layer = Away()
    slow.go_on.set()
    with installed({channel_layer: layer}):
        worker = Worker(slow, ["a"])
        working = asyncio.ensure_future(worker.run())
        await send(layer, 1)
        await until(lambda: slow.done == [1])
        layer.is_away.set()
        await until(lambda: "the layer cannot be read" in caplog.text)
        await asyncio.sleep(0.1)  # it tries again, and says so once
        layer.is_away.clear()
        await send(layer, 2)
        await until(lambda: slow.done == [1, 2])
        await worker.stop()
        await working
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == (
        "channel a: the layer cannot be read, and is tried again: LayerUnavailable it is away"
    )


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
async def test_whatever_a_handler_raises_the_worker_goes_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[int] = []

    class Raising(AsyncConsumer):
        async def work_start(self, message: dict[str, Any]) -> None:
            handled.append(message["number"])
            if message["number"] == 1:
                raise error

    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        worker = Worker(Raising, ["a"])
        working = asyncio.ensure_future(worker.run())
        await send(layer, 1, 2)
        await until(lambda: handled == [1, 2])
        await worker.stop()
        await working
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == ["channel a"]


async def test_a_message_of_the_layer_calls_the_methods_of_the_project_only(caplog: pytest.LogCaptureFixture) -> None:
    class Own(Page):
        """One of its own: the log tells such a message once in ten seconds for each class."""

    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        async with serving(Own.as_asgi()) as server, websocket(f"ws://{server.address}/") as peer:
            await until(lambda: layer.groups == 1)
            for kind in ("close", "websocket.receive", "disconnect", "_emit", "scope", "unknown"):
                await layer.group_send("pages", {"type": kind, "text": "x"})
            await layer.group_send("pages", {"type": "work.done", "number": 1})
            assert await peer.recv() == "1"
            assert peer.close_code is None
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 6
    assert all("no @layer_event method for" in line for line in told)


async def test_a_class_without_such_a_method_is_told_that_it_has_none(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(AsyncWebsocketConsumer):
        groups = ["pages"]

    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        async with serving(Silent.as_asgi()) as server, websocket(f"ws://{server.address}/"):
            await until(lambda: layer.groups == 1)
            await layer.group_send("pages", {"type": "work.done"})
            await until(lambda: "for 'work.done'" in caplog.text)
    assert "; it has none. The message is dropped" in caplog.text


async def test_a_request_without_an_answer_is_a_500() -> None:
    class Silent(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None: ...

    async with serving(Silent.as_asgi()) as server, httpx.AsyncClient() as client:
        assert (await client.get(f"http://{server.address}/")).status_code == 500


async def test_a_slow_handler_does_not_hold_up_the_disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncWebsocketConsumer, "disconnect_wait", 0.01)
    told: list[Any] = []
    go_on = asyncio.Event()

    class Slow(AsyncWebsocketConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            await go_on.wait()
            told.append(text_data)

        async def disconnect(self, code: int) -> None:
            told.append(code)

    async with serving(Slow.as_asgi()) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await peer.close(4000)
        await until(lambda: told == [4000])
        go_on.set()
        await idle(server)
    assert told == [4000, "a"]
