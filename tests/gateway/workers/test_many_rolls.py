"""Many rolls of the workers, by `gateway reload --code` and by SIGHUP, while peers of all protocols talk to them."""

import json
import os
import signal
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from servers.replaced import Replaced
from servers.replaced_load import Load, Peers
from servers.replaced_mqtt import AtLeastOnce, Clean, Retained, Shared, Wills
from servers.replaced_streams import WebSockets
from servers.site import until

ROLLS = int(os.environ.get("GATEWAY_RELOADS", "2"))
"""`make faults` does more."""
WORKERS = 2
DESCRIPTORS = 10
"""By how many the workers may differ, because peers are connected or not."""
GROWTH = 6 * 1024 * 1024
"""Bytes by which each process may be larger after the last roll than after the first one."""


class Held(NamedTuple):
    """What the processes hold."""

    parent: int
    """The descriptors of the parent."""
    workers: int
    """Those of all workers."""
    parent_memory: int
    workers_memory: int

    @classmethod
    def now(cls, running: Replaced) -> Self:
        parent, *others = running.processes()
        assert len(others) == WORKERS
        memory = [each.memory_info().rss for each in others]
        descriptors = sum(each.num_fds() for each in others)
        return cls(parent.num_fds(), descriptors, parent.memory_info().rss, sum(memory))


def workers(running: Replaced) -> set[int]:
    return {each.pid for each in running.processes()[1:]}


def roll(running: Replaced, number: int) -> None:
    """Replace all workers: by the command, or by a signal where the file has changed."""
    before = workers(running)
    if number % 2:
        text = (running.folder / "gateway.yaml").read_text().partition("threads: ")[0]
        running.write("gateway.yaml", f"{text}threads: {4 + number % 4}\n")
        running.process.send_signal(signal.SIGHUP)
    else:
        done = running.reload()
        assert done.returncode == 0, done.stdout + done.stderr + running.said()
    until(lambda: _are_others(running, before), lambda: f"{before} are replaced\n{running.said()}", 60)


def _are_others(running: Replaced, before: set[int]) -> bool:
    now = workers(running)
    return len(now) == WORKERS and not before & now


@pytest.mark.timeout(120 + 20 * ROLLS)
def test_nothing_is_refused_lost_or_handled_twice_and_nothing_grows(tmp_path: Path) -> None:
    peers: list[Peers] = [WebSockets(), AtLeastOnce(), Shared(), Retained(), Wills(), Clean()]
    with Load(persistence=True, more=peers) as load:
        load.files["gateway.yaml"] += f"workers: {WORKERS}\n"
        running = Replaced(tmp_path, load.files)
        try:
            until(lambda: len(workers(running)) == WORKERS, running.said)
            load.begin(running)
            held: list[Held] = []
            for number in range(ROLLS):
                load.grows()
                roll(running, number)
                load.grows()
                held.append(Held.now(running))
            load.end()
            said = {protocol: len(names) for protocol, names in load.said.items()}
            (tmp_path / "figures").write_text(json.dumps({"said": said, "held": held}))  # for a person who measures
            assert load.failures == []
            assert load.doubled() == set()
            assert {each.parent for each in held} == {held[0].parent}
            assert max(each.workers for each in held) - held[0].workers <= DESCRIPTORS, held
            assert held[-1].parent_memory - held[0].parent_memory <= GROWTH, held
            assert held[-1].workers_memory - held[0].workers_memory <= GROWTH * WORKERS, held
        finally:
            running.close()
