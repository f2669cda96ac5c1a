"""The lines that the operator reads when the daemon has started: servers, routes, and what to try."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from gateway import __version__
from gateway.config.diagnostics import count
from gateway.routing import Route
from gateway.routing.listing import routes_of
from gateway.scopes.installed import KINDS
from gateway.scopes.kind import Running
from protocols.errors import describe_error
from protocols.server import Server

logger = logging.getLogger(__name__)

VERSION = __version__.rpartition(".")[0]


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Format ``rows`` as lines with aligned cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return [f"{indent}{'  '.join(row)}".rstrip() for row in padded]


def header(file: str, servers: Collection[Server], app: Any, application: str | None) -> str:
    """Return the first line. ``application`` is the target of a file without routes."""
    routes = routes_of(app)
    answers = count(len(routes), "route") if routes else f"application {application}"
    return f"gateway {VERSION}  {file}: {count(len(servers), 'server')}, {answers}, valid"


def server_lines(servers: Iterable[Server]) -> list[str]:
    return columns(
        [[each.protocol, each.name, each.address, each.status.state, each.status.detail] for each in servers]
    )


def route_lines(app: Any, most: int | None = None) -> list[str]:
    """Return a line for each route: at most ``most`` for each scope type, and then how many more there are."""
    rows = [row for _, routes in groupby(routes_of(app), key=itemgetter(0)) for row in _rows(list(routes), most)]
    return columns(rows) if rows else []


def _rows(routes: Sequence[tuple[str, Route]], most: int | None) -> Iterator[list[str]]:
    for kind, route in routes[:most]:
        yield [kind, _pattern(kind, route), "->", route.target]
    if most is not None and len(routes) > most:
        yield [routes[0][0], f"and {len(routes) - most} more", "", ""]


def _pattern(kind: str, route: Route) -> str:
    pattern = str(route.pattern)
    return "everything" if pattern == kind else pattern


def try_line(servers: Iterable[Server], settings: Mapping[str, Any], app: Any, command: str | None) -> str:
    """Return the line with what :func:`examples` finds. If that is nothing, one can still watch what arrives. Without a
    file there is no such command, and the line may be empty."""
    found = examples(servers, settings, app, command)
    if not found and settings and command:
        found = [f"{command} tail --follow"]
    return f"try:  {'   ·   '.join(found)}" if found else ""


def examples(servers: Iterable[Server], settings: Mapping[str, Any], app: Any, command: str | None) -> list[str]:
    """Return commands and addresses to try with these servers and routes, ready to be pasted.

    ``settings`` are those of the ``servers``, by name, in the order of the file. ``command`` calls this program with
    the same file; without a file there are only addresses.
    """
    by_name = {server.name: server for server in servers}
    running = [Running(by_name[name], each) for name, each in settings.items() if name in by_name]
    routes = routes_of(app)
    caller = command or "gateway"
    found: list[str] = []
    for kind in KINDS.made().values():
        try:
            found += kind.suggestions(running, [route for of, route in routes if of == kind.name], caller)
        except Exception as error:  # a mistake in a package that brings a scope type, and no reason to stop
            logger.warning("the scope type %s failed to suggest something to try: %s", kind.name, describe_error(error))
    found.sort(key=lambda example: not example.startswith(caller))  # what a browser opens comes last
    return [example for example in found if command or not example.startswith(caller)]
