"""kill -9 of a gateway at each step of an exchange at QoS 2 with our own broker: the inbox gets the message once.

A step is a commit of the store (the event id, the put, the beginning and the end of the run, that it is handled, that
the packet identifier is free) or a packet of the device.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from crashing import handled
from qos2_device import QoS2Device
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

COMMITS = 7 if "FAULT_SEEDS" in os.environ else 3
"""``make faults`` kills at each that one message has; one that never comes is that of the next message."""
HANDLERS = """
import os, signal
from pathlib import Path

from gateway import MqttConsumer
from gateway.store.writer import Writer

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
STEP = Path(os.environ["STEP"])
really_commit = Writer._commit


class Device(MqttConsumer):
    def receive(self, topic, payload):
        os.write(BOOK, f"{payload.decode()} {self.scope['extensions']['delivery']['id']}\\n".encode())


def commit(self, database, batch):
    "Die before or after the commit that the file names, from now on."
    if all(job.reads for job in batch) or not STEP.exists():
        return really_commit(self, database, batch)
    when, number = STEP.read_text().split()
    is_last = number == "1"
    if is_last:
        STEP.unlink()  # the next process lives
    else:
        STEP.write_text(f"{when} {int(number) - 1}")
    if not is_last or when == "after":
        really_commit(self, database, batch)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)


Writer._commit = commit
"""
CONFIG = """
store: sqlite:gateway.db
servers: {devices: {protocol: mqtt, bind: "127.0.0.1:PORT", persistence: true}}
routes: {mqtt: [{topic: "#", app: killed_handlers.Device, inbox: true, attempts: 50, backoff: 50ms}]}
log: {level: warning}
"""


class Gateway(GatewayProcess):
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.book, self.step = folder / "book", folder / "step"
        config = CONFIG.replace("PORT", str(self.port))
        super().__init__(folder, "killed_handlers", HANDLERS, config, BOOK=str(self.book), STEP=str(self.step))

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def device(gateway: Gateway) -> Iterator[QoS2Device]:
    made = QoS2Device("one", "127.0.0.1", gateway.port, "device/2")
    yield made
    made.close()


def said(gateway: Gateway, device: QoS2Device, what: str) -> None:
    """Have it say ``what`` until its exchange is over. A gateway that has died is started again."""

    def over() -> bool:
        if gateway.ended():
            gateway.start()
        with suppress(OSError):
            return device.send(what)
        return False

    until(over, lambda: f"PUBCOMP of {what}\n{gateway.output()[-3000:]}", 30.0)


def handled_once(gateway: Gateway, everything: list[str]) -> None:
    until(lambda: handled(gateway.book).keys() >= set(everything), lambda: f"{everything} but {handled(gateway.book)}")
    assert {what: events for what, events in handled(gateway.book).items() if len(events) > 1} == {}
    assert "Traceback" not in gateway.output()


def killed_at_commits(gateway: Gateway, device: QoS2Device, steps: list[str]) -> None:
    """Each message is said to a process that dies at the next of ``steps``, and handled once."""
    everything = ["first", *(step.replace(" ", "-") for step in steps)]
    said(gateway, device, "first")
    for step, what in zip(steps, everything[1:], strict=True):
        gateway.step.write_text(step)
        said(gateway, device, what)
    gateway.step.unlink(missing_ok=True)
    handled_once(gateway, everything)


def test_a_kill_at_any_commit_makes_no_second_message(gateway: Gateway, device: QoS2Device) -> None:
    """Before it: what was kept earlier has been answered. After it: that has not been told to anybody yet."""
    steps = [f"{when} {number}" for number in range(1, COMMITS + 1) for when in ("before", "after")]
    killed_at_commits(gateway, device, steps)


def test_a_device_that_forgets_dup_has_its_message_handled_once_too(gateway: Gateway, device: QoS2Device) -> None:
    """It used to be cut off for ever: its message was to be put again, and is kept already."""
    device.flags = False
    killed_at_commits(gateway, device, [f"after {number}" for number in range(1, COMMITS)])


def test_a_kill_at_any_packet_makes_no_second_message(gateway: Gateway, device: QoS2Device) -> None:
    said(gateway, device, "first")
    steps = ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"]
    for step in steps:

        def kill(reached: str, step: str = step) -> None:
            if reached == step:
                device.step = lambda _: None
                gateway.kill()

        device.step = kill
        said(gateway, device, step)
    handled_once(gateway, ["first", *steps])
