"""Starts a version whenever a file has changed, and keeps the last one that could start.

The supervisor imports nothing of the application, and each version is a process of its own: no module is ever stale.
The next process is started early, imports the gateway, and waits: only the application is left to import when you save
a file.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from gateway.exit_codes import FORCED, OK
from gateway.reload.channel import Message
from gateway.reload.version import Version
from gateway.reload.watched import Watched
from gateway.reload.watching import changes, forget_bytecode
from gateway.runtime.signals import IGNORED

RETIRING = 3
"""Versions that may finish what they have accepted. If there are more, the oldest is killed."""

_IGNORED = "ignored; a new version starts when a file changes"


class Supervisor:
    """Runs versions of this command, with ``file``, until a signal."""

    def __init__(self, file: Path) -> None:
        self._watched = Watched(frozenset({file.parent}), frozenset({file}))
        self._watching: asyncio.Task[None] | None = None
        self._changed: set[Path] = set()
        """What changed since the version that serves began."""
        self._serving: Version | None = None
        self._candidate: Version | None = None
        """The version that imports the application, and may fail."""
        self._standby: Version | None = None
        """The process of the next version, which waits for a change."""
        self._retiring: list[Version] = []
        self._modules: list[str] = []
        """What the process of the next version may import while it waits."""
        self._format = "text"
        """That of the log, as the last version has read it in the file."""
        self._signals = 0
        self._events: asyncio.Queue[tuple[Version | None, Message]] = asyncio.Queue()

    async def run(self) -> int:
        """Return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: self._events.put_nowait((None, {"do": "stop"})))
        for number in IGNORED:
            loop.add_signal_handler(number, self._print, f"{number.name}: {_IGNORED}")
        self._watch()
        await self._begin()
        while not self._signals or self._versions():
            await self._handle(*await self._events.get())
        if self._watching is not None:
            self._watching.cancel()
        return FORCED if self._signals > 1 else OK

    async def _handle(self, version: Version | None, message: Message) -> None:
        """Do what an event asks for. Ignore the events of a version that no longer counts."""
        if version is not None and version not in self._versions():
            return
        acts: dict[str, Callable[[], Awaitable[None] | None]] = {
            "changed": lambda: self._change(message["paths"]),
            "imported": lambda: self._note(version, message["files"]),
            "watch": lambda: self._learn(version, message),
            "ready": self._promote,
            "ended": lambda: self._forget(version, message["code"]),
            "broken": lambda: self._give_up(version, message["why"]),
            "stop": self._stop,
        }
        act = acts.get(message["do"]) or partial(self._give_up, version, f"a version said {message['do']!r}")
        if (doing := act()) is not None:
            await doing

    def _give_up(self, version: Version | None, why: str) -> None:
        """End a version that says what it must not say. Its end is then an event like any other."""
        self._print(why)
        if version is not None:
            version.kill()

    async def _change(self, paths: set[Path]) -> None:
        self._changed |= paths
        await self._begin()

    def _learn(self, version: Version | None, message: Message) -> None:
        if version is not None:
            version.is_importing = False
        self._modules, self._format = message["modules"], message["format"]
        self._watch(Watched.of(message))

    def _note(self, version: Version | None, files: list[str]) -> None:
        if version is not None:
            version.imported = frozenset(map(Path, files))

    async def _begin(self) -> None:
        """Let a version begin with what the files say now."""
        if self._signals:
            return
        if self._candidate is not None:
            self._candidate.kill()
            await self._candidate.ended()
            self._resume()
        if self._serving is None:
            await self._free_addresses()
        forget_bytecode(self._changed)
        if self._standby is not None and self._standby.imported & self._changed:
            self._standby.kill()
            self._standby = None
        self._candidate = self._standby or await self._start()
        self._standby = None
        self._candidate.begin(self._changed)

    async def _free_addresses(self) -> None:
        """End the versions that still have the sockets of one that has died: it cannot pass them on any more."""
        for each in self._retiring:
            each.kill()
            await each.ended()

    async def _promote(self) -> None:
        """The candidate serves: the version before it gives way."""
        if self._serving is not None:
            self._serving.give_way()
            self._retiring.append(self._serving)
        self._serving, self._candidate = self._candidate, None
        self._changed.clear()
        for each in self._retiring[:-RETIRING]:
            each.kill()
        await self._prepare()

    async def _forget(self, version: Version | None, code: int) -> None:
        """Go on without a process that has ended."""
        if version is self._candidate:
            self._candidate = None
            await self._fall_back()
        elif version is self._serving:
            self._serving = None
            self._print(f"the process ended with code {code}; the next one starts when a file changes")
        elif version is self._standby:
            self._standby = None
        else:
            self._retiring = [each for each in self._retiring if each is not version]

    async def _fall_back(self) -> None:
        self._resume()
        self._print("the version before keeps running" if self._serving else "nothing runs until a file changes")
        await self._prepare()

    def _resume(self) -> None:
        if self._serving is not None:
            self._serving.resume()

    async def _prepare(self) -> None:
        """Start the process of the next version. It takes over from the one that serves now."""
        if self._standby is not None:
            self._standby.kill()
        self._standby = None
        if not self._signals:
            self._standby = await self._start()
            self._standby.prepare(self._modules)

    async def _start(self) -> Version:
        return await Version.start(self._serving, lambda version, message: self._events.put_nowait((version, message)))

    def _stop(self) -> None:
        self._signals += 1
        if self._standby is not None:
            self._standby.kill()
        for each in self._versions():
            if each.is_importing:  # it handles no signal while a module is imported, and has nothing to finish
                each.kill()
            else:
                each.stop() if self._signals == 1 else each.force()

    def _print(self, text: str) -> None:
        """Tell the operator what becomes of a mistake, which the version itself has explained."""
        if not self._signals:
            sys.stderr.write(f"{_as_json(text) if self._format == 'json' else f'reload: {text}'}\n")

    def _versions(self) -> list[Version]:
        every = (*self._retiring, self._serving, self._candidate, self._standby)
        return [each for each in every if each is not None]

    def _watch(self, watched: Watched | None = None) -> None:
        """Watch the files of the present version; ``watched``: what it consists of, if that is known by now."""
        if self._watching is not None and watched in (None, self._watched):
            return
        self._watched = watched or self._watched
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.create_task(self._report_changes(self._watched))

    async def _report_changes(self, watched: Watched) -> None:
        try:
            async for paths in changes(watched):
                self._events.put_nowait((None, {"do": "changed", "paths": paths}))
        except (OSError, RuntimeError) as error:  # the system's limit of watched folders, say
            self._print(f"no file is watched any more: {error}; WATCHFILES_FORCE_POLLING=1 looks at them instead")


def _as_json(text: str) -> str:
    from gateway.logs.formatters import JSONFormatter  # it needs what the supervisor does without

    return JSONFormatter().format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))


def supervise(file: str) -> NoReturn:
    """Run versions of this command until a signal."""
    sys.exit(asyncio.run(Supervisor(Path(os.path.realpath(file))).run()))
