"""Checks the methods of a consumer: their names, their parameters, and that the needed ones exist.

A mistake is a TypeError when the class is defined, or a ValueError when the class is given to a router: at the start,
and not when a message arrives for a method that does not exist.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from functools import partial
from typing import Any, NamedTuple

_ALIKE = 0.92
"""``recive`` is ``receive``; ``stats`` is not ``status``."""


class Call(NamedTuple):
    """How a method is called."""

    names: tuple[str, ...] = ("message",)
    by_name: bool = False
    more: bool = False
    """Whether it also gets the further values that its parameters name."""


def check(consumer: type, hooks: Mapping[str, Call]) -> None:
    """Raise TypeError for a misspelt method, and for one that cannot be called with its arguments."""
    if is_ours(consumer):
        return
    for name in filter(partial(writes, consumer), hooks):
        method, call = inspect.getattr_static(consumer, name), hooks[name]
        if inspect.isfunction(method) and not takes(method, call):
            wanted = ", ".join(call.names) or "nothing"
            raise TypeError(f"{consumer.__name__}.{name} is called with {wanted}; it takes {_signature(method)}")
    own = [name for name, value in vars(consumer).items() if name not in hooks and inspect.isfunction(value)]
    for name in own:
        meant = next((hook for hook in hooks if _is_misspelt(name, hook)), None)
        if meant and not writes(consumer, meant):
            raise TypeError(f"{consumer.__name__}.{name} is never called; did you mean {meant}?")


def check_layer_events(consumer: type, marked: Iterable[str], received: Iterable[str]) -> None:
    """Raise TypeError for a ``@layer_event`` with the type of an event that a peer sends."""
    for kind in set(marked) & set(received):
        raise TypeError(f"{consumer.__name__}: @layer_event({kind!r}) is an event of the peer; choose another type")


def check_groups(consumer: type, groups: Any, marked: Iterable[str]) -> None:
    """Raise TypeError if ``groups`` is not a list of names, or if the class has no handler for their messages."""
    if isinstance(groups, str) or not isinstance(groups, Iterable) or not all(isinstance(name, str) for name in groups):
        raise TypeError(f'{consumer.__name__}.groups is {groups!r}; write a list of names, such as ["readings"]')
    if groups and not marked:
        raise TypeError(f"{consumer.__name__} joins groups and has no @layer_event method for their messages")


def check_no_generators(consumer: type, methods: Mapping[str, Callable[..., Any]]) -> None:
    """Raise TypeError for a method with a ``yield``: a call of it runs none of its lines."""
    for name, method in methods.items():
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            where = f"{consumer.__name__}.{name} (line {method.__code__.co_firstlineno})"
            raise TypeError(f"{where} has a yield, so calling it runs none of it; call a helper instead of yield")


def writes(consumer: type, name: str) -> bool:
    """Whether the class has a method ``name`` of its own."""
    method = getattr(consumer, name, None)
    return method is not None and not is_ours(method)


def is_ours(thing: object) -> bool:
    """Whether a class or a method is one of this package."""
    return str(getattr(thing, "__module__", "")).startswith(f"{__package__}.")


def does_all_itself(consumer: type) -> bool:
    """Whether the class handles events, or whole scopes, by itself."""
    return writes(consumer, "dispatch") or writes(consumer, "run")


def require(consumer: type, names: Iterable[str]) -> None:
    """Raise ValueError if the class has none of the methods ``names``, the first of which is the usual one."""
    known = list(names)
    if known and not does_all_itself(consumer) and not any(writes(consumer, name) for name in known):
        name = f"{consumer.__module__}.{consumer.__qualname__}"
        raise ValueError(f"{name} handles nothing; write a method such as {known[0]}")


def takes(method: Callable[..., Any], call: Call) -> bool:
    """Whether ``method``, a function of a class, can be called in this way."""
    signature = _signature(method)
    values: dict[str, Any] = dict.fromkeys(call.names)
    arguments = (None,) if call.by_name else (None, *values)
    try:
        (signature.bind_partial if call.more else signature.bind)(*arguments, **(values if call.by_name else {}))
    except TypeError:
        return False
    return True


def is_plain(method: Callable[..., Any]) -> bool:
    """Whether ``method`` is a ``def`` without ``async``. What a decorator returns may be awaitable all the same."""
    is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    return inspect.isfunction(method) and not hasattr(method, "__wrapped__") and not is_async


def _signature(method: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of the outermost function: a decorator may pass more or less to the one that it wraps."""
    return inspect.signature(method, follow_wrapped=False)


def _is_misspelt(name: str, hook: str) -> bool:
    """Whether a letter is missing, doubled or wrong, or two are swapped. A longer word (``received``) is not misspelt,
    nor one with a prefix (``mqtt_reconnect``)."""
    kind = f"{hook.partition('_')[0]}_"
    if name.startswith(kind) and hook.startswith(kind):
        return _is_misspelt(name.removeprefix(kind), hook.removeprefix(kind))
    if hook in name or name in hook:
        return False
    if 2 * min(len(name), len(hook)) < _ALIKE * (len(name) + len(hook)):
        return False  # too long or too short
    return sorted(name) == sorted(hook) or SequenceMatcher(None, name, hook).ratio() >= _ALIKE
