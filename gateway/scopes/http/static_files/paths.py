"""Turns the path of a request into the names of folders and of a file. Pure."""

from protocols.asgi import HTTPScope

WELL_KNOWN = ".well-known"
"""The only name with a leading dot that is served (RFC 8615)."""


def rest_of(scope: HTTPScope) -> str:
    """Return the part of the path that the route has not matched, without a leading slash."""
    rest = scope.get("path_remaining")
    if rest is None:
        rest = scope["path"].removeprefix(scope.get("root_path", ""))
    return rest.removeprefix("/")


def names_of(path: str) -> list[str] | None:
    """Return the names in ``path``; the last is empty for a folder. None if no file can be meant: a name is empty or
    hidden, leads upwards, or has a character that is a separator to other systems."""
    names = path.split("/")
    if "\\" in path or "\0" in path or "" in names[:-1]:
        return None
    return None if any(name.startswith(".") and name != WELL_KNOWN for name in names) else names
