"""A house: thermometers report by MQTT, a page shows them live, and mail and texts are answered.

gateway.yaml says which class gets what."""

from pathlib import Path

from gateway import (
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    EmailConsumer,
    InboundEmail,
    MqttConsumer,
    SMSConsumer,
    layer_event,
)

PAGE = Path(__file__).with_name("page.html").read_text()

temperatures: dict[str, float] = {}
"""The last reading of each room, in degrees Celsius."""


def report() -> str:
    lines = [f"{room}: {celsius:.1f} °C" for room, celsius in sorted(temperatures.items())]
    return "\n".join(lines) or "Nothing has been measured yet."


class Thermometer(MqttConsumer):
    """Takes readings. Each device has an instance of its own."""

    def receive(self, topic: str, payload: bytes, room: str) -> None:
        """Handle one message; ``room`` is that of the route's topic. The device gets its acknowledgement when this
        returns, and none if this raises. A plain method runs on a thread, so it may block."""
        temperatures[room] = float(payload)
        self.group_send("live", {"type": "reading.new"})


class AnswerMail(EmailConsumer):
    """Answers mail. Each message has an instance of its own."""

    def receive(self, message: InboundEmail) -> None:
        """Handle one message. If this raises, it is tried again, as often as ``attempts`` in gateway.yaml says."""
        self.reply(report())


class AnswerText(SMSConsumer):
    """Answers texts. Each text has an instance of its own."""

    def receive(self, text: str, media: list) -> None:
        self.reply(report())


class Page(AsyncHttpConsumer):
    """Answers a request. An ``async`` method runs on the event loop, so it must not block."""

    async def handle(self, body: bytes) -> None:
        await self.respond(PAGE, headers={"content-type": "text/html; charset=utf-8"})


class Live(AsyncWebsocketConsumer):
    """Shows the readings, and each new one. Each connection has an instance of its own."""

    async def connect(self, message: dict) -> None:
        await self.group_add("live")
        await self.accept()
        await self.send(text=report())

    @layer_event("reading.new")
    async def on_reading(self, message: dict) -> None:
        await self.send(text=report())
