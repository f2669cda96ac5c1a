"""What the shell completes: names of servers, targets of routes, and what routes take, from the file that the command
line names.

Nothing is imported for it but the settings, and no mistake is reported: a file with mistakes completes what is right.
"""

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import typer

from gateway.cli.terminal import file_of
from gateway.config.loader import load
from gateway.config.settings import Settings
from gateway.scopes.installed import KINDS, SERVERS
from gateway.scopes.kind import ScopeKind

_LITERAL = re.compile(r"\+?[^\\^$*?+()\[\]{}|#]+")
"""A pattern that takes one thing: no regular expression, no filter. A number begins with +."""
Completion = Callable[[typer.Context, str], list[str]]


def quiet(complete: Completion) -> Completion:
    """Let ``complete`` offer nothing if it fails: the shell shows whatever a completion prints."""

    @wraps(complete)
    def quietly(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return complete(ctx, incomplete)
        except (Exception, SystemExit):
            return []

    return quietly


def given_file(ctx: Any) -> str | None:
    """Return the FILE of ``-c FILE``, which may stand before or after the command."""
    while ctx is not None:
        if file := ctx.params.get("config"):
            return str(file)
        ctx = ctx.parent
    return None


def settings_of(ctx: typer.Context) -> Settings:
    return load(file_of(given_file(ctx))).settings


@quiet
def servers(ctx: typer.Context, incomplete: str) -> list[str]:
    """The servers that the command can send to; all of them for a command that is not named after a scope type."""
    kind = KINDS.get(ctx.info_name or "")
    found = settings_of(ctx).servers
    if kind is None:
        return list(found)
    return [name for name, each in found.items() if _takes(each.protocol, kind.protocols)]


def _takes(protocol: str, protocols: tuple[str, ...]) -> bool:
    return (
        protocol in protocols if protocols else SERVERS[protocol].carries
    )  # as for websocket, whose servers are http's


@quiet
def routes(ctx: typer.Context, incomplete: str) -> list[str]:
    """The targets of the routes, as the file writes them."""
    return list(dict.fromkeys(_targets(settings_of(ctx).routes)))


def _targets(routes: Any) -> Iterator[str]:
    for _, line in _lines(routes):
        if target := line if isinstance(line, str) else line.app:
            yield target


def _lines(routes: Any) -> Iterator[tuple[ScopeKind, Any]]:
    for name, kind in KINDS.items():
        lines = getattr(routes, name, None)
        yield from ((kind, line) for line in (lines if isinstance(lines, list) else [lines]) if line is not None)


@quiet
def subjects(ctx: typer.Context, incomplete: str) -> list[str]:
    """What `gateway explain` can be asked: what the routes of the file name literally, and each of their scope
    types."""
    lines = list(_lines(settings_of(ctx).routes))
    named = [subject for kind, line in lines for subject in _subjects(kind, line)]
    return list(dict.fromkeys([*named, *(f"{kind.name}:" for kind, _ in lines)]))


def _subjects(kind: ScopeKind, line: Any) -> Iterator[str]:
    for pattern in (getattr(line, key, None) for key in kind.keys):
        text = pattern.removeprefix("^").removesuffix("$") if isinstance(pattern, str) else ""
        if _LITERAL.fullmatch(text) and _is_understood(kind, text):
            bare = next((each for each in (text, f"/{text}") if kind.bare and re.fullmatch(kind.bare, each)), "")
            yield bare or f"{kind.name}:{text}"


def _is_understood(kind: ScopeKind, text: str) -> bool:
    try:
        return bool(kind.subject(text))
    except ValueError:
        return False
