"""One run of an application over one whole message, its answers collected instead of given."""

import asyncio
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.delivery.limit import NoThread
from protocols.app_run import AppRun, log_crash
from protocols.asgi import Application, MQTTDisconnectEvent
from protocols.errors import LocalProtocolError
from protocols.events import Event, checked
from protocols.mail import events as mail_events
from protocols.mqtt import events as mqtt_events
from protocols.sms import events as sms_events

LONGEST_FAILURE = 8000
"""Characters of a traceback that are kept, from its end."""
_DISCONNECT: MQTTDisconnectEvent = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt."""

    verdict: Event | None
    """The last accept, reject or defer; None where it said nothing, which accepts."""
    replies: list[Event]
    """What may ride in the answer to the sender (``sms.send``), where one still waits for it."""
    outgoing: list[Event]
    """What leaves on its own (``email.send``, ``mqtt.send``)."""
    error: BaseException | None
    """What it failed with."""

    @property
    def rejected(self) -> bool:
        return self.verdict is not None and self.verdict["type"].endswith(".reject")

    @property
    def failure(self) -> str:
        """For the store: the traceback, its last line first to be read; ``deferred`` where it did not crash."""
        if self.error is None:
            return "deferred"
        return "".join(traceback.format_exception(self.error))[-LONGEST_FAILURE:].rstrip()

    @property
    def deferred(self) -> bool:
        return self.verdict is not None and self.verdict["type"].endswith(".defer")

    @property
    def counted(self) -> bool:
        """Whether it is one of the attempts that a policy allows: not where the handler deferred, or found no free
        thread."""
        return not self.deferred and not isinstance(self.error, NoThread)


class Attempt(AppRun):
    """What may be sent, and what makes it valid, is the scope's own, as a server has it; see the subclasses."""

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        super().__init__(app, scope)
        self.verdict: Event | None = None
        self.replies: list[Event] = []
        self.outgoing: list[Event] = []
        for event in events:
            self.feed(event)

    async def outcome(self) -> Outcome:
        """Run the application. Only cancelling comes out of here; a crash is in the outcome, and not logged. What it
        said before does not count then: that is so on a connection too."""
        await self.run()
        if (error := self.failed_with()) is not None:
            return Outcome(None, [], [], error)
        return Outcome(self.verdict, self.replies, self.outgoing, None)

    def failed_with(self) -> BaseException | None:
        return self.error

    def _crashed(self, error: BaseException) -> None:
        self.error = error


class EmailAttempt(Attempt):
    sends: ClassVar = mail_events.SENDS
    checks: ClassVar = mail_events.CHECKS

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        super().__init__(app, scope, [*events, {"type": "email.disconnect"}])

    def email_send(self, event: Event) -> None:
        self.outgoing.append(event)

    def email_accept(self, event: Event) -> None:
        self.verdict = event

    email_reject = email_accept
    email_defer = email_accept


class SMSAttempt(Attempt):
    """Over a text; see :class:`StatusAttempt`."""

    sends: ClassVar = sms_events.MESSAGE
    checks: ClassVar = sms_events.CHECKS

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        super().__init__(app, scope, [*events, {"type": "sms.disconnect"}])

    def sms_send(self, event: Event) -> None:
        self.replies.append(event)

    def sms_accept(self, event: Event) -> None:
        self.verdict = event

    sms_defer = sms_accept

    def sms_reject(self, event: Event) -> None:
        """Taken without a reply."""
        self.replies.clear()
        self.verdict = event


class StatusAttempt(SMSAttempt):
    """Over a delivery receipt, which is not answered."""

    sends: ClassVar = sms_events.STATUS


_ID = 1
"""What the message is acknowledged by."""


class MQTTAttempt(Attempt):
    """The application sees a connection that brings one message; its ``mqtt.ack`` is the end of the attempt.

    The message has an ``id`` here whatever its QoS was, since the store waits for the acknowledgement.
    """

    sends: ClassVar = mqtt_events.STORED
    checks: ClassVar = mqtt_events.CHECKS

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        connect = {"type": "mqtt.connect", "username": scope["username"], "password": None}
        super().__init__(app, scope, [connect, *({**event, "id": _ID} for event in events)])
        self._acknowledged = False

    def failed_with(self) -> BaseException | None:
        if self._acknowledged:
            return None
        nothing = RuntimeError("it ended without acknowledging the message")
        return nothing if self.error is None else self.error

    def _crashed(self, error: BaseException) -> None:
        """After the acknowledgement it changes nothing for the message, and is logged here, as on a connection."""
        if self._acknowledged:
            log_crash(self.scope, error)
        super()._crashed(error)

    def mqtt_accept(self, event: Event) -> None:
        pass

    def mqtt_reject(self, event: Event) -> None:
        self.disconnect(_DISCONNECT)

    mqtt_disconnect = mqtt_reject

    def mqtt_ack(self, event: Event) -> None:
        """With a reason code of an error (MQTT 5, from 0x80): never."""
        self._answered(event)
        if event.get("reason_code", 0) >= 0x80:
            self.verdict = {"type": "mqtt.reject"}

    def mqtt_defer(self, event: Event) -> None:
        self._answered(event)
        self.verdict = event

    def _answered(self, event: Event) -> None:
        if event["id"] != _ID or self._acknowledged:
            raise LocalProtocolError(f"{event['type']}: no message {event['id']} is waiting for it")
        self._acknowledged = True
        asyncio.get_running_loop().call_soon(self.disconnect, _DISCONNECT)

    def mqtt_send(self, event: Event) -> None:
        self.outgoing.append(event)


def _sms_attempt(app: Application, scope: Any, events: Sequence[Any]) -> SMSAttempt:
    return (StatusAttempt if events[0]["type"] == "sms.status" else SMSAttempt)(app, scope, events)


KINDS: dict[str, Callable[[Application, Any, Sequence[Any]], Attempt]] = {
    "email": EmailAttempt,
    "sms": _sms_attempt,
    "mqtt": MQTTAttempt,
}
"""By scope type."""


def checked_again(events: Iterable[Event]) -> list[Event]:
    """Events that were kept, as they may be sent today: an older version may have kept what nobody can speak. Raises
    LocalProtocolError."""
    return [checked(_CHECKS[event["type"].partition(".")[0]], event) for event in events]


_CHECKS = {"email": mail_events.CHECKS, "sms": sms_events.CHECKS, "mqtt": mqtt_events.CHECKS}
