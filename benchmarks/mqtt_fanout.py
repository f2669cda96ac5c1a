"""Row 6: one publisher, 100 subscribers, at QoS 0 and at QoS 1; deliveries."""

from functools import partial

from benchmarks.mqtt_qos1 import PEERS
from benchmarks.side_by_side import client, compare

SUBSCRIBERS, WINDOW = "100", "20"


def load(qos: str, port: int, seconds: float) -> float:
    return client("-m", "benchmarks.mqtt_fanout_load", qos, str(port), SUBSCRIBERS, WINDOW, str(seconds))


if __name__ == "__main__":
    for qos in ("0", "1"):
        title = f"MQTT fan-out at QoS {qos}, {SUBSCRIBERS} subscribers, window {WINDOW}"
        compare(title, PEERS, partial(load, qos), unit="deliveries/s")
