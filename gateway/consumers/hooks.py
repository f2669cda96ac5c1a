"""The methods that a consumer's author writes: spelt as they are called, taking what they get, and there at all.

What is wrong is a TypeError where the class is made, or a ValueError where it is given to a router: at start, and not
when somebody's message has been taken by a method that is not there.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

_ALIKE = 0.92
"""``recive`` is ``receive``; ``stats`` is not ``status``."""


class Call(NamedTuple):
    """How a method is called."""

    names: tuple[str, ...] = ("message",)
    by_name: bool = False
    more: bool = False
    """What else it names, it gets."""


def check(consumer: type, hooks: Mapping[str, Call]) -> None:
    """Raises TypeError where a method cannot be called as it will be, or is misspelt."""
    for name, call in hooks.items():
        method = inspect.getattr_static(consumer, name, None)
        if inspect.isfunction(method) and writes(consumer, name) and not takes(method, call):
            wanted = ", ".join(call.names) or "nothing"
            raise TypeError(f"{consumer.__name__}.{name} is called with {wanted}; it takes {_signature(method)}")
    for name, value in vars(consumer).items():
        meant = next((hook for hook in hooks if _is_misspelt(name, hook)), None) if inspect.isfunction(value) else None
        if meant and name not in hooks and not writes(consumer, meant):
            raise TypeError(f"{consumer.__name__}.{name} is never called; did you mean {meant}?")


def writes(consumer: type, name: str) -> bool:
    """Whether the class has a method ``name`` that is not ours."""
    method = getattr(consumer, name, None)
    ours = f"{__package__}."
    return method is not None and not str(getattr(method, "__module__", "")).startswith(ours)


def does_all_itself(consumer: type) -> bool:
    """Whether the class has its own way with events, or with whole scopes."""
    return writes(consumer, "dispatch") or writes(consumer, "run")


def require(consumer: type, names: Iterable[str]) -> None:
    """Raises ValueError where the class writes none of the methods ``names``, the first of which is the usual one."""
    known = list(names)
    if known and not does_all_itself(consumer) and not any(writes(consumer, name) for name in known):
        name = f"{consumer.__module__}.{consumer.__qualname__}"
        raise ValueError(f"{name} handles nothing; write a method such as {known[0]}")


def takes(method: Callable[..., Any], call: Call) -> bool:
    """Whether ``method``, a function of a class, can be called so."""
    signature = _signature(method)
    values: dict[str, Any] = dict.fromkeys(call.names)
    arguments = (None,) if call.by_name else (None, *values)
    try:
        (signature.bind_partial if call.more else signature.bind)(*arguments, **(values if call.by_name else {}))
    except TypeError:
        return False
    return True


def _signature(method: Callable[..., Any]) -> inspect.Signature:
    """Of what is called: a decorator may pass more to the method that it wraps, or less."""
    return inspect.signature(method, follow_wrapped=False)


def _is_misspelt(name: str, hook: str) -> bool:
    """A letter that is missing, doubled or wrong, two that changed places; not a word that goes on (``received``), nor
    one with something before it (``mqtt_reconnect``)."""
    kind = f"{hook.partition('_')[0]}_"
    if name.startswith(kind) and hook.startswith(kind):
        return _is_misspelt(name.removeprefix(kind), hook.removeprefix(kind))
    if hook in name or name in hook:
        return False
    return sorted(name) == sorted(hook) or SequenceMatcher(None, name, hook).ratio() >= _ALIKE
