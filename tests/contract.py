"""What every server keeps, whatever its protocol. A server's tests inherit it and give it a driver::

class MQTTDriver(SessionDriver):
    ...

class TestMQTTContract(SessionContract):
    driver_class = MQTTDriver

``ServerContract`` is for every server, ``ListenerContract`` for one that binds an address, and ``SessionContract`` for
one whose application gets an event when its peer leaves.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, ClassVar, Literal, cast, get_type_hints

import pytest

from protocols.errors import BindError, LocalProtocolError
from protocols.server import Server

Outcome = Literal["done", "failed", "refused"]
LIMIT = 5.0
"""Seconds that any wait here may take."""
DETAIL = "detail-that-no-peer-may-see"


class Driver(ABC):
    """Speaks a server's protocol as an ordinary peer does."""

    scope_type: ClassVar[str]
    scope: ClassVar[Any]
    """The TypedDict of its scope."""
    garbage: ClassVar[Sequence[bytes]]
    """What a broken or hostile peer may send; each is tried on a connection of its own."""

    def __init__(self) -> None:
        self.heard = b""
        """Everything the last peer was told."""

    @abstractmethod
    def server(self, app: Any, bind: str = "127.0.0.1:0", state: dict[str, Any] | None = None) -> Server: ...

    @abstractmethod
    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """A well-behaved application: takes one exchange, answers it, and ends (or waits for the disconnect)."""

    @abstractmethod
    async def exchange(self, address: str) -> Outcome:
        """One ordinary exchange. ``done``: the peer was told so; ``failed``: told that it was not, or cut off."""


class SessionDriver(Driver):
    """Of a protocol where an application gets an event when the peer leaves."""

    disconnect: ClassVar[str]
    """That event. It ends the scope."""

    @abstractmethod
    async def leave(self, address: str, running: asyncio.Event) -> None:
        """Begin an exchange, wait until the application is ``running``, and hang up."""


def transport_of(writer: asyncio.StreamWriter) -> asyncio.Transport:
    """It reads as well, whatever typeshed says."""
    return cast("asyncio.Transport", writer.transport)


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def say(address: str, data: bytes, *, wait: float = 0.5) -> bytes:
    """Send ``data`` on a new connection and return what comes back until it closes, or ``wait`` seconds."""
    reader, writer = await connect(address)
    heard = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(wait):
            writer.write(data)
            await writer.drain()
            while chunk := await reader.read(65536):
                heard += chunk
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return heard


def crashes(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]


