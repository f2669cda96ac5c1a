"""``atomic: true``: a daemon that is killed at random, while devices, mail servers and an SMS provider send to it.

Every acknowledged message has one row and one item to send, and nothing is there twice; each key keeps its order.
"""

import logging
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from atomic_site import KINDS, AtomicSite, Device, atomic_site, handled
from crashing import Sender, mail

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

logger = logging.getLogger(__name__)

SEEDS = range(int(os.environ.get("FAULT_SEEDS", "1")))
KILLS = int(os.environ.get("FAULT_KILLS", "3"))
"""In each run."""
TOPICS = ("sync/1", "sync/2", "async/1", "async/2", "batch/1", "batch/2", "abatch/1")


def text(site: AtomicSite, what: str) -> bool:
    return site.sms(what, sender="+447700900123", message_id=what).status_code == 200


class Load:
    """Everything that sends to ``site``."""

    def __init__(self, site: AtomicSite) -> None:
        self.devices = [Device(site, topic) for topic in TOPICS]
        self.senders = [
            Sender("smtp", lambda what: mail(site, what, "desk@example.org")),
            Sender("amail", lambda what: mail(site, what, "async@example.org")),
            Sender("inbox", lambda what: mail(site, what, "inbox@example.org")),
            Sender("sms", lambda what: text(site, what)),
        ]

    def start(self) -> None:
        for each in (*self.devices, *self.senders):
            each.start()

    def stop(self) -> list[str]:
        """Let each have its last answer; return what was acknowledged."""
        all_of_them: list[Device | Sender] = [*self.devices, *self.senders]
        for each in all_of_them:
            each.stopping.set()
        for each in all_of_them:
            each.join(60.0)
            assert not each.is_alive(), f"{each.name} gets no answer"
        return [what for each in all_of_them for what in each.acknowledged]


def kill(site: AtomicSite, times: int, chance: random.Random) -> None:
    for number in range(times):
        time.sleep(0.1 + 0.7 * chance.random())
        if site.place is not None and number % 3 == 2:  # the database's end of every connection, perhaps in a commit
            site.place.server.terminate(site.place.name)
            time.sleep(0.3 * chance.random())
        site.signal(signal.SIGKILL)
        site.start()


def twice(found: Counter[str]) -> list[str]:
    return [what for what, number in found.items() if number > 1]


def out_of_order(effects: list[str]) -> list[str]:
    """What a device has sent later than what was written after it."""
    latest: dict[str, int] = {}
    found = []
    for name, number in ((what.rpartition("-")[0], int(what.rpartition("-")[2])) for what in effects):
        if number < latest.get(name, -1):
            found.append(f"{name}-{number}")
        latest[name] = max(number, latest.get(name, -1))
    return [what for what in found if what.startswith(tuple(topic.replace("/", "-") for topic in TOPICS))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_acknowledged_message_has_one_row_and_one_item(tmp_path: Path, kind: str, seed: int) -> None:
    with atomic_site(tmp_path, kind) as site:
        site.start()
        load = Load(site)
        load.start()
        kill(site, KILLS, random.Random(seed))
        time.sleep(0.5)
        acknowledged = load.stop()
        handled(site, 60.0 + 15.0 * KILLS)  # what waits for an older one of its key goes one by one
        effects = site.effects()
        rows, items = Counter(effects), site.items()
        assert [what for what in acknowledged if rows[what] != 1] == [], "a row for each"
        assert [what for what in acknowledged if items[what] != 1] == [], "an item for each"
        assert (twice(rows), twice(items)) == ([], []), "nothing twice, acknowledged or not"
        assert rows.keys() == items.keys(), "no row without its item"
        assert out_of_order(effects) == []
        logger.info("%s: %d kills, %d acknowledged, %d rows", kind, KILLS, len(acknowledged), len(effects))


def test_without_atomic_the_same_load_has_rows_twice(tmp_path: Path) -> None:
    """So the test above sees them."""
    with atomic_site(tmp_path, "control", slowest=0.05) as site:
        site.start()
        load = Load(site)
        load.start()
        kill(site, 2, random.Random(1))
        acknowledged = load.stop()
        handled(site)
        rows = Counter(site.effects())
        assert set(acknowledged) <= rows.keys()
        assert twice(rows)
