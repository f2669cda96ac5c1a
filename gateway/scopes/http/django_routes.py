"""Routes that Django's ``path()`` and ``re_path()`` have made, as Channels' URLRouter takes them.

Django is not imported: such a route is told by the module of its class, and it brings what matches.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.routing.patterns import Captures, Condition, Pattern, Regex
from gateway.routing.router import Route, Router, route

_MODULE = "django.urls.resolvers"

Find = Callable[[str], tuple[str, tuple[str, ...], dict[str, Any]] | None]
"""Returns the rest of a path, and what was captured; None: the path does not match."""


@dataclass(frozen=True)
class DjangoPath(Pattern):
    """The pattern of ``path()``. Its converters make the captures, so that they may be of any type."""

    text: str
    whole: bool
    """Whether the path ends where the pattern does. It goes on if a router is behind it."""
    extra: Mapping[str, Any] = field(hash=False)
    """The captures that the route itself adds."""
    _find: Find = field(compare=False, repr=False)
    _guard: Regex | None = field(compare=False, repr=False, default=None)
    """The regular expression of the converters: several ``<path:>`` take long for a long path."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        literal, _, rest = self.text.partition("<")
        if self.whole and not rest:
            return (("text", literal),)
        return (("beginning", literal),) if literal else ()

    def match(self, key: str) -> Captures | None:
        if self._guard is not None and self._guard.is_slow(key) and self._guard.match(key) is None:
            return None
        found = self._find(key)
        if found is None:
            return None
        rest, args, kwargs = found
        return Captures(args, {**kwargs, **self.extra}, rest)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class DjangoRegex(Regex):
    """The pattern of ``re_path()``, whose route adds captures."""

    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def match(self, key: str) -> Captures | None:
        found = super().match(key)
        return found and found._replace(kwargs={**found.kwargs, **self.extra})


def is_django_route(given: object) -> bool:
    """Whether ``given`` comes from ``path()`` or ``re_path()``."""
    return type(given).__module__ == _MODULE


def from_django(given: Any, router: Callable[[Any], Router]) -> Route:
    """Return the route, which leads to a ``router`` of its own if it comes from ``include()``. Raises ValueError for a
    pattern that none of ours can be, and for a view of Django."""
    if hasattr(given, "url_patterns"):
        return route(_pattern(given, given.default_kwargs, whole=False), router(given.url_patterns))
    goes_on = isinstance(given.callback, Router) or getattr(given.callback, "_path_routing", False) is True
    return route(_pattern(given, given.default_args, whole=not goes_on), given.callback)


def _pattern(given: Any, extra: Mapping[str, Any], *, whole: bool) -> Pattern:
    kind = type(given.pattern).__name__
    if kind == "RegexPattern":
        text = str(given.pattern)
        return DjangoRegex(text, extra=extra) if extra else Regex(text)
    if kind != "RoutePattern":
        raise ValueError(f"URLRouter takes routes of path() and re_path(), and no {kind}")
    text = str(given.pattern)
    matcher = given.pattern if whole else type(given.pattern)(text, is_endpoint=False)
    try:
        compiled = matcher.regex  # Django compiles it at the first request
    except re.error as error:
        raise ValueError(f"{text!r} is not a path: {error}") from error
    guard = Regex(compiled.pattern) if "<" in text else None
    return DjangoPath(text, whole, extra, matcher.match, guard)
