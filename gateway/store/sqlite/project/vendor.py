"""Implements :class:`gateway.store.project.Vendor` for SQLite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from gateway.store.interfaces import Engine
from gateway.store.sqlite.file.connection import BUSY
from gateway.store.sqlite.project.connection import IN_MEMORY, ProjectFile
from gateway.store.sqlite.project.engine import ProjectEngine
from gateway.store.sqlite.project.joining import joined
from gateway.store.sqlite.project.schema import NEWEST, migrate, remove

__all__ = ["NEWEST", "engine", "joined", "migrate", "remove"]


def engine(parameters: Mapping[str, Any], alias: str = "") -> Engine:
    """``parameters``: ``database`` is the file or its URI; ``timeout`` and ``init_command`` may be missing."""
    commands = str(parameters.get("init_command", "")).split(";")
    first = tuple(filter(None, map(str.strip, commands)))
    busy = float(parameters.get("timeout", BUSY))
    return ProjectEngine(ProjectFile(_path(str(parameters["database"])), first, busy, alias))


def _path(name: str) -> Path:
    parts = urlsplit(name) if name.startswith("file:") else None
    if name == str(IN_MEMORY) or (parts is not None and "memory" in parse_qs(parts.query).get("mode", ())):
        return IN_MEMORY
    return Path(name if parts is None else unquote(parts.path)).absolute()
