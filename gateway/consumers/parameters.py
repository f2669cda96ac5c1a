"""The further values of a message that a handler takes, found once in its signature."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OF_THE_MESSAGE = ("qos", "retain", "dup", "properties")
"""Keys of ``mqtt.receive`` that a handler may name as parameters. Every other name is one that the route captures."""


@dataclass(frozen=True)
class Extras:
    """The keyword arguments that one handler is called with."""

    keys: tuple[str, ...] = ()
    """Keys of the event."""
    captures: tuple[str, ...] = ()
    """Names that the route's pattern must capture, or may if the parameter has a default."""
    required: frozenset[str] = frozenset()
    """The captures whose parameter has no default."""
    everything: bool = False
    """Whether it has ``**kwargs``, and gets everything that was captured."""

    def __bool__(self) -> bool:
        return bool(self.keys or self.captures or self.everything)

    def of(self, event: Mapping[str, Any], captured: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the keyword arguments for ``event``, of which ``captured`` was captured if its own keys do not say."""
        captured = event.get("captures") or captured or {}
        if not self.everything:
            captured = {name: captured[name] for name in self.captures if name in captured}
        return {**captured, **{key: event[key] for key in self.keys}}


NO_EXTRAS = Extras()
"""What a handler takes that takes nothing more."""


def wanted_by(app: Any) -> Extras:
    """Return what the handler of an application takes; nothing if that is no consumer whose handler is inspected."""
    wanted: Extras = getattr(getattr(app, "consumer_class", None), "extras", NO_EXTRAS)
    return wanted


def extras(handler: Callable[..., Any], *, given: int, keys: tuple[str, ...] = OF_THE_MESSAGE) -> Extras:
    """Inspect ``handler``, a method that always gets ``given`` arguments after ``self``, and may name ``keys`` of the
    event.

    A handler without a readable signature gets only those. A parameter of a method behind a decorator is optional,
    because the decorator may pass it.
    """
    try:
        parameters = list(inspect.signature(handler).parameters.values())[1 + given :]
        asked = inspect.signature(handler, follow_wrapped=False).parameters
    except (TypeError, ValueError):
        return NO_EXTRAS
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    captures = [each for each in named if each.name not in keys]
    found = Extras(
        keys=tuple(each.name for each in named if each.name in keys),
        captures=tuple(each.name for each in captures),
        required=frozenset(each.name for each in captures if each.default is each.empty and each.name in asked),
        everything=any(each.kind is each.VAR_KEYWORD for each in parameters),
    )
    return found or NO_EXTRAS
