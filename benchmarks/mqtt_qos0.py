"""Row 5: QoS 0 from 10 devices to an async consumer; counted when the receiving end has done it."""

from benchmarks.side_by_side import Peer, client, compare, python

PEERS = [
    Peer("ours", lambda port: python("-m", "benchmarks.mqtt_apps", "ours", str(port))),
    Peer("mosquitto", lambda port: ["mosquitto", "-p", str(port)]),
    Peer("amqtt", lambda port: python("-m", "benchmarks.mqtt_apps", "amqtt", str(port))),
]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.mqtt_load", "qos0", str(port), "10", "4", str(seconds))


if __name__ == "__main__":
    compare("MQTT QoS 0 in, 10 devices", PEERS, load, unit="messages/s")
