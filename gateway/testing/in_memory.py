"""The gateway of a file in memory: its routes with their policies and its application's lifespan, without sockets."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from gateway.arrivals import Arrival, arrivals
from gateway.config.loader import ParsedConfig, load
from gateway.delivery.service import deliveries, no_transaction
from gateway.layers import ChannelLayer, channel_layer
from gateway.runtime.build import Gateway, Makers, build
from gateway.runtime.channel_layer import make_layer_for_tests
from gateway.runtime.isolated import NO_SERVERS, isolated
from gateway.runtime.running import RunningGateway
from gateway.runtime.servers import Servers
from gateway.services import Services, install
from gateway.store import MovableStore, memory_store
from gateway.testing.communicator import TIMEOUT, ApplicationCommunicator
from gateway.testing.email import EmailCommunicator
from gateway.testing.http import HttpCommunicator
from gateway.testing.leaving import Leaving
from gateway.testing.mqtt import MqttCommunicator
from gateway.testing.one_thread import OneThread
from gateway.testing.outbox import Outbox
from gateway.testing.sms import SMSCommunicator
from gateway.testing.surroundings import Surroundings
from gateway.testing.websocket import WebsocketCommunicator
from gateway.threads import Pool
from protocols.asgi import Application
from protocols.errors import LocalProtocolError
from protocols.events import Event
from protocols.server import Server

P = ParamSpec("P")
C = TypeVar("C", bound=ApplicationCommunicator)

WEB = ("http", "websocket")
"""The scope types of an http server."""
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "http": ("root_path",),
    "websocket": ("root_path",),
    "mqtt": (),
    "email": ("recipient_delimiter",),
    "sms": ("provider",),
}
"""Settings of servers that show in scopes, by scope type."""
LOOK_AGAIN = 0.002
"""Seconds between two looks at the store."""


def played(make: Callable[Concatenate[Any, P], C], scope_type: str) -> Callable[Concatenate["InMemoryGateway", P], C]:
    """The method that makes a communicator for the gateway's application. Its arguments are those of ``make``, without
    the application."""

    def method(self: "InMemoryGateway", /, *args: P.args, **kwargs: P.kwargs) -> C:
        given: Any = self._given(scope_type) | kwargs
        return make(self._app(scope_type), *args, **given)

    method.__doc__ = make.__doc__
    return method


class InMemoryGateway:
    """Everything that ``file`` asks for, ready to be tested; ``async with`` starts and stops it::

        async with InMemoryGateway("gateway.yaml") as gateway:
            mail = gateway.email("help@support.example.org", subject="Printer")
            assert (await mail.get_verdict())["type"] == "email.accept"
            await gateway.settle()
            assert gateway.outbox.mails[0].subject == "Re: Printer"

    Its store is in memory, and its time can be moved. Nothing leaves: what would is in :attr:`outbox`. The servers of
    the file are not started.
    """

    def __init__(
        self, file: str | os.PathLike[str] = "gateway.yaml", *, environ: Mapping[str, str] | None = None
    ) -> None:
        """``environ`` has the values of ``${NAME}`` in the file, in place of the environment. Raises ConfigErrors with
        every mistake of the file."""
        self.file = Path(file)
        self.outbox = Outbox()
        """Everything that has left: mails, texts, publications, in order."""
        self.arrivals: list[Arrival] = []
        """What has arrived and was tried again, with the route that took it and the verdict; what has left, too."""
        self._leaving = Leaving(self.outbox)
        made = build(
            self._parsed(load(file, environ)),
            Makers(_memory_store, self._leaving.submission, lambda url: no_transaction, make_layer_for_tests),
        )
        self._leaving.take_over(made.servers)
        self._made = made
        self._running: RunningGateway | None = None

    # Its life.

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError(f"{self.file} runs already; the fixture starts it for an async def test")
        made, servers = self._made, self._servers()
        outlets = self._leaving.outlets(made.outlets, servers)
        running = RunningGateway(isolated(made, outlets, servers=servers, threads=self._threads()))
        self._before = install(running.gateway.services)
        running.gateway.services[arrivals].listen(self.arrivals.append)
        try:
            await running.start()
        except BaseException:
            await self._end(running)
            raise
        self._running = running
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        await self._end(running)
        if error is None and (failure := running.gateway.lifespan.failure):
            raise RuntimeError(f"the application's shutdown failed: {failure}")

    async def _end(self, running: RunningGateway) -> None:
        install(self._before)
        await running.abort()

    @property
    def built(self) -> Gateway:
        """The gateway as the daemon has it. Raises RuntimeError before it is started."""
        if self._running is None:
            raise RuntimeError(f"{self.file} is not running: write async with gateway: ...")
        return self._running.gateway

    @property
    def services(self) -> Services:
        return self.built.services

    @property
    def layer(self) -> ChannelLayer:
        """The channel layer."""
        layer: ChannelLayer = self.services[channel_layer]
        return layer

    @property
    def state(self) -> dict[str, Any]:
        """The state of the lifespan."""
        return self.built.lifespan.state

    @property
    def store(self) -> MovableStore:
        """The store, for what the rest of this class does not show: dead letters, histories. Raises LookupError if no
        route has a policy and no server keeps its state: then there is none."""
        found = self.services.get(deliveries)
        if found is None:
            raise LookupError(f"{self.file} needs no store: no route has a policy, and no server keeps its state")
        store: MovableStore = found.store
        return store

    # What arrives.

    http = played(HttpCommunicator, "http")
    websocket = played(WebsocketCommunicator, "websocket")
    mqtt = played(MqttCommunicator, "mqtt")
    email = played(EmailCommunicator, "email")
    sms = played(SMSCommunicator, "sms")

    def scope(self, scope: dict[str, Any]) -> ApplicationCommunicator:
        """A run over any scope."""
        return ApplicationCommunicator(self.built.app, scope, surroundings=self._surroundings())

    # Time, and what has to be waited for.

    async def move_time(self, delta: timedelta | float) -> None:
        """Let it be later, by a timedelta or a number of seconds, and wait until what has become due is done: retries,
        what could not leave. Time stands for the store and the outbox; timers of your own code are not moved."""
        self.store.move(delta.total_seconds() if isinstance(delta, timedelta) else delta)
        self.services[deliveries].inbox.waiting.notify()
        self.services[deliveries].outgoing.notify()
        await self.settle()

    async def settle(self, timeout: float = TIMEOUT) -> None:
        """Wait until everything that is stored and due has been handled, and has left. Raises TimeoutError."""
        dispatcher = self.built.dispatcher
        if dispatcher is None:
            return
        try:
            async with asyncio.timeout(timeout):
                while await self.store.due_now():  # noqa: ASYNC110 -- the store tells nobody
                    await asyncio.sleep(LOOK_AGAIN)
        except TimeoutError:
            active = ", ".join(f"{number} {noun}" for noun, number in dispatcher.active().items())
            raise TimeoutError(f"not done within {timeout:g} s: {active or 'something is due'}") from None

    @contextmanager
    def failing(self, *errors: Exception) -> Iterator[None]:
        """Let what leaves within the block fail, with one of ``errors`` each time, in this order; after them it
        leaves. Write :class:`protocols.NotSent`, say, which is tried again."""
        self._leaving.failures.extend(errors)
        try:
            yield
        finally:
            self._leaving.failures.clear()

    # How it is made.

    def _parsed(self, parsed: ParsedConfig) -> ParsedConfig:
        return parsed

    def _servers(self) -> Servers:
        """The servers that are started."""
        return NO_SERVERS

    def _threads(self) -> Pool | None:
        """Where sync handlers run, if not where the file says."""
        return OneThread()

    def _surroundings(self) -> Surroundings:
        return Surroundings(self.services, self.outbox, self._leave, self.state)

    def _leave(self, event: Event) -> None:
        """Take what an application sends in its scope, as the servers of the file would."""
        if event["type"] == "email.send" and "email" not in self.built.outlets:
            raise LocalProtocolError("email.send: no submission server is configured")
        self.outbox.take(event)

    def _app(self, scope_type: str) -> Application:
        """The application or, for what comes over HTTP, the first http server's, with the webhooks in front of it."""
        web = self._server("http") if scope_type in WEB else None
        return self.built.app if web is None else web.app

    def _given(self, scope_type: str) -> dict[str, Any]:
        """What the file says for a communicator."""
        given: dict[str, Any] = {"surroundings": self._surroundings()}
        server: Any = self._server(scope_type)
        if server is not None:
            given |= {name: getattr(server.settings, name) for name in _SETTINGS[scope_type]}
            given |= {} if scope_type in WEB else {"listener": server.name}
        if server is not None and scope_type == "mqtt":
            given["role"] = "client" if server.listener is None else "server"
        if server is not None and scope_type == "email":
            given["transport"] = server.settings.protocol
        return given

    def _server(self, scope_type: str) -> Server | None:
        """The first server that makes such scopes, rather one that listens than one that is a client."""
        fitting = [each for each in self._made.servers if scope_type in each.scope_types]
        return next((each for each in fitting if each.listener is not None), next(iter(fitting), None))


def _memory_store(url: str) -> MovableStore:
    return memory_store()