class ServerContract:
    driver_class: ClassVar[type[Driver]]

    @pytest.fixture
    def driver(self) -> Driver:
        return self.driver_class()

    @contextlib.asynccontextmanager
    async def serving(self, driver: Driver, app: Callable[..., Awaitable[None]]) -> AsyncIterator[Server]:
        server = driver.server(app)
        async with asyncio.timeout(4 * LIMIT), server:
            yield server

    async def test_an_exchange_is_done(self, driver: Driver) -> None:
        async with self.serving(driver, driver.answer) as server:
            assert await driver.exchange(server.address) == "done"
            assert await driver.exchange(server.address) == "done"

    async def test_the_scope_has_the_keys_and_types_of_its_specification(self, driver: Driver) -> None:
        scopes: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                scopes.append(scope)
            await driver.answer(scope, receive, send)

        async with self.serving(driver, app) as server:
            await driver.exchange(server.address)
        scope = scopes[0]
        assert scope["type"] == driver.scope_type
        assert driver.scope.__required_keys__ <= scope.keys()
        assert scope.keys() <= get_type_hints(driver.scope).keys()
        assert scope["asgi"]["version"] == "3.0"
        assert isinstance(scope["state"], dict)

    async def test_a_crash_is_one_log_record_and_a_plain_failure_for_the_peer(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = [True]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == driver.scope_type and broken and broken.pop():
                await receive()
                raise RuntimeError(DETAIL)
            await driver.answer(scope, receive, send)

        async with self.serving(driver, app) as server:
            assert await driver.exchange(server.address) == "failed"
            assert DETAIL.encode() not in driver.heard
            assert b"Traceback" not in driver.heard
            assert await driver.exchange(server.address) == "done"
        assert len(crashes(caplog)) == 1
        assert crashes(caplog)[0].__dict__["scope"]["type"] == driver.scope_type

    async def test_a_handler_that_exits_does_not_take_the_server_down(self, driver: Driver) -> None:
        broken = [True]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == driver.scope_type and broken and broken.pop():
                raise SystemExit(DETAIL)
            await driver.answer(scope, receive, send)

        async with self.serving(driver, app) as server:
            assert await driver.exchange(server.address) == "failed"
            assert await driver.exchange(server.address) == "done"

    async def test_an_unknown_event_raises_out_of_send(self, driver: Driver) -> None:
        raised: list[Exception] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == driver.scope_type:
                try:
                    await send({"type": "no.such.event"})
                except Exception as error:
                    raised.append(error)
            await driver.answer(scope, receive, send)

        async with self.serving(driver, app) as server:
            assert await driver.exchange(server.address) == "done"
        assert isinstance(raised[0], LocalProtocolError)

    async def test_garbage_harms_nobody(self, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
        async with self.serving(driver, driver.answer) as server:
            for data in driver.garbage:
                heard = await say(server.address, data)
                assert b"Traceback" not in heard, data[:60]
                assert await driver.exchange(server.address) == "done", data[:60]
        assert crashes(caplog) == []

    async def test_stop_without_a_start_is_harmless(self, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
        server = driver.server(driver.answer, state={})
        async with asyncio.timeout(LIMIT):
            await server.stop(1.0)
            await server.stop(0.0)
        assert caplog.records == []

    async def test_stop_lets_what_is_in_flight_finish(self, driver: Driver) -> None:
        running, release = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == driver.scope_type:
                running.set()
                await release.wait()
            await driver.answer(scope, receive, send)

        server = driver.server(app, state={})
        async with asyncio.timeout(4 * LIMIT):
            await server.start()
            address = server.address
            exchange = asyncio.ensure_future(driver.exchange(address))
            await running.wait()
            assert sum(server.active().values()) == 1
            stopping = asyncio.ensure_future(server.stop(LIMIT))
            await asyncio.sleep(0.05)
            release.set()
            assert await exchange == "done"
            await stopping
            assert server.active() == {}
            with pytest.raises(OSError, match=r".*"):
                await connect(address)

    async def test_stop_cancels_what_does_not_finish(self, driver: Driver) -> None:
        running, cancelled = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != driver.scope_type:
                await driver.answer(scope, receive, send)
                return
            running.set()
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        server = driver.server(app, state={})
        async with asyncio.timeout(4 * LIMIT):
            await server.start()
            exchange = asyncio.ensure_future(driver.exchange(server.address))
            await running.wait()
            await server.stop(0.05)
            assert await exchange != "done"
            assert cancelled.is_set()
            assert server.active() == {}

    async def test_used_alone_it_runs_the_lifespan(self, driver: Driver) -> None:
        said: list[str] = []
        states: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                states.append(scope["state"])
                await driver.answer(scope, receive, send)
                return
            for step in ("startup", "shutdown"):
                said.append((await receive())["type"])
                scope["state"]["answer"] = 42
                await send({"type": f"lifespan.{step}.complete"})

        async with self.serving(driver, app) as server:
            await driver.exchange(server.address)
        assert said == ["lifespan.startup", "lifespan.shutdown"]
        assert states[0] == {"answer": 42}


class ListenerContract(ServerContract):
    async def test_a_taken_address_is_one_sentence(self, driver: Driver) -> None:
        async with self.serving(driver, driver.answer) as server:
            second = driver.server(driver.answer, bind=server.address, state={})
            with pytest.raises(BindError, match="already in use"):
                await second.start()
            await second.stop(0.0)
            assert await driver.exchange(server.address) == "done", "the cleaning up after it harms nobody"


class SessionContract(ListenerContract):
    async def test_the_disconnect_arrives_exactly_once(self, driver: Driver) -> None:
        assert isinstance(driver, SessionDriver)
        events: list[str] = []
        running, ended = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != driver.scope_type:
                await driver.answer(scope, receive, send)
                return
            running.set()
            with contextlib.suppress(TimeoutError):
                while events.count(driver.disconnect) < 2:
                    async with asyncio.timeout(0.3 if driver.disconnect in events else LIMIT):
                        events.append((await receive())["type"])
            ended.set()

        async with self.serving(driver, app) as server:
            await driver.leave(server.address, running)
            async with asyncio.timeout(2 * LIMIT):
                await ended.wait()
        assert events[-1] == driver.disconnect
        # In HTTP each ``receive`` gets it (ASGI, "Disconnect - receive event").
        assert events.count(driver.disconnect) == (2 if driver.scope_type == "http" else 1)
