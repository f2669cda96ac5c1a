"""Many devices log in at once: ``python -m benchmarks.mqtt_login_load PORT COUNT``.

Each device has a user name and a password of its own. One that is refused, or cut off, tries again a tenth of a second
later. Prints how often that happened, and the seconds until all are in.
"""

import asyncio
import sys
import time

from benchmarks.mqtt_load import string

LIMIT = 120.0
"""Seconds; then it gives up."""


def password(number: int) -> str:
    return f"secret of device {number}"


def connect(number: int) -> bytes:
    """CONNECT of 3.1.1, with user name and password, a clean session."""
    head = string(b"MQTT") + b"\4\xc2" + (600).to_bytes(2, "big")
    name = string(b"device-%d" % number)
    body = head + name + name + string(password(number).encode())
    assert len(body) < 128
    return bytes((0x10, len(body))) + body


async def log_in(port: int, number: int) -> tuple[int, asyncio.StreamWriter]:
    """How often it was refused, and the connection at last."""
    refused = 0
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(connect(number))
        try:
            answer = await reader.readexactly(4)
        except (asyncio.IncompleteReadError, ConnectionError):
            answer = b""
        if answer == b"\x20\2\0\0":
            return refused, writer
        refused += 1
        writer.close()
        await asyncio.sleep(0.1)


async def storm(port: int, count: int) -> tuple[int, float]:
    """Refusals and seconds."""
    began = time.perf_counter()
    async with asyncio.timeout(LIMIT):
        came = await asyncio.gather(*(log_in(port, number) for number in range(count)))
    seconds = time.perf_counter() - began
    for _, writer in came:
        writer.close()
    return sum(refused for refused, _ in came), seconds


if __name__ == "__main__":
    refusals, seconds = asyncio.run(storm(int(sys.argv[1]), int(sys.argv[2])))
    print(refusals, seconds)
