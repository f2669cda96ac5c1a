"""One run of an application over one whole message, its answers collected instead of given."""

import asyncio
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.asgi import Application, MQTTDisconnectEvent, check_text, wish_of
from protocols.errors import LocalProtocolError
from protocols.instance import Instance

Event = Mapping[str, Any]
LONGEST_FAILURE = 8000
"""Characters of a traceback that are kept, from its end."""
_DISCONNECT: MQTTDisconnectEvent = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt."""

    verdict: Event | None
    """The last accept, reject or defer; None where it said nothing, which accepts. A ``retry_after`` is as
    :func:`protocols.asgi.wish_of` bounds it, or None."""
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


class Attempt(Instance):
    """The table of what may be sent is that of the scope's own server; see the subclasses."""

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        super().__init__(app, scope)
        self.verdict: Event | None = None
        self.replies: list[Event] = []
        self.outgoing: list[Event] = []
        for event in events:
            self.feed(event)

    async def outcome(self) -> Outcome:
        """Run the application. Only cancelling comes out of here; a crash is in the outcome, and not logged."""
        await self.run()
        return Outcome(self.verdict, self.replies, self.outgoing, self.error)

    def _crashed(self, error: BaseException) -> None:
        self.error = error

    def defer(self, event: Event) -> None:
        self.verdict = {**event, "retry_after": wish_of(event)}


class EmailAttempt(Attempt):
    sends: ClassVar = {
        "open": {
            "email.send": "open",
            "email.accept": "decided",
            "email.reject": "decided",
            "email.defer": "decided",
        },
        "decided": {"email.send": "decided"},
    }

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        super().__init__(app, scope, [*events, {"type": "email.disconnect"}])

    def email_send(self, event: Event) -> None:
        self.outgoing.append({key: event[key] for key in ("type", "mail_from", "rcpt_to", "message")})

    def email_accept(self, event: Event) -> None:
        self.verdict = event

    email_reject = email_accept
    email_defer = Attempt.defer


class SMSAttempt(Attempt):
    sends: ClassVar = {
        "open": {"sms.send": "open", "sms.accept": "accepted", "sms.reject": "over", "sms.defer": "over"},
        "accepted": {"sms.send": "accepted"},
    }

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        events = list(events)
        super().__init__(app, scope, [*events, {"type": "sms.disconnect"}])
        self._answerable = all(event["type"] == "sms.receive" for event in events)

    def sms_send(self, event: Event) -> None:
        if not self._answerable:
            raise LocalProtocolError("'sms.send' may not be sent now: a receipt is not answered")
        check_text(event)
        self.replies.append({key: event[key] for key in ("type", "text", "media", "to", "from") if key in event})

    def sms_accept(self, event: Event) -> None:
        self.verdict = event

    sms_defer = Attempt.defer

    def sms_reject(self, event: Event) -> None:
        """Taken without a reply."""
        self.replies.clear()
        self.verdict = event


class MQTTAttempt(Attempt):
    """The application sees a connection that brings one message; its ``mqtt.ack`` is the end of the attempt.

    The message has an ``id`` here whatever its QoS was, since the store waits for the acknowledgement.
    """

    sends: ClassVar = {
        "connecting": {"mqtt.accept": "open", "mqtt.reject": "refused"},
        "open": {"mqtt.ack": "open", "mqtt.defer": "open", "mqtt.send": "open", "mqtt.disconnect": "over"},
    }

    def __init__(self, app: Application, scope: Any, events: Iterable[Any]) -> None:
        connect = {"type": "mqtt.connect", "username": scope["username"], "password": None}
        super().__init__(app, scope, [connect, *({**event, "id": 1} for event in events)])
        self._acknowledged = False

    async def outcome(self) -> Outcome:
        await self.run()
        error = None if self._acknowledged else self.error or RuntimeError("it ended without acknowledging the message")
        return Outcome(self.verdict, [], self.outgoing, error)

    def mqtt_accept(self, event: Event) -> None:
        pass

    def mqtt_reject(self, event: Event) -> None:
        self._end()

    def mqtt_ack(self, event: Event) -> None:
        """With a reason code of an error (MQTT 5, from 0x80): never."""
        if event.get("reason_code", 0) >= 0x80:
            self.verdict = {"type": "mqtt.reject"}
        self._acknowledged = True
        self._end()

    def mqtt_defer(self, event: Event) -> None:
        self.defer(event)
        self._acknowledged = True
        self._end()

    def mqtt_send(self, event: Event) -> None:
        kept = ("type", "topic", "payload", "qos", "retain", "properties")
        self.outgoing.append({key: event[key] for key in kept if key in event})

    def mqtt_disconnect(self, event: Event) -> None:
        self._end()

    def _end(self) -> None:
        asyncio.get_running_loop().call_soon(lambda: self.disconnect(_DISCONNECT))


KINDS: dict[str, type[Attempt]] = {"email": EmailAttempt, "sms": SMSAttempt, "mqtt": MQTTAttempt}
"""By scope type."""
