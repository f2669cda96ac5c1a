"""Puts what leaves a gateway into an outbox, by whichever way it would leave."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.delivery.kind import delivery_kind
from gateway.delivery.outbox import Outlet
from gateway.testing.outbox import Outbox
from protocols.asgi import DSNRequest
from protocols.events import Event, checked
from protocols.mail.events import send_event
from protocols.mail.submission import Submission, SubmissionSettings
from protocols.server import Server


class Leaving:
    """The ways by which mails, texts and publications leave one gateway."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.failures: deque[Exception] = deque()
        """What the next attempts fail with."""

    def submission(self, settings: SubmissionSettings) -> Submission:
        """Return what the gateway has in place of its submission server."""
        return _Submission(self)

    def take_over(self, servers: Collection[Server]) -> None:
        """Take what servers would send by the interface of a provider."""
        for server in servers:
            if hasattr(server, "send"):
                setattr(server, "send", self._sender(server.scope_types[0]))  # noqa: B010 -- a method of its class

    def outlets(self, outlets: Mapping[str, Outlet], servers: Collection[Server]) -> dict[str, Outlet]:
        """Return what the outbox of the gateway sends by. Publications go to those of ``servers`` that listen, too."""
        listening = {server.name for server in servers if server.listener is not None}

        def outlet_of(kind: str, outlet: Outlet) -> Outlet:
            async def leave(listener: str, event: Event) -> None:
                self.leave(event)
                if kind == "mqtt" and listener in listening:
                    await outlet(listener, event)

            return leave

        return {kind: outlet_of(kind, outlet) for kind, outlet in outlets.items()}

    def leave(self, event: Event) -> None:
        """Take ``event``. Raises the next of :attr:`failures`."""
        if self.failures:
            raise self.failures.popleft()
        self._outbox.take(event)

    def _sender(self, scope_type: str) -> Any:
        kind = delivery_kind(scope_type)

        async def send(event: Event) -> None:
            self.leave(event if kind is None else checked(kind.checks, {**event, "type": f"{scope_type}.send"}))

        return send


class _Submission:
    def __init__(self, leaving: Leaving) -> None:
        self._leaving = leaving

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        self._leaving.leave(send_event(mail_from, rcpt_to, message))

    async def close(self) -> None:
        pass
