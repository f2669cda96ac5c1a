"""The gateway of a file with its servers, on free ports of this machine, for real clients."""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from gateway.config.carriers import carrier
from gateway.config.loader import ParsedConfig
from gateway.runtime.isolated import SomeServers
from gateway.runtime.servers import Servers
from gateway.testing.in_memory import InMemoryGateway
from gateway.testing.outbox import Outbox
from gateway.threads import Pool

logger = logging.getLogger(__name__)

T = TypeVar("T")

ANY_PORT = "127.0.0.1:0"
START = 30.0
"""Seconds for the gateway to start, and again to stop."""


class _Listening(InMemoryGateway):
    """Its servers that listen are started. Those that are clients (of a mailbox, of a broker) are not."""

    def _parsed(self, parsed: ParsedConfig) -> ParsedConfig:
        servers = {
            name: replace(each, bind=ANY_PORT) if hasattr(each, "bind") else each
            for name, each in parsed.settings.servers.items()
        }
        return replace(parsed, settings=replace(parsed.settings, servers=servers, console=None))

    def _servers(self) -> Servers:
        settings = self._made.settings.servers
        return SomeServers(
            server for server in self._made.servers if server.listener or carrier(settings[server.name]) is not None
        )

    def _threads(self) -> Pool | None:
        return None


class GatewayLiveServer:
    """Runs the gateway of ``file`` on a thread of its own, while a ``with`` block runs::

        with GatewayLiveServer("gateway.yaml") as server:
            urllib.request.urlopen(server.url)

    Whatever the file says, each server listens on a free port of 127.0.0.1, the store is in memory, and nothing leaves:
    what would is in :attr:`outbox`. Django's ``TestCase`` keeps its rows in a transaction that other threads do not
    see: use ``TransactionTestCase``.
    """

    def __init__(
        self, file: str | os.PathLike[str] = "gateway.yaml", *, environ: Mapping[str, str] | None = None
    ) -> None:
        """``environ`` as for :class:`InMemoryGateway`. Raises ConfigErrors."""
        self.gateway = _Listening(file, environ=environ)
        self._loop = asyncio.new_event_loop()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self.gateway.__aenter__(), START)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self.gateway.__aexit__(kind, error, trace), START)
        finally:
            self._stop()

    def _run(self) -> None:
        """Run the loop until the end. A task of a handler that raises SystemExit or KeyboardInterrupt stops it, too; as
        in the daemon, it goes on."""
        while not self._is_over:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                logger.error("a task has raised %s; the gateway goes on", type(error).__name__, exc_info=error)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(START)
        self._loop.close()

    def _end(self) -> None:
        self._is_over = True
        self._loop.stop()

    def address(self, name: str) -> str:
        """Return where the server ``name`` listens: ``127.0.0.1:41235``."""
        return self.gateway.built.servers.named(name).address

    @property
    def url(self) -> str:
        """``http://127.0.0.1:41235``, of the first http server."""
        return f"http{self._secure}://{self._web}"

    @property
    def ws_url(self) -> str:
        """``ws://127.0.0.1:41235``, of the first http server."""
        return f"ws{self._secure}://{self._web}"

    @property
    def outbox(self) -> Outbox:
        return self.gateway.outbox

    def settle(self, timeout: float = START) -> None:
        """As :meth:`InMemoryGateway.settle`."""
        self.run(self.gateway.settle(timeout), timeout + 1)

    def move_time(self, delta: timedelta | float) -> None:
        """As :meth:`InMemoryGateway.move_time`."""
        self.run(self.gateway.move_time(delta), START)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = START) -> T:
        """Run ``coroutine`` on the gateway's loop, and return what it returns. Raises RuntimeError if that does not
        run."""
        if not self._thread.is_alive():
            coroutine.close()
            raise RuntimeError(f"{self.gateway.file} is not running: write with GatewayLiveServer(...) as server: ...")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    @property
    def _web(self) -> str:
        return str(self._first().address)

    @property
    def _secure(self) -> str:
        return "s" if self._first().settings.tls else ""

    def _first(self) -> Any:
        found = next((each for each in self.gateway.built.servers if "http" in each.scope_types), None)
        if found is None:
            raise LookupError(f"{self.gateway.file} has no http server")
        return found
