"""What tracing has to know about a scope type."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gateway.spans import Carrier
from gateway.tracing import names
from protocols.events import Event

FIELDS = ("traceparent", "tracestate")
"""W3C Trace Context."""
LONGEST = 512
"""Characters of a field that are looked at: W3C asks for as many of ``tracestate`` at least."""
Attributes = dict[str, Any]


class Traced:
    """A scope that is one message. Scope types that are something else, or that can carry a trace, have a subclass.

    One object for each scope type, without state of its own.
    """

    is_rare: ClassVar[bool] = False
    """Whether every one is traced: such a message takes milliseconds anyhow."""
    carries: ClassVar[bool] = False
    """Whether what leaves can carry a trace."""
    is_connection: ClassVar[bool] = False
    """Whether its scope is a connection that is not traced itself: its messages are."""
    is_request: ClassVar[bool] = False
    """Whether its sender waits for a response, in OpenTelemetry's words: its span is of the kind SERVER."""
    route_attribute: ClassVar[str] = names.ROUTE
    """The attribute with the pattern of the route that takes a scope."""
    messages: ClassVar[frozenset[str]] = frozenset()
    """The types of events that are messages of a connection, each with a span of its own."""
    system: ClassVar[str] = ""
    """``messaging.system``; empty where OpenTelemetry's conventions for messaging do not fit."""

    def __init__(self, name: str) -> None:
        self.name = name

    # What arrives.

    def span_name(self, operation: str, route: str, scope: Any) -> str:
        return f"{operation} {route or self.name}"

    def attributes(self, operation: str, route: str, scope: Any, event: Any) -> Attributes:
        """Return what is known at the beginning: without ``event``, of the scope."""
        if not self.system:
            return {}
        return {
            names.MESSAGING_SYSTEM: self.system,
            names.OPERATION_NAME: operation,
            names.OPERATION_TYPE: operation,
            names.DESTINATION_TEMPLATE: route,
        }

    def route_of(self, here: Any, scope: Any, event: Any) -> str:
        """Return the label of the route that takes a message of a connection. ``here``: the gateway's arrivals."""
        return str(here.route_of(scope))

    def carrier(self, scope: Any, event: Any) -> Carrier:
        """Return the trace that the sender of a message has written into it."""
        return {}

    def answers(self, scope: Any) -> Sequence[str]:
        """Return the ids of the messages of ours that this may be the answer to, the likeliest first."""
        return ()

    def answered_by(self, scope: Any) -> str:
        """Return who answers, as :meth:`recipients` writes it."""
        return ""

    # What it is answered.

    def verdict(self, event: Any) -> str:
        """Return the verdict that ``event``, which the application sends, is; empty if it is none."""
        return event["type"].rpartition(".")[2] if event["type"].endswith((".accept", ".reject", ".defer")) else ""

    def outcome(self, verdict: str) -> tuple[Attributes, bool]:
        """Return the attributes for the last verdict, and whether it is a failure of ours."""
        return {names.VERDICT: verdict or "accept"}, False

    def is_over(self, event: Any) -> bool:
        """Whether the span of a scope ends with ``event``, although its application goes on."""
        return False

    # What leaves.

    def with_trace(self, event: Event, carrier: Carrier) -> Event:
        """Return ``event``, such as ``email.send``, with the trace for its recipient, if there is a place for it."""
        return event

    def id_of(self, event: Event) -> str:
        """Return the id by which the answer to ``event`` names it; empty if answers name nothing."""
        return ""

    def recipients(self, event: Event) -> Sequence[str]:
        """Return who may answer ``event``."""
        return ()


def from_pairs(pairs: Any) -> Carrier:
    """Return the fields of W3C Trace Context in ``pairs`` of (name, value), of text or bytes. A ``traceparent`` that is
    there twice is none; a ``tracestate`` may be."""
    found: dict[str, list[str]] = {name: [] for name in FIELDS}
    for name, value in pairs:
        if len(name) in _LENGTHS and (text := _text(name).lower()) in found:
            found[text].append(_text(value[: LONGEST + 1]).strip())
    parents, state = found["traceparent"], ",".join(found["tracestate"])
    if len(parents) != 1 or len(parents[0]) > LONGEST:
        return {}
    carrier = {"traceparent": parents[0]}
    return {**carrier, "tracestate": state} if 0 < len(state) <= LONGEST else carrier


_LENGTHS = frozenset(map(len, FIELDS))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def pairs_of(carrier: Carrier) -> list[tuple[str, str]]:
    return [(name, carrier[name]) for name in FIELDS if name in carrier]


TracedKinds = Mapping[str, Traced]
