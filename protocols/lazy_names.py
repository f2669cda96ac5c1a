"""Imports a module when one of its names is asked for, and makes a value when its key is."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")
EMPTY: Mapping[str, Any] = {}


def imported(home: str) -> Any:
    """Import what ``home`` names, as ``module:name``."""
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def lazy_names(package: str, homes: Mapping[str, Iterable[str]]) -> tuple[list[str], Callable[[str], Any]]:
    """Return ``__all__`` and ``__getattr__`` (PEP 562) for ``package``. ``homes``: module -> names in it."""
    modules = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = import_module(modules[name])
        if found.__name__ != f"{package}.{name}":  # a module may be public itself
            found = getattr(found, name)
        setattr(sys.modules[package], name, found)  # the next one finds it at once
        return found

    return sorted(modules), find


class LazyMapping(Mapping[str, T]):
    """A mapping whose keys are known, and whose values are made when they are first asked for, except for those that
    ``made`` has."""

    def __init__(self, names: Iterable[str], make: Callable[[str], T], made: Mapping[str, T] = EMPTY) -> None:
        self._names = dict.fromkeys((*names, *made))
        self._make = make
        self._made = {**made}

    def __getitem__(self, name: str) -> T:
        try:
            return self._made[name]  # each message on a route with a policy asks
        except KeyError:
            if name not in self._names:
                raise
            return self._made.setdefault(name, self._make(name))

    def __setitem__(self, name: str, value: T) -> None:
        self._made[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def made(self) -> dict[str, T]:
        """Return the values that there are by now, in the order of the keys."""
        return {name: self._made[name] for name in self._names if name in self._made}
