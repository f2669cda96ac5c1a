"""A gateway that is traced, in this process, and its collector."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from unittest import mock

from servers.collector import Collector, Span, collecting
from waiting import until

from gateway import services
from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from gateway.scopes.sending import Peer
from gateway.spans import spans
from protocols.app_run import observed
from protocols.units import TCP

QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
"""The spans are sent at once. It is read when the gateway starts."""


class Traced:
    """The running gateway, and what its collector has got."""

    def __init__(self, running: RunningGateway, collector: Collector) -> None:
        self.gateway = running.gateway
        self.collector = collector

    def port(self, name: str) -> int:
        return int(self.gateway.servers.named(name).address.rpartition(":")[2])

    def peer(self, name: str) -> Peer:
        """For clients of `gateway send`."""
        settings = self.gateway.settings.servers[name]
        return Peer(name, settings, TCP("127.0.0.1", self.port(getattr(settings, "on", name))), carried=settings)

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port('web')}{path}"

    async def span(self, name: str, which: Callable[[Span], bool] = lambda span: True) -> Span:
        """The first span of that name, once it has arrived."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.collector.first(name, which) is not None)
        found = self.collector.first(name, which)
        assert found is not None, f"{name} is not among {[each.name for each in self.collector.spans]}"
        return found


@contextlib.contextmanager
def handlers(folder: Path, source: str) -> Iterator[None]:
    """The module ``traced_handlers`` with ``source``; the work is done in ``folder``."""
    (folder / "traced_handlers.py").write_text(source)
    sys.modules.pop("traced_handlers", None)
    before, here = services.install({}), Path.cwd()
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        sys.path.remove(str(folder))
        services.install(before)


@contextlib.asynccontextmanager
async def traced(file: str) -> AsyncIterator[Traced]:
    """Run the gateway of ``file``, in which COLLECTOR is the collector's URL."""
    with collecting() as collector, mock.patch.dict(os.environ, QUICK):
        parsed = parse(file.replace("COLLECTOR", collector.url), name="traced.yaml", folder=Path())
        running = RunningGateway(build(parsed))
        await install(running)
        try:
            yield Traced(running, collector)
        finally:
            await running.drain()
            await running.shut_down()
            await running.close()
    assert observed.by is None
    assert observed.sends is None
    assert observed.fed is None
    assert spans.by is None
