"""One application run over one sms scope: a text that arrived, or the status of one that we had sent."""

import logging
from typing import ClassVar

from protocols.app_run import AppRun
from protocols.asgi import (
    Application,
    SMSAcceptEvent,
    SMSDeferEvent,
    SMSReceiveEvent,
    SMSRejectEvent,
    SMSScope,
    SMSSendEvent,
    SMSStatusEvent,
    describe,
)
from protocols.sms import events
from protocols.sms.provider import Message, Reply, Status

logger = logging.getLogger(__name__)


class Run(AppRun):
    """What both kinds share: a whole delivery, and a verdict. Returning without one accepts."""

    checks: ClassVar = events.CHECKS

    def __init__(self, app: Application, scope: SMSScope, event: SMSReceiveEvent | SMSStatusEvent) -> None:
        super().__init__(app, scope)
        self.deferred = False
        self.rejected = False
        self.replies: list[Reply] = []
        self.feed(event)
        # Nothing more can come, and an application that reads on learns so at once.
        self.feed({"type": "sms.disconnect"})

    def sms_accept(self, event: SMSAcceptEvent) -> None:
        pass

    def sms_reject(self, event: SMSRejectEvent) -> None:
        """Not wanted, and sending it again would not help: taken without a reply."""
        self.rejected = True
        self.replies.clear()
        logger.info("%s: rejected: %s", describe(self.scope), event["reason"] or "no reason given")

    def sms_defer(self, event: SMSDeferEvent) -> None:
        self.deferred = True


class StatusRun(Run):
    """A delivery receipt. No provider reads a reply from its answer, so that there is no ``sms.send``."""

    sends: ClassVar = events.STATUS

    def __init__(self, app: Application, scope: SMSScope, status: Status) -> None:
        super().__init__(
            app,
            scope,
            {"type": "sms.status", "message_id": status.message_id, "status": status.status, "error": status.error},
        )


class MessageRun(Run):
    """A text. Replies ride in the webhook's answer, until the application ends."""

    sends: ClassVar = events.MESSAGE

    def __init__(self, app: Application, scope: SMSScope, message: Message) -> None:
        super().__init__(app, scope, {"type": "sms.receive", "text": message.text, "media": message.media})
        self._message = message

    def sms_send(self, event: SMSSendEvent) -> None:
        reply = Reply(self._message, event["text"], event["media"], event.get("to"), event.get("from"))
        self.replies.append(reply)
