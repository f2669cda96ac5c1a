"""The files that all pages use: the style and the script."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

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


def _file(name: str, body: bytes) -> StaticFile:
    kind = _KINDS[name.rpartition(".")[2]]
    return StaticFile(kind, body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
