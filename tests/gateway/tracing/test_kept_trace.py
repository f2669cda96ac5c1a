"""A message keeps its trace while it waits: until an operator retries it, over a new process, and over new code."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from servers import command
from servers.collector import Collector, Span, collecting
from servers.ports import free_port
from servers.replaced import Replaced
from servers.submission import Peer, peer
from servers.traced_device import SENT, SPAN, STATE, TRACE, Device
from waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]

HANDLERS = """
from pathlib import Path

from gateway import AsyncHttpConsumer, AsyncMqttConsumer, aio


class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond("one")


class Things(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if not Path("works").exists():
            raise OSError("not yet")
        await aio.send_mail("b@example.org", subject="Hello", text="hello", from_="a@example.org")
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
  devices: {protocol: mqtt, bind: "127.0.0.1:MQTT"}
routes:
  http: kept_handlers.Web
  mqtt: [{topic: things/+, app: kept_handlers.Things, inbox: true, attempts: ATTEMPTS, backoff: 1s}]
submission: "smtp://SUBMISSION"
store: sqlite:kept.db
console: {bind: "127.0.0.1:CONSOLE"}
log: {level: error}
tracing: {endpoint: "COLLECTOR", sample: 0%, trust: [devices]}
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The gateway has a process of its own, so that the loop of the test changes nothing."""
    return "asyncio", {"use_uvloop": False}


class Kept(NamedTuple):
    """The daemon, the server that takes its mail, and its collector."""

    daemon: Replaced
    mqtt: int
    console: int
    submission: Peer
    collector: Collector

    async def publish(self) -> None:
        device = Device(self.mqtt)
        await device.publish("things/1", traceparent=SENT, tracestate=STATE)
        device.close()

    def works(self) -> None:
        (self.daemon.folder / "works").touch()

    async def span(self, name: str, which: Callable[[Span], bool] = lambda span: True) -> Span:
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.collector.first(name, which) is not None)
        found = self.collector.first(name, which)
        assert found is not None, f"{name}: {self.collector.spans}\n{self.daemon.said()}"
        return found

    async def is_one_trace(self) -> None:
        """From the device to the mail that has left."""
        await until(lambda: self.submission.taken)
        received = await self.span("receive things/+")
        done = await self.span("process things/+", lambda span: span.attributes["gateway.verdict"] == "done")
        created = await self.span("create email")
        sent = await self.span("send email", lambda span: not span.failed)
        handler = await self.span("Things.receive", lambda span: not span.failed)
        assert (received.parent, done.parent, handler.parent) == (SPAN, received.id, done.id)
        assert (created.parent, sent.parent) == (handler.id, created.id)
        assert {each.trace for each in self.collector.spans} == {TRACE}
        assert {each.state for each in self.collector.spans} == {STATE}
        lines = self.submission.taken[0][1].decode().splitlines()
        assert {f"Traceparent: 00-{TRACE}-{created.id}-01", f"Tracestate: {STATE}"} <= set(lines)


@contextlib.asynccontextmanager
async def kept(folder: Path, attempts: int = 1, **answers: str) -> AsyncIterator[Kept]:
    with collecting() as collector:
        async with peer(answers) as submission:
            mqtt, console = free_port(), free_port()
            values: dict[str, object] = {"MQTT": mqtt, "CONSOLE": console, "ATTEMPTS": attempts}
            values |= {"COLLECTOR": collector.url, "SUBMISSION": submission.address}
            file = FILE
            for name, value in values.items():
                file = file.replace(name, str(value))
            files = {"gateway.yaml": file, "kept_handlers.py": HANDLERS}
            daemon = await asyncio.to_thread(Replaced, folder, files, OTEL_BSP_SCHEDULE_DELAY="20")
            try:
                yield Kept(daemon, mqtt, console, submission, collector)
            finally:
                await asyncio.to_thread(daemon.close)


async def by_command(here: Kept, what: str) -> None:
    done: subprocess.CompletedProcess[str] = await asyncio.to_thread(
        command.run, here.daemon.folder, what, "retry", "--all"
    )
    assert done.returncode == 0, done.stderr


async def by_console(here: Kept, what: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{here.console}/api/{what}/retry", json={"everything": True})
    assert answer.status_code == 200, answer.text


RETRIES = pytest.mark.parametrize("retry", [by_command, by_console])


@RETRIES
async def test_a_dead_letter_that_is_retried(tmp_path: Path, retry: Callable[[Kept, str], Awaitable[None]]) -> None:
    async with kept(tmp_path) as here:
        await here.publish()
        await here.span("process things/+", lambda span: span.attributes["gateway.verdict"] == "dead")
        here.works()
        await retry(here, "dead")
        await here.is_one_trace()


@RETRIES
async def test_what_is_refused_and_retried(tmp_path: Path, retry: Callable[[Kept, str], Awaitable[None]]) -> None:
    async with kept(tmp_path, RCPT="550 5.1.1 no such user") as here:
        here.works()
        await here.publish()
        await here.span("send email", lambda span: span.failed)
        here.submission.answers.clear()
        await retry(here, "outgoing")
        await here.is_one_trace()


def restart(daemon: Replaced, number: signal.Signals) -> None:
    daemon.process.send_signal(number)
    daemon.process.wait(20)
    daemon.start()


def new_code(daemon: Replaced) -> None:
    done = daemon.reload()
    assert done.returncode == 0, done.stderr


STOPPED, KILLED = (partial(restart, number=number) for number in (signal.SIGTERM, signal.SIGKILL))


@pytest.mark.parametrize("how", [STOPPED, KILLED, new_code], ids=["stopped", "killed", "new code"])
async def test_a_stored_message_over_a_new_process(tmp_path: Path, how: Callable[[Replaced], None]) -> None:
    async with kept(tmp_path, attempts=20) as here:
        await here.publish()
        await here.span("process things/+", lambda span: span.attributes["gateway.verdict"].startswith("next in"))
        await asyncio.to_thread(how, here.daemon)
        here.works()
        await here.is_one_trace()
