"""The store: its commits, what it holds, its files and its disk; and attempts at what is stored."""

import contextlib
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.measured import Measured
from servers.programs import program
from servers.site import until
from servers.small_disk import SmallDisk, small_disk

LIMIT = 15.0
FILE = """
servers: {devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", anonymous: true}}
routes: {mqtt: {app: handlers.Device, inbox: true, attempts: 2, backoff: 100ms}}
store: sqlite:disk/gateway.db
log: {level: error}
"""
HANDLERS = """
import asyncio
from pathlib import Path
from gateway import AsyncMqttConsumer

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        while payload == b"slow" and not Path("go").exists():
            await asyncio.sleep(0.02)
        if payload == b"reject":
            self.reject_message(0x99)
        if payload == b"once" and not Path("tried").exists():
            Path("tried").touch()
            raise RuntimeError("not yet")
        if payload == b"fail":
            raise RuntimeError("it never works")
"""
OF = {"type": "mqtt", "route": "mqtt -> handlers.Device"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Measured]:
    running = Measured(tmp_path, FILE, HANDLERS)
    yield running
    running.close()


def publish(site: Measured, *payloads: str) -> bool:
    """Return whether all of them were acknowledged."""
    command = [program("mosquitto_pub"), "-p", str(site.port["devices"]), "-q", "1", "-t", "t", "-l"]
    said = "".join(f"{payload}\n" for payload in payloads).encode()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, input=said, capture_output=True, timeout=3).returncode == 0
    return False


def test_messages_that_wait_run_and_are_dead(site: Measured) -> None:
    for state in ("waiting", "running", "dead"):
        assert site.number("gateway_store_messages", state=state) == 0
    assert site.value("gateway_store_oldest_message_timestamp_seconds") is None
    began = time.time()
    assert publish(site, *["slow"] * 300)
    until(lambda: site.number("gateway_store_messages", state="running") > 0, "some run")
    site.passes(1, "gateway_store_messages", state="waiting")
    oldest = site.number("gateway_store_oldest_message_timestamp_seconds")
    assert began - 1 < oldest < time.time() + 1
    (site.folder / "go").touch()
    site.becomes(None, "gateway_store_oldest_message_timestamp_seconds")
    assert site.number("gateway_store_messages", state="waiting") == 0
    assert site.number("gateway_store_messages", state="running") == 0
    assert publish(site, "fail", "fail")
    site.becomes(2, "gateway_store_messages", state="dead")


def test_each_end_of_an_attempt(site: Measured) -> None:
    assert publish(site, "fine", "fine", "fine", "reject", "once")
    site.becomes(4, "gateway_deliveries_total", **OF, verdict="done")
    site.becomes(1, "gateway_deliveries_total", **OF, verdict="rejected")
    site.becomes(1, "gateway_deliveries_total", **OF, verdict="retried")
    assert site.number("gateway_deliveries_total", **OF, verdict="dead") == 0
    assert publish(site, "fail")
    site.becomes(1, "gateway_deliveries_total", **OF, verdict="dead")
    assert site.number("gateway_deliveries_total", **OF, verdict="retried") == 2
    assert site.number("gateway_delivery_duration_seconds_count", **OF) == 4 + 1 + 2 + 1


def test_how_long_an_attempt_takes(site: Measured) -> None:
    assert publish(site, "slow")
    site.becomes(1, "gateway_store_messages", state="running")
    time.sleep(0.3)  # the handler takes at least as long
    (site.folder / "go").touch()
    site.becomes(1, "gateway_delivery_duration_seconds_count", **OF)
    assert 0.3 < site.number("gateway_delivery_duration_seconds_sum", **OF) < LIMIT
    assert site.number("gateway_delivery_duration_seconds_bucket", **OF, le="0.25") == 0


def test_each_commit_and_the_calls_in_it(site: Measured) -> None:
    seconds, calls = "gateway_store_commit_seconds", "gateway_store_commit_calls"
    names = (f"{seconds}_sum", f"{seconds}_count", f"{calls}_sum", f"{calls}_count")
    before = {each: site.number(each) for each in names}
    assert publish(site, *["fine"] * 50)
    site.becomes(50, "gateway_deliveries_total", **OF, verdict="done")
    grown = {each: site.number(each) - number for each, number in before.items()}
    assert grown[f"{calls}_sum"] >= grown[f"{seconds}_count"] >= 1
    assert grown[f"{calls}_count"] >= 1
    assert 0 < grown[f"{seconds}_sum"] < LIMIT


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def test_a_disk_that_is_full(disk: SmallDisk, tmp_path: Path) -> None:
    site = Measured(tmp_path, FILE, HANDLERS)
    try:
        assert site.number("gateway_store_available") == 1
        assert site.number("gateway_store_commit_failures_total") == 0
        assert site.number("gateway_store_disk_size_bytes") == shutil.disk_usage(tmp_path / "disk").total == 2 * 1024**2
        assert 0 < site.number("gateway_store_disk_free_bytes") < 2 * 1024**2
        disk.fill()
        site.becomes(0, "gateway_store_disk_free_bytes")
        until(lambda: not publish(site, *["x" * 1000] * 50), "it takes no more")
        site.becomes(0, "gateway_store_available")
        assert site.number("gateway_store_commit_failures_total") >= 1
        disk.empty()
        until(lambda: publish(site, "fine"), "it takes messages again")
        site.becomes(1, "gateway_store_available")
        assert site.number("gateway_store_disk_free_bytes") == shutil.disk_usage(tmp_path / "disk").free > 0
    finally:
        site.close()


def test_the_sizes_of_its_files(site: Measured) -> None:
    def sizes() -> dict[str, float]:
        files = {"database": "gateway.db", "wal": "gateway.db-wal"}
        return {file: (site.folder / "disk" / name).stat().st_size for file, name in files.items()}

    before = site.number("gateway_store_file_bytes", file="wal") + site.number(
        "gateway_store_file_bytes", file="database"
    )
    assert publish(site, *["slow" + "x" * 10_000] * 100)
    until(
        lambda: {file: site.value("gateway_store_file_bytes", file=file) for file in ("database", "wal")} == sizes(),
        "its files have the sizes that are told",
    )
    assert sum(sizes().values()) > before + 500_000


def test_calls_that_wait_while_another_program_locks_the_store(site: Measured) -> None:
    """What the store holds cannot be read then. Why, the rest of its metrics tell."""
    success = "gateway_metrics_reader_success"

    def only_its_holdings_are_missing() -> bool:
        told = site.scrape()
        read = [told[success, frozenset({("reader", name)})] for name in ("store", "store_holdings")]
        return read == [1, 0] and not any(name == "gateway_store_messages" for name, _ in told)

    assert site.number("gateway_store_calls_waiting") == 0
    with contextlib.closing(sqlite3.connect(site.folder / "disk" / "gateway.db", isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        command = [program("mosquitto_pub"), "-p", str(site.port["devices"]), "-q", "1", "-t", "t", "-m", "fine"]
        with subprocess.Popen(command) as publisher:
            site.passes(1, "gateway_store_calls_waiting")
            until(only_its_holdings_are_missing, "a scrape without them")
            locked.execute("ROLLBACK")
            publisher.wait(LIMIT)  # its message was acknowledged, or the connection closed because nothing was stored
    until(lambda: publish(site, "fine"), "it takes messages again")
    site.becomes(0, "gateway_store_calls_waiting")
    site.becomes(1, success, reader="store_holdings")
    site.becomes(0, "gateway_store_messages", state="waiting")
