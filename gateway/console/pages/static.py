"""The files that all pages use: the style and the script."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent."""

    kind: str
    """Its Content-Type."""
    body: bytes
    tag: str
    """Its ETag."""


@cache
def static_files() -> dict[str, StaticFile]:
    """Return the files by their paths."""
    folder = resources.files("gateway.console.pages") / "static"
    return {f"/static/{each.name}": _file(each.name, each.read_bytes()) for each in folder.iterdir()}


@cache
def release() -> str:
    """Return a digest of all files that pages are made of. If it changes, a browser has to load its page again."""
    folder = resources.files("gateway.console.pages")
    files = sorted((each for name in ("static", "templates") for each in (folder / name).iterdir()), key=_name)
    return hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:16]


def _name(file: Traversable) -> str:
    return file.name


def _file(name: str, body: bytes) -> StaticFile:
    kind = _KINDS[name.rpartition(".")[2]]
    return StaticFile(kind, body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
