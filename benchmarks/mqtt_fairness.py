"""Row 15: how long a message of a quiet pair takes while one other client does its worst: p99, in ms. Less is better.

The pair sends one message at a time, at QoS 0. The other client, in a process of its own, keeps the server as busy as
it can (see :mod:`benchmarks.mqtt_fairness_load`); its load ends by itself.
"""

from functools import partial

from benchmarks.mqtt_qos1 import PEERS
from benchmarks.side_by_side import client, compare

FLOODS = {
    "quiet": "nobody else",
    "topics": "a flood to a million distinct topics",
    "subscribed": "the same, with three subscribers",
    "many": "messages to 1,000 subscribers",
    "wildcards": "`+/+/nothing` and `#` subscribed over 100,000 retained messages, again and again",
}


def load(kind: str, port: int, seconds: float) -> float:
    return client("-m", "benchmarks.mqtt_fairness_load", kind, str(port), str(seconds))


if __name__ == "__main__":
    for kind, what in FLOODS.items():
        compare(f"MQTT beside {what}", PEERS[:2], partial(load, kind), unit="ms")
