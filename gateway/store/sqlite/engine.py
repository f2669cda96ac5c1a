"""SQLite, as ``sqlite:FILE`` names it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.store.copying import Source, Target
from gateway.store.interfaces import Engine, Store
from gateway.store.sqlite.file.held import is_held
from gateway.store.sqlite.file.owner import SHARED_LOCKS, lock_path
from gateway.store.transaction import TransactionStore
from protocols.writable import file_fault, folder_fault

if TYPE_CHECKING:
    import sqlite3  # when the store is opened: many files need none


def parse(url: str, folder: Path) -> Engine:
    path = url.partition(":")[2]
    if not path or path.endswith("/"):
        raise ValueError("it names no file")
    return SQLiteEngine(folder / path)


class SQLiteEngine:
    """An :class:`gateway.store.interfaces.Engine` for the file at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def store(self) -> Store:
        from gateway.store.sqlite.store import SQLiteStore  # most of what there is, and many files need no store

        return SQLiteStore(self.path)

    def joined(self, connection: "sqlite3.Connection", owner: str = "") -> TransactionStore:
        from gateway.store.joined import Joined
        from gateway.store.sqlite.plain import Plain
        from gateway.store.sqlite.store import SQLiteStore

        return Joined(Plain(connection), owner, SQLiteStore.operations, SQLiteStore.locks)

    def open_transaction(self) -> None:
        """Return None: the engine does not know the connections of other code."""

    def exists(self) -> bool:
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # it cannot be told: ``open`` says why
        return True

    def faults(self) -> list[str]:
        """The first fault only: the others follow from it."""
        first = next(filter(None, self._faults()), None)
        return [] if first is None else [first]

    def check_shared(self) -> None:
        from gateway.store.sqlite.file.database import check_shared

        check_shared(self.path)

    def source(self) -> AbstractContextManager[Source]:
        from gateway.store.sqlite.image import image

        return image(self.path)

    def target(self) -> AbstractContextManager[Target]:
        from gateway.store.sqlite.image import image

        return image(self.path)

    def _faults(self) -> Iterator[str]:
        yield folder_fault(self.path.parent)
        if self.path.is_symlink():
            yield folder_fault(self.path.resolve().parent, made=False)
        if is_held(self.path):  # it is in use here, and trying to open it would do harm
            return
        for path in self._files():
            yield file_fault(path)
        yield self._version_fault()

    def _files(self) -> Iterator[Path]:
        file = self.path.resolve() if self.path.is_symlink() else self.path  # messages name it as it is written
        for suffix in ("", "-wal", "-shm"):
            yield file.with_name(file.name + suffix)
        for name in SHARED_LOCKS:
            yield lock_path(self.path, name)

    def _version_fault(self) -> str:
        from gateway.store.sqlite.sql.schema import TooNew, check_version, version_in

        try:
            with self.path.open("rb") as file:
                check_version(version_in(file.read(64)))
        except FileNotFoundError:
            return ""
        except TooNew as error:
            return f"{self.path}: {error}"
        return ""
