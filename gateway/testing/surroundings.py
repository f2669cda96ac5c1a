"""What is around an application that is tested: the services that its code finds, where its mail goes, its state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.consumers.answering import Answering, answering
from gateway.event_sender import sender
from gateway.services import Services, services_here
from gateway.testing.one_thread import OneThread
from gateway.testing.outbox import Outbox, RecordingSender
from gateway.threads import thread_pool
from protocols.events import Event


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of one application, or of all that one gateway has."""

    services: Services
    outbox: Outbox
    leave: Callable[[Event], None]
    """Takes what the application sends, in its scope, to others than its peer. Raises LocalProtocolError if that cannot
    leave."""
    state: dict[str, Any] = field(default_factory=dict)
    """The state of the lifespan, of which each scope gets a copy."""


def without_gateway() -> Surroundings:
    """What an application has that is run alone. Services that are installed, such as the channel layer, come first."""
    outbox = Outbox()
    services: Services = {
        thread_pool: OneThread(),
        answering: Answering(),
        sender: RecordingSender(outbox),
        **services_here(),
    }
    return Surroundings(services, outbox, outbox.take)
