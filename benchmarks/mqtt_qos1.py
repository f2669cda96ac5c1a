"""Row 4: QoS 1 from 10 devices to an async consumer, the PUBACK after its handler; Mosquitto and amqtt ack alone."""

from benchmarks.side_by_side import Peer, client, compare, python

PEERS = [
    Peer("ours", lambda port: python("-m", "benchmarks.mqtt_apps", "ours", str(port))),
    Peer("mosquitto", lambda port: ["mosquitto", "-p", str(port)]),
    Peer("amqtt", lambda port: python("-m", "benchmarks.mqtt_apps", "amqtt", str(port))),
]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.mqtt_load", "qos1", str(port), "10", "100", str(seconds))


if __name__ == "__main__":
    compare("MQTT QoS 1 in, 10 devices, window 100", PEERS, load, unit="messages/s")
