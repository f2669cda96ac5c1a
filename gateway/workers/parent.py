"""The parent: starts the workers, watches them and replaces them."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from gateway.config.settings import Settings
from gateway.exit_codes import CANNOT_START, FORCED, MISTAKE, OK
from gateway.logs import setup
from gateway.reload.channel import Message
from gateway.runtime import process
from gateway.runtime.channel_layer import start_relay
from gateway.runtime.launch import Launch
from gateway.runtime.systemd import keep_alive, notify, reloading
from gateway.workers.ask import PATIENCE, ask
from gateway.workers.bell import KINDS
from gateway.workers.crashes import MOST, SHORT, Crashes
from gateway.workers.logins import KnownLogins, Told
from gateway.workers.slot import Slot
from gateway.workers.sockets import Sockets, Wanted
from gateway.workers.totals import Snapshot, Totals
from gateway.workers.worker import Worker, described
from protocols.errors import BindError
from protocols.tasks import Tasks
from protocols.units import parse_address

if TYPE_CHECKING:
    from gateway.layers.ipc import Relay

logger = logging.getLogger(__name__)

WITHIN = 120.0
"""Seconds for a new worker to serve, where nobody says how long it may take."""
PATROL = 1.0
"""Seconds between two looks at the limits of the workers."""
LAST = 30.0
"""Seconds that a worker gets at the end in addition to ``shutdown_timeout``; then it is killed."""


@dataclass(frozen=True)
class File:
    """The gateway's file, as the workers of one moment have it: one that starts later must not read a newer one."""

    text: str
    folder: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError or ValueError."""
        return cls(path.read_bytes().decode("utf-8-sig"), str(path.resolve().parent))


class Parent:
    """Runs ``settings.workers`` processes, which ``launch`` starts, with ``file``. ``relay``: what relays for their
    channel layer in this process."""

    def __init__(self, file: str, settings: Settings, launch: Launch, relay: "Relay | None" = None) -> None:
        self._path = Path(file).absolute()
        self._settings = settings
        self._launch = launch
        self._relay = relay
        self._slots = [Slot(number) for number in range(settings.workers)]
        self._sockets = Sockets(settings.workers)
        self._crashes = Crashes()
        self._totals = Totals()
        self._logins = KnownLogins()
        self._tasks = Tasks("workers")
        self._rolling = asyncio.Lock()
        self._over = asyncio.Event()
        self._code = OK
        self._signals: int = 0
        self._file = File("", "")
        """What the workers that start get."""
        self._generation = 1

    async def run(self) -> int:
        """Return the exit code."""
        self._handle_signals()
        self._tasks.spawn(keep_alive(), name="watchdog")
        if not await self._start():
            return await self._end()
        notify("READY=1")
        self._sockets.store()
        setup.started()
        self._tasks.spawn(self._patrol(), name="patrol")
        await self._over.wait()
        return await self._end()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        acts: Mapping[int, Callable[[], object]] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR1: self._reopen_log,
            signal.SIGUSR2: lambda: logger.warning("SIGUSR2: the gateway ignores it"),
        }
        for number, act in acts.items():
            loop.add_signal_handler(number, act)

    # The beginning, and the end.

    async def _start(self) -> bool:
        """Start the first worker, which finds what is wrong, and then the others. Return whether all serve."""
        try:
            self._file = File.read(self._path)
        except (OSError, ValueError) as error:
            logger.error("cannot start: %s", error)
            self._code = CANNOT_START
            return False
        first, *others = self._slots
        if (code := await self._first(first)) is not None:
            self._code = code if code >= 0 else CANNOT_START
            return False
        done = await asyncio.gather(*(self._first(each) for each in others))
        self._code = max((CANNOT_START for code in done if code is not None), default=OK)
        serves = self._code == OK and not self._over.is_set()
        if serves:
            logger.info("%d workers serve", len(self._slots))
        return serves

    async def _first(self, slot: Slot) -> int | None:
        """Return the exit code of a worker that does not come to serve."""
        async with slot.changes:
            if self._over.is_set():
                return None
            try:
                worker = await self._launched(slot)
            except OSError as error:
                logger.error("cannot start: a worker cannot be started: %s", error)
                return CANNOT_START
            code = await worker.ready
            if code is None:
                self._promote(slot, worker)
            elif not self._over.is_set():
                if code not in (MISTAKE, CANNOT_START):  # then it has said why
                    logger.error("cannot start: %s %s", worker, described(code))
                return code
            return None

    async def _end(self) -> int:
        """Stop the workers that are left, and wait for them."""
        notify("STOPPING=1")
        was_asked = self._over.is_set() and self._signals
        self._over.set()
        if not os.environ.get("NOTIFY_SOCKET"):
            self._sockets.close()  # a connection that no worker would accept is refused at once
        for each in () if was_asked else self._workers():
            each.signal(signal.SIGTERM)
        forced = self._tasks.spawn(self._kill_late(), name="end")
        while workers := list(self._workers()):
            await asyncio.wait([asyncio.ensure_future(each.ended()) for each in workers])
        forced.cancel()
        self._sockets.close()
        await self._tasks.cancel()
        return FORCED if self._signals > 1 else self._code

    async def _kill_late(self) -> None:
        await asyncio.sleep(self._settings.shutdown_timeout + LAST)
        for each in self._workers():
            logger.error("%s does not end, and is killed", each)
            each.kill()

    def _stop(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._over.set()
            for each in self._workers():
                each.signal(signal.SIGTERM)  # the start may wait for one of them
        else:
            for each in self._workers():
                each.kill() if self._signals > 2 else each.signal(signal.SIGTERM)

    def _workers(self) -> Iterator[Worker]:
        for slot in self._slots:
            yield from slot

    # One worker.

    async def _launched(self, slot: Slot) -> Worker:
        """Raises OSError."""
        slot.coming = worker = await Worker.start(self._launch, slot.number, self._hear)
        if self._over.is_set():  # meanwhile
            worker.signal(signal.SIGTERM)
        is_first = self._generation == 1 and not any(each.serving for each in self._slots)
        is_kept = bool(os.environ.get("NOTIFY_SOCKET"))
        ours, theirs = socket.socketpair()
        with theirs:
            worker.say("begin", [theirs], generation=self._generation, first=is_first, kept=is_kept)
        given = {"text": self._file.text, "folder": self._file.folder, "logins": self._logins.all()}
        self._tasks.spawn(_write(ours, json.dumps(given)), name="file")
        return worker

    async def _come(self, slot: Slot, within: float = WITHIN) -> str:
        """Put another worker into the place of the one that serves. Return why it does not serve; empty if it does."""
        async with slot.changes:
            if self._over.is_set():
                return "the gateway stops"
            try:
                worker = await self._launched(slot)
            except OSError as error:
                return f"a worker cannot be started: {error}"
            try:
                async with asyncio.timeout(within):
                    code = await asyncio.shield(worker.ready)
            except TimeoutError:
                worker.kill()
                return f"{worker} was not ready within {within:g} s"
            if code is not None:
                return f"{worker} {worker.why or f'{described(code)} before it served; its log says why'}"
            self._promote(slot, worker)
            return ""

    def _promote(self, slot: Slot, worker: Worker) -> None:
        if (before := slot.promote(worker)) is not None:
            before.say("give_way")

    def _ended(self, worker: Worker, code: int) -> None:
        slot = self._slots[worker.slot]
        served, was_leaving = slot.serving is worker, worker in slot.leaving
        slot.forget(worker)
        self._totals.end(worker.pid)
        self._say_all("leases", dead=worker.owner)
        if self._over.is_set() or (was_leaving and code == OK):
            return
        if was_leaving:
            logger.warning("%s %s while it finished what it had accepted", worker, described(code))
        if served:
            logger.error("%s %s; another one takes its place", worker, described(code))
            self._crashes.note(worker.started)
            self._totals.count_death()
            self._tasks.spawn(self._replace(slot), name="replace")

    async def _replace(self, slot: Slot) -> None:
        """Put another worker into an empty place. Connections wait there meanwhile."""
        while not self._over.is_set():
            if self._crashes.is_loop:
                said = "%d workers have ended within %g s of their start, one after another: the gateway stops"
                logger.error(said, MOST, SHORT)
                self._code = CANNOT_START
                self._over.set()
                return
            await asyncio.sleep(self._crashes.pause)
            began = asyncio.get_running_loop().time()
            if slot.serving is not None or not (why := await self._come(slot)):
                return
            if not self._over.is_set():
                logger.error("%s", why)
            self._crashes.note(began)

    async def _patrol(self) -> None:
        """Replace workers that have reached a limit, one at a time, and those that systemd would take for dead."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(PATROL)
            if loop.time() - began > 2 * PATROL:  # this process has slept, and has not read yet what they have said
                continue
            for slot in self._slots:
                if slot.serving is not None and (why := self._limit_of(slot.serving)):
                    worker = slot.serving
                    async with self._rolling:
                        if slot.serving is not worker:  # it was replaced meanwhile
                            continue
                        logger.info("%s is replaced: %s", worker, why)
                        if trouble := await self._come(slot):
                            logger.error("%s; the one before keeps running", trouble)

    def _limit_of(self, worker: Worker) -> str:
        """Return which limit it has reached; empty if none."""
        memory, age = self._settings.worker_max_memory, self._settings.worker_max_age
        silent = _watched_for()
        if silent and asyncio.get_running_loop().time() - worker.heard > silent:
            logger.error("%s has said nothing for %g s, and is killed: its event loop is blocked", worker, silent)
            worker.kill()
        elif memory and worker.memory > memory * worker.stretch:
            return f"it has {worker.memory // 1024**2} MiB of memory (worker_max_memory)"
        elif age and worker.age > age * worker.stretch:
            return f"it is {worker.age:.0f} s old (worker_max_age)"
        return ""

    # What a signal, or a worker, asks for.

    def _hang_up(self) -> None:
        """SIGHUP: let a worker read the file, which asks for the others if it is right."""
        worker = next((slot.serving for slot in self._slots if slot.serving is not None), None)
        if worker is None or self._over.is_set():
            logger.warning("SIGHUP: the file is not read again, because the gateway starts or stops")
        else:
            worker.say("hang_up")

    def _reopen_log(self) -> None:
        setup.reopen()
        for each in self._workers():
            each.signal(signal.SIGUSR1)

    async def _roll(self, within: float, last: int) -> str:
        """Replace the workers one after another, that of the slot ``last`` at the end. Return why that has failed;
        empty if it has not."""
        if self._rolling.locked():
            return "the workers are being replaced already; try again in a moment"
        async with self._rolling:
            with reloading():
                slots = [*self._slots[last + 1 :], *self._slots[: last + 1]]
                before, generation = self._file, self._generation
                try:
                    self._file = File.read(self._path)
                except (OSError, ValueError) as error:
                    return str(error)
                self._generation += 1
                for each in self._workers():
                    each.say("stay_out")
                for number, slot in enumerate(slots):
                    if why := await self._come(slot, within):
                        if not number:
                            self._file, self._generation = before, generation
                        return self._stopped(slots[number:], why)
                self._sockets.keep(self._wanted())
                self._sockets.store()
                return ""

    def _wanted(self) -> set[Wanted]:
        """Return the addresses of the workers that serve. Those that leave may have others."""
        present = [each for slot in self._slots for each in (slot.serving, slot.coming) if each is not None]
        return {wanted for each in present for wanted in each.listens_on}

    def _stopped(self, left: list[Slot], why: str) -> str:
        """The roll stops: the workers of the slots that are ``left`` go on."""
        for slot in left:
            if slot.serving is not None:
                slot.serving.say("join_in")
        told = f"{why}; {len(left)} of {len(self._slots)} workers run as before"
        logger.error("the workers are not replaced: %s", told)
        return told

    def _hear(self, worker: Worker, message: Message, sockets: list[socket.socket]) -> None:
        """Do what a worker asks for."""
        acts: dict[str, Callable[[], Awaitable[None] | None]] = {
            "sockets": lambda: self._give_sockets(worker, message),
            "ready": lambda: self._is_ready(worker, message),
            "failed": lambda: setattr(worker, "why", f"cannot start: {message['why']}"),
            "alive": lambda: self._is_alive(worker, message),
            **{f"ring {each}": partial(self._ring, worker, each) for each in KINDS},
            **{f"rung {each}": worker.bells[each].answered for each in KINDS},
            "leases": lambda: self._say_all("leases", worker),
            "roll": lambda: self._roll_for(worker, message),
            "gather": lambda: self._gather(worker, message, *sockets),
            "reloaded": lambda: self._say_all("reloaded", worker, successful=message["successful"]),
            "login": lambda: self._pass_on(worker, message["login"]),
            "last": lambda: self._begin_to_read(worker, *sockets),
            "ended": lambda: self._ended(worker, message["code"]),
            "broken": worker.kill,
        }
        act = acts.get(message["do"])
        if act is None:
            logger.error("%s said %r, which the parent does not know", worker, message["do"])
        elif (doing := act()) is not None:
            self._tasks.spawn(_to_end(doing), name=message["do"])

    def _ring(self, ringing: Worker, what: str) -> None:
        """Let all workers but the one that rings look into the store."""
        for each in self._workers():
            if each is not ringing:
                each.bells[what].ring()
        ringing.say(f"rung {what}")

    def _pass_on(self, teller: Worker, login: Told) -> None:
        """Let every worker know of a login to the console."""
        self._logins.note(login)
        self._say_all("login", teller, login=login)

    def _is_alive(self, worker: Worker, message: Message) -> None:
        worker.memory, worker.owner = message["memory"], message["owner"]

    def _is_ready(self, worker: Worker, message: Message) -> None:
        worker.control, worker.owner = message["control"], message["owner"]
        worker.listens_on.update(map(_wanted_in, message["listens"]))
        if not worker.ready.done():
            worker.ready.set_result(None)

    async def _give_sockets(self, worker: Worker, message: Message) -> None:
        wanted = _wanted_in(message)
        try:
            found = await self._sockets.of(worker.slot, wanted, backlog=message["backlog"], private=message["private"])
        except BindError as error:
            worker.say("answer", to=message["request"], error=str(error))
        else:
            worker.listens_on.add(wanted)
            worker.say("answer", found, to=message["request"])

    async def _roll_for(self, worker: Worker, message: Message) -> None:
        why = await self._roll(message.get("within", WITHIN), worker.slot)
        worker.say("answer", to=message["request"], why=why)

    async def _gather(self, asking: Worker, message: Message, connection: socket.socket) -> None:
        """Ask the other workers something, or every worker for its metrics. Write the answers to ``connection``."""
        is_scrape = message["ask"]["do"] == _SNAPSHOT
        asked = [each for each in self._workers() if each.ready.done() and (is_scrape or each is not asking)]
        within = message.get("within", PATIENCE)
        found = await asyncio.gather(*(self._ask(each, message["ask"], within) for each in asked))
        gone: Snapshot = {}
        if is_scrape:
            present = set(self._workers())  # what one has counted that has ended meanwhile is in ``gone``
            found = [facts for each, facts in zip(asked, found, strict=True) if each in present]
            gone = self._totals.gone(**(self._relay.drops() if self._relay is not None else {}))
        await _write(connection, json.dumps({"found": found, "gone": gone}))

    async def _ask(self, worker: Worker, request: Mapping[str, Any], within: float) -> dict[str, Any]:
        """Return the answer of a worker. Remember what it has counted; if it does not answer, what it had counted
        before."""
        answer = await ask(worker.control, request, within)
        if answer is None:
            counted = self._totals.last(worker.pid)
            return {"process": worker.pid, "answer": None, "counted": counted}
        if "counted" in answer and worker in set(self._workers()):
            counted = {name: answer["snapshot"][name] for name in answer["counted"]}
            self._totals.note(worker.pid, counted)
        return {"process": worker.pid, "answer": answer}

    def _begin_to_read(self, worker: Worker, connection: socket.socket) -> None:
        worker.reading = self._tasks.spawn(self._read_last(worker, connection), name="last")

    async def _read_last(self, worker: Worker, connection: socket.socket) -> None:
        """A worker that ends says what it has counted."""
        reader, writer = await asyncio.open_connection(sock=connection)
        with contextlib.suppress(OSError, ValueError):
            self._totals.note(worker.pid, json.loads(await reader.read()))
        writer.close()

    def _say_all(self, do: str, but: Worker | None = None, **more: Any) -> None:
        for each in self._workers():
            if each is not but:
                each.say(do, **more)


_SNAPSHOT = "snapshot"
"""The operation that answers what a worker has counted."""


async def _write(connection: socket.socket, text: str) -> None:
    """Write a text of any length, unless the worker that wants it is gone."""
    _, writer = await asyncio.open_connection(sock=connection)
    with contextlib.suppress(OSError):
        writer.write(text.encode())
        await writer.drain()
    writer.close()


def _wanted_in(message: Message) -> Wanted:
    return Wanted(parse_address(message["bind"]), message["server"], message["once"])


async def _to_end(doing: Awaitable[None]) -> None:
    await doing


def _watched_for() -> float:
    """Return after how many seconds of silence systemd would end the gateway; 0 if it would not."""
    return int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6


def run_parent(file: str, settings: Settings, folder: Path, launch: Launch) -> NoReturn:
    """Run the workers until a signal."""
    os.chdir(folder)
    setup.configure(settings.log, sys.stderr, to_files=True)
    relay = start_relay(Path(), file, settings)
    code = asyncio.run(Parent(file, settings, launch, relay).run())
    if relay is not None:
        relay.stop()
    process.leave(code)
