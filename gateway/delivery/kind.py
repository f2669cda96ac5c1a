"""What a scope type has to define so that its messages can be kept and sent."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from gateway.delivery.attempt import Attempt
from gateway.delivery.deduplication import ALWAYS_NEW, Identity
from gateway.delivery.policy import Policy
from gateway.scope_kinds import scope_kinds
from protocols.asgi import Application, Receive, Scope, describe
from protocols.events import Checks, Event, checked


class DeliveryKind(ABC):
    """How the messages of one scope type are kept, handled from the store, answered and sent.

    One object a scope type, without state of its own. The name of an event is that of its scope type, a dot and a verb:
    ``email.accept``, ``email.reject``, ``email.defer``, ``email.send``.
    """

    name: ClassVar[str]
    """The scope type."""
    checks: ClassVar[Checks]
    """What makes each event valid that an application sends, by event type."""
    raw: ClassVar[Mapping[str, Callable[[Any], bytes]]] = {}
    """The content of an event, as an operator wants to see it, by event type."""
    content: ClassVar[frozenset[str]]
    """Keys of its scopes and events that hold what was said, or a part of it: lists and logs leave them out."""
    suffix: ClassVar[str] = ""
    """The suffix of a file with the raw content and nothing else, such as ``.eml``. Empty: an exported message is
    JSON."""

    keep: ClassVar[float | None] = None
    """Seconds for which what handlers send is tried, unless `outgoing.keep` says something else. None: nothing of this
    type leaves by the outbox."""
    keep_words: ClassVar[str] = ""
    """The description of its key of `outgoing.keep` in the reference."""

    # A message that arrives.

    def check(self, policy: Policy) -> None:  # noqa: B027 -- most have nothing to say
        """Raises ValueError, with one sentence, if messages cannot be delivered under ``policy``."""

    def live(self, app: Application, label: str, policy: Policy) -> Application | None:
        """Return the application that stands before ``app``, for a scope that is a connection and brings many messages.

        None: a scope is one message, whose sender waits for the answer.
        """
        return None

    def stores(self, policy: Policy) -> bool:
        """Whether a message on a route with ``policy`` is acknowledged once it is stored, before its handler runs."""
        return policy.inbox

    async def read(self, receive: Receive) -> list[Any]:
        """The events that bring one message, as they are kept."""
        return [await receive()]

    def identity(self, scope: Any, events: Sequence[Any]) -> Identity:
        """How a repetition of the message is recognized. Default: not at all."""
        return ALWAYS_NEW

    def order_key(self, scope: Any, events: Sequence[Any]) -> str:
        """Messages with the same key are handled in order, where a route asks for that. Default: all of a server."""
        return f"{self.name}:{scope['listener']}"

    def subject(self, scope: Scope, events: Sequence[Any]) -> str:
        """The message in a few words, for lists and logs."""
        return describe(scope)

    def unrouted(self, scope: Any) -> Any:
        """Return a stored ``scope`` as it was before routers saw it: its routes have changed, and it is routed anew."""
        return scope

    @abstractmethod
    def attempt(self, app: Application, scope: Any, events: Sequence[Any]) -> Attempt:
        """One run of ``app`` over the whole message."""

    # What its sender is told.

    def accept(self) -> dict[str, Any]:
        return {"type": f"{self.name}.accept"}

    def dead(self) -> dict[str, Any]:
        """What the sender of a message is told that has become a dead letter: the message is kept."""
        return self.accept()

    def reject(self) -> dict[str, Any]:
        return {"type": f"{self.name}.reject", "reason": "it cannot be handled"}

    def defer(self) -> dict[str, Any]:
        return {"type": f"{self.name}.defer"}

    # What handlers send, and the outbox keeps until it has left.

    def parts(self, event: Event, scope: Any) -> Sequence[Event]:
        """``event`` as the messages that leave one after the other."""
        return [event]

    def addressed(self, reply: Event, scope: Any) -> Event:
        """A reply that no longer rides in the answer to its sender, with what it needs to leave on its own."""
        return reply

    def complete(self, event: Event, scope: Any) -> Event:
        """Return ``event``, of code that has no scope, with everything that it needs to leave by the server that
        ``scope`` stands for. Raises LocalProtocolError if something is missing."""
        return event

    def lane(self, listener: str) -> str:
        """Items of one lane leave by one account, and rest together. ``listener`` is the server's name."""
        return f"{self.name} {listener}"

    def kept(self, event: Event, id_: str) -> Event:
        """``event`` as it is stored: it leaves under ``id_`` each time that it is tried."""
        return event

    def recipient(self, event: Event) -> str:
        """Return the recipient of ``event``, for the operator."""
        return str(event.get("to") or "")

    def checked_again(self, events: Sequence[Event]) -> list[Event]:
        """Events that were kept, as they may be sent today: an older version may have kept what nobody can speak.
        Raises LocalProtocolError."""
        return [checked(self.checks, event) for event in events]


def delivery_kind(scope_type: str) -> DeliveryKind | None:
    """None: scopes of this type are not kept, so that a route for them has no policy; or nobody knows it here."""
    kind = scope_kinds().get(scope_type)
    found: DeliveryKind | None = None if kind is None else kind.delivery
    return found


def kind_of_event(event: Event) -> DeliveryKind:
    """Raises LookupError if nobody here knows it."""
    name = event["type"].partition(".")[0]
    if (kind := delivery_kind(name)) is None:
        raise LookupError(f"no installed scope type has {name!r} messages that are kept or sent")
    return kind


def check_policy(scope_type: str, policy: Policy) -> None:
    """Raises ValueError if messages of this scope type cannot be delivered under ``policy``."""
    if policy.plain:
        return
    if (kind := delivery_kind(scope_type)) is None:
        raise ValueError(f"a route for {scope_type} cannot have a policy: nothing of {scope_type} is kept")
    kind.check(policy)
