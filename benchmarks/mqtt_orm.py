"""Row 7: QoS 1 from 10 devices to rows in SQLite through Django's ORM; beside it Mosquitto with other consumers.

What counts is rows, not acknowledgements: ten devices publish a block of messages, and the next one when all of it is
in the table and acknowledged. A row that never comes ends the run: nothing may be lost.
"""

import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.mqtt_load import Device, devices
from benchmarks.orm_apps import TABLE
from benchmarks.side_by_side import Peer, compare, python

BLOCK = 1_000
DEVICES = 10
PATIENCE = 60.0
"""Seconds for the rows of one block."""
sent: dict[Device, int] = {}

Path("build").mkdir(exist_ok=True)
FOLDER = tempfile.TemporaryDirectory(dir="build")  # on a real disk: fsync on a tmpfs costs nothing


def database(port: int) -> str:
    return str(Path(FOLDER.name) / f"{port}.sqlite3")


def filler(name: str) -> Callable[[int], list[str]]:
    return lambda port: python("-m", "benchmarks.orm_apps", name, str(port), database(port))


PEERS = [
    Peer("ours", filler("ours")),
    Peer("mosquitto+mqttasgi", filler("mqttasgi")),
    Peer("mosquitto+paho", filler("paho")),
]


def load(port: int, seconds: float) -> float:
    """Rows per second."""
    with contextlib.closing(sqlite3.connect(database(port), timeout=30)) as table:
        each = list(devices(port, DEVICES, 0))
        for device in each:
            device.socket.settimeout(PATIENCE)
        first = ready(table, each[0])
        done, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            for device in each:
                publish(device, BLOCK // DEVICES)
            done += BLOCK
            wait_for(table, first + done)
            for device in each:
                acknowledged(device)
        for device in each:
            device.socket.close()
    return done / elapsed


def publish(device: Device, count: int) -> None:
    start = device.next * device.size
    device.socket.sendall(device.ring[start : start + count * device.size])
    device.next = (device.next + count) % device.units
    sent[device] = sent.get(device, 0) + count


def acknowledged(device: Device) -> None:
    """Wait for what is still to come."""
    while device.done < sent[device]:
        device.receipts()


def ready(table: sqlite3.Connection, device: Device) -> int:
    """Publish until somebody listens; how many rows there are then, every one of ours among them."""
    before = rows(table)
    for _ in range(int(PATIENCE / 0.2)):
        publish(device, 1)
        acknowledged(device)
        time.sleep(0.2)
        if rows(table) > before:
            return rows(table)
    raise SystemExit("no row came")


def wait_for(table: sqlite3.Connection, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (there := rows(table)) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{count - there} rows were lost")
        time.sleep(0.001)
    assert there == count, "rows that nobody sent"


def rows(table: sqlite3.Connection) -> int:
    """None is ever deleted, so that the greatest id is their number."""
    try:
        return int(table.execute(f"SELECT coalesce(max(id), 0) FROM {TABLE}").fetchone()[0])
    except sqlite3.OperationalError:  # its server is about to make it
        return 0


if __name__ == "__main__":
    compare("MQTT QoS 1 to rows through Django's ORM, 10 devices", PEERS, load, unit="rows/s")
