"""Two daemons on one store, one of them killed: the other handles what it had, and nothing acknowledged is lost."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import SEEDS, Crashing, Sender, all_handled, finish, mail, publish, under_way

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

CONFIG = """
store: sqlite:STORE
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883"}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
routes:
  websocket: gateway.WebsocketConsumer
  mqtt: {app: crash_handlers.Device, attempts: 50, backoff: 50ms}
  email:
    - {recipient: "^inbox@", app: crash_handlers.Mail, inbox: true, attempts: 50, backoff: 50ms}
    - {default: true, app: crash_handlers.Mail, attempts: 50}
log: {level: warning}
"""


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Crashing]]:
    """Slow handlers, so that each always has something in its hands."""
    sites = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        site = Crashing(tmp_path / name)
        site.configure(CONFIG.replace("STORE", str(tmp_path / "gateway.db")), book=tmp_path / "book", slowest=0.3)
        sites.append(site)
    try:
        for site in sites:
            site.start()
        yield sites
    finally:
        for site in sites:
            site.close()


def to_both(sites: list[Crashing]) -> list[Sender]:
    """Whose gateway is dead goes on with the other, as mail servers do."""

    def at(number: int) -> Crashing:
        return sites[number % len(sites)]

    return [
        sender
        for number in range(len(sites))
        for sender in (
            Sender(f"mqtt{number}", lambda what, n=number: publish(at(n), what)),
            Sender(f"smtp{number}", lambda what, n=number: mail(at(n), what, "somebody@example.org")),
            Sender(f"inbox{number}", lambda what, n=number: mail(at(n), what, "inbox@example.org")),
        )
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_survivor_handles_what_the_dead_one_had(sites: list[Crashing], seed: int) -> None:
    chance = random.Random(seed)
    senders = to_both(sites)
    for sender in senders:
        sender.start()
    under_way(senders)
    time.sleep(chance.random())
    dead = sites.pop(chance.randrange(2))
    dead.signal(signal.SIGKILL)
    (survivor,) = sites
    acknowledged = finish(senders, 60.0)  # what the dead one was at is "not now" until it is known to be dead
    all_handled(survivor, acknowledged)
    assert "taken over from a process that died" in survivor.output()
    assert survivor.signal(signal.SIGTERM) == 0
    dead.close()
