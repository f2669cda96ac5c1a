"""Opens the file of a project. Nothing here creates, migrates, repairs or replaces it."""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from gateway.store.project import command
from gateway.store.sqlite.file.database import started
from gateway.store.sqlite.file.owner import opening
from gateway.store.sqlite.project.connection import IN_MEMORY, ProjectConnection, ProjectFile
from gateway.store.sqlite.project.schema import NEWEST, version_of
from gateway.store.values import StoreUnavailable

_TABLES = "its tables for the gateway"


def open_project(file: ProjectFile) -> tuple[ProjectConnection, str]:
    """The database, ready for use, and what was found, in one line. Raises StoreUnavailable."""
    if missing := _missing(file):
        raise StoreUnavailable(f"{file.path}: {missing}")
    try:
        with opening(file.path):
            return _opened(file)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{file.path}: {error}") from error


def _opened(file: ProjectFile) -> tuple[ProjectConnection, str]:
    with contextlib.ExitStack() as on_error:
        database = ProjectConnection(file)
        on_error.callback(database.close)
        if fault := _version_fault(version_of(database), file):
            raise StoreUnavailable(f"{file.path}: {fault}")
        found = started(database, file.path)
        on_error.pop_all()
    return database, found


def fault(file: ProjectFile) -> str:
    """Why the file cannot be opened by this release; empty if it can. SQLite only reads it: Django may have
    it open in this process (:mod:`gateway.store.sqlite.file.held`)."""
    if missing := _missing(file):
        return missing
    if not os.access(file.path, os.R_OK | os.W_OK):
        return os.strerror(errno.EACCES)
    try:
        return _version_fault(version_in(file.path), file)
    except sqlite3.Error as error:
        return str(error)


def _missing(file: ProjectFile) -> str:
    if file.path == IN_MEMORY:
        return "it is in memory, and the gateway's store needs a file"
    return "" if file.path.exists() else f"there is no such file; {command(file.alias)}"


def version_in(path: Path) -> int:
    """The version of the gateway's tables in the file at ``path``, which is only read; 0 if there are no tables.
    Raises sqlite3.Error.

    It is not opened read-only: the first reader has to roll back what a killed process had begun."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
        return version_of(database)


def _version_fault(version: int, file: ProjectFile) -> str:
    if version > NEWEST:
        return f"{_TABLES} have version {version}, and this release knows {NEWEST}; run the newer release again"
    if version == NEWEST:
        return ""
    lacks = f"{_TABLES} are those of an older release" if version else "it has no tables for the gateway"
    return f"{lacks}; {command(file.alias)}"
