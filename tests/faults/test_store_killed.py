"""kill -9 at any moment, of one of two processes that share a file: whatever a put had answered is there."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crashing import SEEDS
from servers.site import until

from gateway.store.sqlite import SQLiteStore

pytestmark = pytest.mark.fault
PUTTING = Path(__file__).with_name("putting.py")


def start(path: Path, name: str, output: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with output.open("wb") as out:
        return subprocess.Popen([sys.executable, PUTTING, path, name, "50"], stdout=out, env=environment)


def wait_until_open(output: Path) -> None:
    until(lambda: b"open\n" in output.read_bytes(), "the store is open")


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_a_put_had_answered_is_there(tmp_path: Path, seed: int, anyio_backend: object) -> None:
    path = tmp_path / "gateway.db"
    moments = random.Random(f"{seed} {anyio_backend}")  # others on each loop
    outputs = [tmp_path / f"{name}{turn}" for turn in range(3) for name in "ab"]
    for turn in range(3):
        pair = outputs[2 * turn : 2 * turn + 2]
        running = [start(path, f"{output.name}", output) for output in pair]
        try:
            for output in pair:
                wait_until_open(output)
            await asyncio.sleep(moments.uniform(0.0, 0.3))
        finally:
            for process in running:
                process.send_signal(signal.SIGKILL)
                process.wait(10)
    answered = {line for output in outputs for line in output.read_text().split("\n")[1:-1]}
    assert len(answered) > 100
    store = SQLiteStore(path)
    found = await store.open()
    assert "damaged (" not in found, found
    kept = {}
    while taken := await store.take(1000, now=time.time()):
        kept |= {message.id: message.content for message in taken}
        await asyncio.gather(*(store.finish(message.id) for message in taken))
    await store.close()
    assert answered <= kept.keys()
    assert all(content == event.encode() * (1 + int(event.split("-")[1]) % 50) for event, content in kept.items())
