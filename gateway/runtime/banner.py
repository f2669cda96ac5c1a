"""What the operator reads while the daemon starts and stops: one line a fact, in columns."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from gateway import __version__
from gateway.config.diagnostics import count
from gateway.routing import Route, Router
from gateway.routing.patterns import Topic
from protocols.mqtt.access.acl import Rules
from protocols.server import Server
from protocols.units import TCP, Unix, parse_address

VERSION = __version__.rpartition(".")[0]


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """``rows`` as lines whose cells stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return [f"{indent}{'  '.join(row)}".rstrip() for row in padded]


def routes_of(app: Any) -> list[tuple[str, Route]]:
    """(scope type, route) for every leaf of the tree, in order; nothing for an application that is no router."""
    if not isinstance(app, Router):
        return []
    return [(str(route.pattern), leaf) for route in app.routes for leaf in _leaves(route)]


def _leaves(route: Route) -> Iterator[Route]:
    if not isinstance(route.app, Router):
        yield route
        return
    for below in route.app.routes:
        yield from _leaves(below)


def header(file: str, servers: Sequence[Server], app: Any) -> str:
    routes = routes_of(app)
    answers = count(len(routes), "route") if routes else "one application"
    return f"gateway {VERSION}  {file}: {count(len(servers), 'server')}, {answers}, valid"


def server_lines(servers: Iterable[Server]) -> list[str]:
    return columns(
        [[each.protocol, each.name, each.address, each.status.state, each.status.detail] for each in servers]
    )


def route_lines(app: Any, most: int | None = None) -> list[str]:
    """A line for each route; of each scope type ``most`` lines, and how many more there are."""
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


def try_line(servers: Iterable[Server], settings: Mapping[str, Any], app: Any, command: str) -> str:
    """What to try, built from what is there: each of it can be pasted. Empty where there is nothing to try.

    ``settings`` are those of the ``servers``, by name, in the order of the file.
    """
    examples = _examples({server.name: server for server in servers}, settings, routes_of(app), command)
    return f"try:  {'   ·   '.join(examples)}" if examples else ""


def _examples(
    servers: Mapping[str, Server], settings: Mapping[str, Any], routes: Sequence[tuple[str, Route]], command: str
) -> list[str]:
    first = {settings[name].protocol: name for name in reversed(list(settings)) if name in servers}
    examples = []
    if (name := first.get("mqtt")) and _answers(settings[name], unix=False):
        examples += [f"{command} send mqtt {what}" for what in islice(_publications(settings[name], routes), 1)]
    if (name := first.get("smtp")) and _answers(settings[name]):
        examples += [f"{command} send email {address} 'Hello'" for address in islice(_recipients(routes), 1)]
    if (name := first.get("sms")) and _answers(settings[settings[name].on]):
        examples.append(f"{command} send sms +447700900123 'Hello'")
    if (name := first.get("http")) and not servers[name].address.startswith(("unix:", "fd:")):
        examples.append(f"http{'s' if settings[name].tls else ''}://{servers[name].address}/")
    return examples


def _answers(settings: Any, *, unix: bool = True) -> bool:
    """Whether ``send`` can talk to this server: it finds the address in the file, and has no certificate."""
    place = parse_address(settings.bind)
    found = place.port != 0 if isinstance(place, TCP) else unix and isinstance(place, Unix)
    return found and not (settings.tls and settings.tls.client_ca)


def _publications(settings: Any, routes: Sequence[tuple[str, Route]]) -> Iterator[str]:
    """What the server takes: a topic, a payload and, where one is wanted, a user name; its password is asked for."""
    nobody = [None] if settings.anonymous or not settings.knows_users else []
    for user in [*nobody, *(settings.users or ())]:
        rules = Rules(settings.acl, "gateway-send", user) if settings.acl is not None else None
        login = f" --username {shlex.quote(user)}" if user else ""
        for topic in (_topic(routes, level) for level in ("1", user) if level and _is_level(level)):
            if rules is None or rules.may_publish(topic):
                yield f"{shlex.quote(topic)} 21.5{login}"


def _is_level(name: str) -> bool:
    return not set(name) & set("/+#\0")


def _topic(routes: Sequence[tuple[str, Route]], level: str) -> str:
    """A topic that the first route takes, with ``level`` for its wildcards."""
    found = next((route.pattern for kind, route in routes if kind == "mqtt"), None)
    pattern = found.filter if isinstance(found, Topic) else "mqtt"
    if pattern in ("mqtt", "#"):
        return f"sensors/{level}/temperature"
    return pattern.replace("+", level).replace("#", level).removeprefix("$share/")


def _recipients(routes: Sequence[tuple[str, Route]]) -> Iterator[str]:
    """Addresses that some route takes, where that is easily seen."""
    for kind, route in routes:
        text = str(route.pattern).replace("\\.", ".").removesuffix("$").removeprefix("^")
        if kind == "email" and text in ("email", "default"):
            yield "ann@example.org"
        elif kind == "email" and re.fullmatch(r"[a-z0-9-]*@[a-z0-9.-]+", text):
            yield f"ann{text}" if text.startswith("@") else text


def in_flight(servers: Iterable[Server]) -> dict[str, int]:
    """What is being worked on, by noun, over all servers."""
    total: dict[str, int] = {}
    for server in servers:
        for noun, number in server.active().items():
            if number:
                total[noun] = total.get(noun, 0) + number
    return total


def nouns(active: Mapping[str, int]) -> str:
    """``3 http, 1 websocket``."""
    return ", ".join(f"{number} {noun}" for noun, number in active.items())
