"""What the inbox costs: the same server with it and without."""

from functools import partial

from benchmarks.side_by_side import Peer, client, compare, python


def command(kind: str, port: int) -> list[str]:
    return python("-m", "benchmarks.inbox_apps", "mqtt", kind, str(port))


PEERS = [Peer(kind, partial(command, kind)) for kind in ("stored", "inbox", "plain")]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.mqtt_load", "qos1", str(port), "10", "100", str(seconds))


if __name__ == "__main__":
    compare("MQTT QoS 1, 10 devices, window 100, with and without the inbox", PEERS, load, unit="messages/s")
