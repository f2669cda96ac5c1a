"""`gateway reload --code` many times while peers of all protocols talk to the gateway."""

import json
import os
from pathlib import Path

import psutil
import pytest
from servers.dovecot import Dovecot, dovecot
from servers.mosquitto import Mosquitto, mosquitto
from servers.replaced import Replaced
from servers.replaced_load import Load, Peers
from servers.replaced_mqtt import AtLeastOnce, AtMostOnce, Clean, Retained, Shared, Wills
from servers.replaced_streams import Mailbox, Upstream, WebSockets
from servers.site import until

RELOADS = int(os.environ.get("GATEWAY_RELOADS", "2"))
"""`make faults` does more."""
DESCRIPTORS, MEMORY = 5, 6 * 1024 * 1024
"""By how much the last process may hold more than the second one, and its parent, while peers talk to them."""


def everybody(mailbox: Dovecot, broker: Mosquitto) -> list[Peers]:
    kinds = (AtMostOnce, AtLeastOnce, Clean, Shared, Retained, Wills)
    return [WebSockets(), Mailbox(mailbox), Upstream(broker), *(each() for each in kinds)]


@pytest.mark.timeout(120 + 15 * RELOADS)
@pytest.mark.parametrize("persistence", [False, True], ids=["memory", "stored"])
def test_nothing_is_refused_lost_or_handled_twice(tmp_path: Path, persistence: bool) -> None:
    with (
        dovecot() as mailbox,
        mosquitto(lines=("max_queued_messages 0",)) as broker,
        Load(persistence=persistence, more=everybody(mailbox, broker)) as load,
    ):
        running = Replaced(tmp_path, load.files)
        try:
            load.begin(running)
            held: list[tuple[int, int]] = []
            for _ in range(RELOADS):
                load.grows()
                before = running.answer()
                done = running.reload()
                assert done.returncode == 0, done.stdout + done.stderr + running.said()
                assert running.answer() != before
                load.grows()
                until(lambda: len(running.processes()) <= 2, "the one before has ended")
                held.append(holds(running.processes()))
            load.end()
            assert load.failures == []
            assert load.doubled() == set()
            assert {name for name, times in load.heard.items() if times > 1} == set()
            said = {protocol: len(names) for protocol, names in load.said.items()}
            (tmp_path / "figures").write_text(json.dumps({"said": said, "held": held}))  # for a person who measures
            assert max(held)[0] - held[0][0] <= DESCRIPTORS, held
            assert held[-1][1] - held[0][1] <= MEMORY, held
        finally:
            running.close()


def holds(processes: list[psutil.Process]) -> tuple[int, int]:
    """Return the descriptors of all, and the memory in bytes of the newest."""
    return sum(map(psutil.Process.num_fds, processes)), processes[-1].memory_info().rss
