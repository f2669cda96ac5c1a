"""A version's process from inside: what the supervisor tells it, and what it tells the supervisor."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Self

from gateway.config.loader import ParsedConfig
from gateway.exit_codes import INTERRUPTED
from gateway.frames import short
from gateway.reload.channel import Channel
from gateway.reload.files import library_modules, own_modules, watched_by
from gateway.reload.predecessor import RemotePredecessor
from gateway.reload.version import BLOCKED, ENVIRONMENT


class Standby:
    """This process, which waits with :meth:`wait` until it may import the application."""

    def __init__(self, channel: Channel, predecessor: RemotePredecessor | None) -> None:
        self.channel = channel
        self.predecessor = predecessor
        self.changed: list[str] = []
        self._began = 0.0

    @classmethod
    def of_environment(cls) -> Self:
        """This process as the supervisor has started it. Programs that the application starts do not see that."""
        own, *before = (Channel.inherited(int(each)) for each in os.environ.pop(ENVIRONMENT).split())
        return cls(own, RemotePredecessor(before[0]) if before else None)

    def wait(self) -> None:
        """Wait for the beginning, and import what can be imported before; end the process if it does not come."""
        self.channel.send({"do": "imported", "files": sorted(map(str, own_modules()))})
        while (received := self.channel.wait()) is not None:
            message, _ = received
            if message["do"] == "begin":
                self.changed, self._began = message["changed"], message["at"]
                signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
                return
            for name in message.get("modules", ()):
                with contextlib.suppress(Exception):  # if it is needed, the version says what is wrong with it
                    import_module(name)
        sys.exit(INTERRUPTED)

    @contextlib.contextmanager
    def reporting(self, parsed: ParsedConfig, file: str) -> Iterator[None]:
        """Tell the supervisor which files this version consists of, when they have been imported, or have failed to
        be: they are what has to change then."""
        try:
            yield
        finally:
            self.channel.send(
                {
                    "do": "watch",
                    **watched_by(parsed, file).as_message(),
                    "modules": library_modules(),
                    "format": parsed.settings.log.format,
                }
            )

    def changed_files(self) -> list[str]:
        """Return what changed, as the operator writes it."""
        return [short(each) for each in self.changed]

    def ready(self) -> None:
        self.channel.send({"do": "ready"})

    def seconds(self) -> float:
        """Return the time since the change."""
        return time.time() - self._began
