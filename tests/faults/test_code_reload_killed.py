"""kill -9 of one of the processes while the next one takes over from it: at each phase, and at any moment."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from servers import hand_over_phases
from servers.replaced import Replaced, start_reload
from servers.replaced_load import Load
from servers.site import ROOT, Site, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]

SEEDS = int(os.environ.get("FAULT_SEEDS", "1"))
KILLS = 2
LONGEST = 2.0
"""Seconds that a reload takes, and some more."""
PATIENCE = 60.0
VICTIMS = ("old", "new", "parent", "first")
"""``first`` is the old process that a supervisor has started itself, and ``old`` one that has a parent which waits."""

BEFORE = (
    "got hello",
    "imports",
    "sent sockets",
    "sends answer to sockets",
    "sent answer to sockets",
    "sent stop_delivering",
    "sent answer to stop_delivering",
    "sent release_exclusive",
    "sends answer to release_exclusive",
    "sent answer to release_exclusive",
    "sent state",
    "sent answer to state",
    "sends ready",
    "sent ready",
    "got ready",
)
"""Phases before the next process counts, in their order."""
BETWEEN = ("sent wait", "sends promote", "sent promote", "got promote", "sends serves")
"""The old process has let the next one count, and does not know that it does."""
AFTER = ("sent serves", "got serves", "leaves")
PHASES = (*BEFORE, *BETWEEN, *AFTER)
ONLY_WITHOUT_PARENT, ONLY_WITH_PARENT = {"leaves"}, {"sent wait"}


def cases() -> Iterator[tuple[str, str]]:
    """Each phase with each victim in `make faults`; every fifth phase with one of them in `make test`."""
    victims = itertools.cycle(VICTIMS)
    for phase in PHASES if SEEDS > 3 else PHASES[5::5]:
        without, needs = phase in ONLY_WITHOUT_PARENT, phase in ONLY_WITH_PARENT
        impossible = {"old", "parent"} if without else {"first"} if needs else set()
        possible = [each for each in VICTIMS if each not in impossible]
        chosen = possible if SEEDS > 3 else [next(each for each in victims if each in possible)]
        yield from ((phase, victim) for victim in chosen)


@dataclass
class Processes:
    """The processes of a hand-over: one serves, one takes over, and there may be one that waits for them."""

    old: psutil.Process
    new: psutil.Process
    parent: psutil.Process | None

    def victim(self, name: str) -> psutil.Process:
        found = {"old": self.old, "first": self.old, "new": self.new, "parent": self.parent}[name]
        assert found is not None
        return found


@pytest.mark.parametrize(("phase", "victim"), list(cases()))
def test_one_process_serves_after_a_kill_at_a_phase(tmp_path: Path, phase: str, victim: str) -> None:
    with Load(persistence=True) as load:
        load.files["load_handlers.py"] += hand_over_phases.SOURCE
        running = Replaced(tmp_path, load.files, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        try:
            begin(load, running)
            has_parent = victim != "first" and phase not in ONLY_WITHOUT_PARENT
            if has_parent:
                assert running.reload().returncode == 0
                until(lambda: "parent.py" in " ".join(running.processes()[0].cmdline()), running.said)
            load.grows()
            hand_over_phases.stop_at(running, phase)
            reloading = start_reload(tmp_path)
            stopped = hand_over_phases.stopped(running, PATIENCE)
            kill(running, found(running, stopped, has_parent=has_parent), stopped, victim)
            reloading.wait(PATIENCE)
            outcome = settled(running)
            assert outcome in expected(phase, victim, has_parent=has_parent), running.said()
            if outcome == "restart":
                running.start()  # as a supervisor does
            load.grows()
            assert running.reload().returncode == 0, running.said()
            load.grows()
            load.end()
            assert {line: times for line, times in load.handled().items() if times > allowed(phase, victim)} == {}
            assert load.failures == [] or outcome == "restart"
            ends_without_a_trace(running)
        finally:
            running.close()
            for each in left(running):  # one that has stopped, say
                each.kill()


def begin(load: Load, running: Replaced) -> None:
    """The http server, which has answered, has its address before the others."""
    until(lambda: all(map(Site.accepts, load.ports.values())), running.said)
    load.begin(running)


def found(running: Replaced, stopped: int, *, has_parent: bool) -> Processes:
    parent, *rest = running.processes() if has_parent else [None, *running.processes()]
    old, new = rest[0], rest[1]
    assert stopped in (old.pid, new.pid)
    return Processes(old, new, parent)


def kill(running: Replaced, processes: Processes, stopped: int, victim: str) -> None:
    """Kill it; then the one that has stopped goes on."""
    killed = processes.victim(victim)
    killed.kill()
    if killed.pid == running.process.pid:
        running.process.wait(PATIENCE)
    if stopped != killed.pid:
        os.kill(stopped, signal.SIGCONT)


def settled(running: Replaced) -> str:
    """Wait until one process serves, or none is left for a supervisor that starts another. Return which."""
    until(lambda: running.process.poll() is not None or is_alone(running), running.said, PATIENCE)
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.process.wait(1)
    if running.process.poll() is None:
        assert answers(running)
        return "serves"
    until(lambda: not answers(running) and not left(running), running.said, PATIENCE)
    return "restart"


def is_alone(running: Replaced) -> bool:
    """Whether one daemon runs, beside the process that waits for it, and answers."""
    daemons = [each for each in left(running) if "parent.py" not in " ".join(each.info["cmdline"])]
    return len(daemons) == 1 and answers(running)


def expected(phase: str, victim: str, *, has_parent: bool) -> set[str]:
    """What a kill leads to: ``serves`` where one of the processes goes on, and ``restart`` where the supervisor sees an
    end, and has to start another one."""
    if victim == "parent" or (victim == "first" and not has_parent):
        return {"restart"}  # that is the process that it has started
    if victim == "new":
        if phase == "sent promote":  # the next process goes on until it is killed: it may be the daemon by then
            return {"serves", "restart"}
        return {"serves"} if phase in BEFORE + BETWEEN else {"restart"}
    if phase == "sent ready" and has_parent:  # the old process goes on until it is killed: it may have said so
        return {"serves", "restart"}
    return {"serves"} if phase in (*AFTER, "sent promote", "got promote", "sends serves") else {"restart"}


def allowed(phase: str, victim: str) -> int:
    """How often a message may be handled: what is under way in a process that is killed is handled again."""
    return 1 if victim == "new" and phase in BEFORE[:-3] else 2


def ends_without_a_trace(running: Replaced) -> None:
    """No process, no control socket and no owner's lock is left at the end."""
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE) == 0
    assert left(running) == []
    assert [path.name for path in running.folder.glob("*.sock")] == []
    assert {path.name for path in running.folder.glob("*.lock")} <= {"one.db.open.lock", "one.db.next.lock"}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_was_acknowledged_is_handled_whichever_process_is_killed(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed)
    with Load(persistence=True) as load:
        running = Replaced(tmp_path, load.files)
        try:
            begin(load, running)
            for _ in range(KILLS):
                load.grows()
                reloading = start_reload(tmp_path)
                time.sleep(moment.uniform(0, LONGEST))
                victim = moment.choice(running.processes())
                victim.kill()
                reloading.wait(60)
                if not serves(running):
                    running.start()  # as a supervisor does
            load.grows()
            assert running.reload().returncode == 0
            load.end()
            assert {line for line, times in load.handled().items() if times > 1 + KILLS} == set()
        finally:
            running.close()


def serves(running: Replaced) -> bool:
    """Whether a gateway serves after the kill; a supervisor sees that the process has ended which it has started."""
    until(lambda: running.process.poll() is not None or answers(running), running.said, 60.0)
    try:
        running.process.wait(3)
    except subprocess.TimeoutExpired:
        return True
    until(lambda: not answers(running) and not left(running), running.said, 60.0)
    return False


def answers(running: Replaced) -> bool:
    """Whether a process takes a connection, and does not end before it has answered."""
    with contextlib.suppress(httpx.TransportError):
        return bool(running.answer())
    return False


def left(running: Replaced) -> list[psutil.Process]:
    """The processes of the gateway that live on without the one that was started."""
    folder = str(running.folder)
    return [
        each
        for each in psutil.process_iter(["cwd", "cmdline", "status"])
        if each.info["cwd"] == folder and "gateway" in (each.info["cmdline"] or []) and each.info["status"] != "zombie"
    ]
