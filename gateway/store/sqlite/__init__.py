"""The store in one SQLite file: nothing to install, nothing to run beside the gateway."""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from gateway.store.sqlite.store import SQLiteStore as SQLiteStore
else:
    __all__, __getattr__ = lazy_names(__name__, {"gateway.store.sqlite.store": ("SQLiteStore",)})
