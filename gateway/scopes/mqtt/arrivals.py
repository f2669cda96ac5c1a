"""What arrives by MQTT: devices that connect, and messages."""

from typing import Any, ClassVar

from gateway.arrivals.watch import Began, Here, Watch, began
from protocols.app_run import AppRun
from protocols.mqtt.wire.reasons import SERVER_UNAVAILABLE

_CONNECT = {"type": "mqtt.connect"}


class MQTTWatch(Watch):
    """A message is told of when it is acknowledged; one at QoS 0, which is not, when the application takes it."""

    words: ClassVar = {"accept": "acknowledged", "reject": "rejected", "defer": "not acknowledged"}

    def __init__(self, here: Here, run: AppRun) -> None:
        super().__init__(here, run)
        self._waiting: dict[int, tuple[Any, Began]] = {}
        self._answered = run.state != "connecting" or self.scope["role"] != "server"

    @classmethod
    def who(cls, scope: Any) -> str:
        """The device, or the server that is our connection to a broker."""
        who: str = scope["client_id"] if scope["role"] == "server" else scope["listener"]
        return who

    @classmethod
    def what(cls, scope: Any, event: Any) -> str:
        what: str = event.get("topic", "connect")
        return what

    @classmethod
    def size(cls, scope: Any, event: Any) -> int | None:
        return len(event["payload"]) if "payload" in event else None

    def started(self) -> None:
        """A connection has no event id: its messages have."""

    def received(self, event: Any) -> None:
        if event["type"] != "mqtt.receive":
            return
        if event["id"] is None:
            self._message(event, began(), "taken")
        else:
            self._waiting[event["id"]] = event, began()

    def sent(self, event: Any) -> None:
        kind = event["type"]
        if kind == "mqtt.ack" and event["id"] in self._waiting:
            code = event.get("reason_code", 0)
            verdict = f"{self.words['reject']}, 0x{code:02x}" if code >= 0x80 else self.words["accept"]
            self._message(*self._waiting.pop(event["id"]), verdict)
        elif kind == "mqtt.accept":
            self._answer("accepted")
        elif kind == "mqtt.reject":
            self._answered = True
            self.tell(_CONNECT, f"rejected, 0x{event.get('reason_code', 0x87):02x}")

    def ended(self) -> None:
        self._answer("not answered" if self.run.gone else f"rejected, 0x{SERVER_UNAVAILABLE:02x}", self.run.error)
        for event, since in self._waiting.values():
            self._message(event, since, self.words["defer"], self.run.error)

    def _answer(self, verdict: str, error: BaseException | None = None) -> None:
        if not self._answered:
            self._answered = True
            self.tell(_CONNECT, verdict, error=error)

    def _message(self, event: Any, since: Began, verdict: str, error: BaseException | None = None) -> None:
        self.events = [event] if self.here.keeps_content else []
        label = self.here.route_of({**self.scope, "topic": event["topic"]})
        self.tell(event, verdict, since=since, label=label, error=error)
