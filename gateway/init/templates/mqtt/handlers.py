"""Handlers of MQTT messages. gateway.yaml says which of them gets what."""

from gateway import MqttConsumer

TOO_WARM = 30.0
"""Degrees Celsius."""


class Thermometer(MqttConsumer):
    """Takes readings. Each device has an instance of its own."""

    def receive(self, topic: str, payload: bytes, room: str) -> None:
        """Handle one message; ``room`` is that of the route's topic. The device gets its acknowledgement when this
        returns, and none if this raises."""
        celsius = float(payload)
        print(f"{room}: {celsius:.1f} °C", flush=True)
        if celsius > TOO_WARM:
            self.publish(f"alarms/{room}", f"{celsius:.1f} °C")
