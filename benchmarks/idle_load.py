"""Connections that say nothing: ``python -m benchmarks.idle_load mqtt|websocket PORT COUNT``.

Prints ``ready`` when the server has answered all of them, and holds them until its standard input ends.
"""

import socket
import sys

from benchmarks.mqtt_load import packet, string
from benchmarks.windowed import HANDSHAKE

KEEP_ALIVE = 600


def mqtt(port: int, number: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 30)
    head = string(b"MQTT") + b"\4\2" + KEEP_ALIVE.to_bytes(2, "big")
    made.sendall(packet(0x10, head + string(b"idle-%d" % number)))
    assert made.recv(4) == b"\x20\2\0\0"
    return made


def websocket(port: int, number: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 30)
    made.sendall(HANDSHAKE)
    heard = b""
    while not heard.endswith(b"\r\n\r\n"):
        heard += made.recv(4096)
    assert heard.startswith(b"HTTP/1.1 101 "), heard
    return made


if __name__ == "__main__":
    kind, port, count = sys.argv[1:]
    dial = {"mqtt": mqtt, "websocket": websocket}[kind]
    held = [dial(int(port), number) for number in range(int(count))]
    print("ready", flush=True)
    sys.stdin.read()
