"""Which engine the URL of a store names. This is the only place that knows which engines there are."""

import re
from importlib import import_module
from pathlib import Path

from gateway.secret_names import hide_passwords
from gateway.store.interfaces import Engine, MovableStore

_DJANGO = "django"
_POSTGRESQL = ("gateway.store.postgresql.engine", "postgresql://USER@HOST/DATABASE")
ENGINES = {
    "sqlite": ("gateway.store.sqlite.engine", "sqlite:FILE, such as sqlite:var/gateway.db"),
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    _DJANGO: ("gateway.django.database", "django, for the default database of the project"),
}
"""By the scheme of the URL: a module, which is imported when it is chosen, and how to write such a URL. The module has
a function ``parse(url, folder)``, which returns an :class:`Engine` or raises ValueError."""
_PASSWORD = re.compile("(//[^/:@]*:).*@", re.DOTALL)
"""A password in a URL. It may contain any character, because it may be written without escapes."""
HERE = Path()


def engine_of(url: str, folder: Path = HERE) -> Engine:
    """The engine that ``url`` names; a relative path starts in ``folder``. Nothing is opened. Raises ValueError, with a
    sentence for people."""
    scheme, colon, _ = url.partition(":")
    shown = hide_passwords(_PASSWORD.sub(r"\1***@", url))
    if scheme not in ENGINES or (not colon and scheme != _DJANGO):
        raise ValueError(
            f"{shown!r} is not a store; write {' or '.join({usage: None for _, usage in ENGINES.values()})}"
        )
    module, usage = ENGINES[scheme]
    try:
        engine: Engine = import_module(module).parse(url, folder)
    except ValueError as error:
        raise ValueError(f"{shown!r} is not a store ({error}); write {usage}") from error
    except ModuleNotFoundError as error:
        if error.name != _DJANGO:
            raise
        raise ValueError("django: Django is not installed; pip install 'asgi-gateway[django]'") from error
    return engine


def memory_store() -> MovableStore:
    """A store in memory, for tests."""
    store: MovableStore = import_module("gateway.store.sqlite.memory").MemoryStore()
    return store
