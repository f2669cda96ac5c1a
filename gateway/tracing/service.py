"""Starts and stops tracing, which a process has one of: the gateway that was installed last decides."""

import asyncio
import contextlib
from collections.abc import Mapping

from gateway.scope_kinds import scope_kinds
from gateway.spans import spans
from gateway.tracing.export import Export, tracer_of
from gateway.tracing.maker import Maker
from gateway.tracing.origin import Origins
from gateway.tracing.runs import Runs
from gateway.tracing.settings import TracingSettings
from gateway.tracing.traced import Traced
from gateway.tracing.tracer import Tracer
from protocols.app_run import observed
from protocols.lazy_names import LazyMapping, imported

FLUSH = 3.0
"""Seconds for the last spans to be sent when the gateway ends."""


class _Process:
    runs: Runs | None = None


class Tracing:
    """The tracing of one gateway. Nothing happens before :meth:`start`."""

    def __init__(self, settings: TracingSettings) -> None:
        self._settings = settings
        self._kinds = _traced()
        self._tracer: Tracer | None = None
        self._export: Export | None = None

    def start(self) -> None:
        """Trace from now on, in the place of a gateway before."""
        maker = Maker(tracer_of(self._settings))
        origins = Origins(self._settings.sample, self._settings.trust)
        self._tracer, self._export = Tracer(maker, self._kinds), Export(self._settings)
        if _Process.runs is None:
            _Process.runs = Runs(maker, origins, self._kinds)
        else:
            _Process.runs.use(maker, origins, self._kinds)
        observed.add(_Process.runs)
        observed.fed, observed.sends = _Process.runs.fed, self._tracer.sends_in_run
        spans.by = self._tracer

    async def close(self) -> None:
        """Send what is left, for ``FLUSH`` seconds at most."""
        if self._export is None:
            return
        if spans.by is self._tracer and _Process.runs is not None:  # no other gateway has come
            observed.remove(_Process.runs)
            observed.fed = observed.sends = spans.by = None
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: its end did not wait so long
                loop.call_soon_threadsafe(sent.set)

        export, self._export = self._export, None
        export.close(tell)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                await sent.wait()
        export.give_up()


def _traced() -> Mapping[str, Traced]:
    """Return what tracing knows of each scope type that the file needs."""
    kinds = scope_kinds()
    made = kinds.made() if isinstance(kinds, LazyMapping) else kinds
    return {name: imported(kind.traced)(name) for name, kind in made.items()}
