"""What mail and texts share: a scope is one whole message, and the application answers with a verdict."""

from collections.abc import MutableMapping
from typing import Any

from gateway.testing.communicator import TIMEOUT, ApplicationCommunicator
from gateway.testing.recorded import RecordedRun
from gateway.testing.surroundings import Surroundings
from protocols.asgi import ReceiveEvent
from protocols.events import Event


class MessageRun(RecordedRun):
    """A run over one whole message. That nothing more comes does not mean that nobody waits for the verdict. The
    verdicts of a subclass are :meth:`decide`."""

    fed = False
    """Whether the message has been given to the application."""
    verdict: Any = None
    """The last one."""

    def feed(self, event: ReceiveEvent) -> None:
        self.fed = True
        super().feed(event)

    def disconnect(self, event: ReceiveEvent) -> None:
        self.feed(event)

    def decide(self, event: Event) -> None:
        self.verdict = event
        self.record(event)


class MessageCommunicator(ApplicationCommunicator):
    """One message, which is ``event``."""

    run_class: type[MessageRun]

    def __init__(
        self, application: Any, scope: MutableMapping[str, Any], event: Event, *, surroundings: Surroundings | None
    ) -> None:
        super().__init__(application, scope, surroundings=surroundings)
        self.event = event

    async def _delivered(self, timeout: float = TIMEOUT) -> Any:
        """Deliver the message, wait until the application has ended, and return its run."""
        run: Any = self._begun()
        if not run.fed:
            await self.send_input(self.event)
            await self.send_input({"type": f"{self.scope['type']}.disconnect"})
        await self.wait(timeout)
        return run
