"""`gateway reload --code` many times: each process holds what the second one held, and leaves nothing behind."""

import collections
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
import pytest
from servers.ports import free_port
from servers.replaced import PAGE, Replaced
from servers.replaced_mqtt import Device
from servers.site import until

RELOADS = int(os.environ.get("GATEWAY_RELOADS", "4"))
"""`make faults` does more."""
GROWTH = 2 * 1024 * 1024
"""Bytes by which two processes of the same code may differ."""
PARENT = 4
"""Descriptors of a process that only waits: three, and its channel to the newest one."""
RETAINED = 2000
CONSUMERS = """
import gateway

class Device(gateway.AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Mail(gateway.AsyncEmailConsumer):
    async def receive(self, message):
        pass
"""
FILE = """
console: {bind: "127.0.0.1:CONSOLE"}
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
  local: {protocol: http, bind: "unix:web.sock"}
  devices: {protocol: mqtt, bind: "127.0.0.1:DEVICES", anonymous: true}
  kept: {protocol: mqtt, bind: "127.0.0.1:0", anonymous: true, persistence: true}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  box: {protocol: lmtp, bind: "unix:lmtp.sock"}
routes:
  http: grown_handlers.page
  mqtt: {app: grown_handlers.Device, topic: "#", inbox: true}
  email: {app: grown_handlers.Mail, default: true, inbox: true}
store: sqlite:one.db
"""


class Held:
    """What the gateway's newest process holds, beside the one that was started first."""

    def __init__(self, running: Replaced) -> None:
        self.others = [(each.status() == psutil.STATUS_ZOMBIE, each.num_fds()) for each in running.processes()[:-1]]
        self.newest = newest = running.processes()[-1]
        self.memory = newest.memory_info().rss
        self.threads = newest.num_threads()
        self.descriptors = collections.Counter(_kinds(newest.pid))
        self.files = sorted(_plain(each.name) for each in running.folder.iterdir())

    def shape(self) -> tuple[object, ...]:
        """All that has to be the same."""
        return self.others, self.descriptors, self.files


def _kinds(process: int) -> Iterator[str]:
    """What each descriptor of a process leads to."""
    for each in Path(f"/proc/{process}/fd").iterdir():
        try:
            yield _plain(os.readlink(each))
        except FileNotFoundError:  # closed meanwhile
            continue


def _plain(name: str) -> str:
    """The name without the numbers and marks of one process."""
    return re.sub(r"[0-9a-f]{16}|\d+", "N", name)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Replaced]:
    ports = {"DEVICES": free_port(), "CONSOLE": free_port()}
    text = FILE
    for name, port in ports.items():
        text = text.replace(name, str(port))
    running = Replaced(tmp_path, {"gateway.yaml": text, "grown_handlers.py": PAGE + CONSUMERS})
    fill(ports["DEVICES"])
    yield running
    running.close()


def fill(port: int) -> None:
    """Let the server have what each process hands over to the next one."""
    device = Device(port, "kept")
    device.subscribe("#", 1)
    last: mqtt.MQTTMessageInfo | None = None
    for number in range(RETAINED):
        last = device.client.publish(f"r/{number}", b"x" * 500, 1, retain=True)
    assert last is not None
    last.wait_for_publish(60)
    device.close()


def _has_ended(running: Replaced) -> bool:
    """Whether the newest process is alone with the one that was started first, which waits for it."""
    first, *others = running.processes()
    return len(others) == 1 and first.num_fds() <= PARENT


@pytest.mark.timeout(120 + 15 * RELOADS)
def test_each_process_holds_what_the_second_one_held(running: Replaced, tmp_path: Path) -> None:
    held: list[Held] = []
    for _ in range(RELOADS):
        before = running.answer()
        done = running.reload()
        assert done.returncode == 0, done.stderr + running.said()
        until(lambda before=before: running.answer() not in ("", before), "the next one answers")
        until(lambda: _has_ended(running), "the one before has ended")
        if held:
            until(
                lambda: Held(running).shape() == held[0].shape(), lambda: f"{Held(running).shape()} {held[0].shape()}"
            )
        held.append(Held(running))
    figures = [(each.memory, each.threads, each.descriptors.total()) for each in held]
    (tmp_path / "figures").write_text(json.dumps(figures))  # for a person who measures
    assert len({each.newest.pid for each in held}) == RELOADS
    assert held[-1].memory - held[0].memory < GROWTH, figures
