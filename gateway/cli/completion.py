"""What the shell completes: names of servers, and targets of routes, from the file that the command line names.

Nothing is imported for it but the settings, and no mistake is reported: a file with mistakes completes what is right.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import typer

from gateway.cli.terminal import file_of
from gateway.config.loader import load
from gateway.config.settings import Settings
from gateway.scopes.installed import KINDS, SERVERS

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


def _settings(ctx: typer.Context) -> Settings:
    return load(file_of(given_file(ctx))).settings


@quiet
def servers(ctx: typer.Context, incomplete: str) -> list[str]:
    """The servers that the command can send to; all of them for a command that is not named after a scope type."""
    kind = KINDS.get(ctx.info_name or "")
    found = _settings(ctx).servers
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
    return list(dict.fromkeys(_targets(_settings(ctx).routes)))


def _targets(routes: Any) -> Iterator[str]:
    for kind in KINDS:
        lines = getattr(routes, kind, None)
        for line in lines if isinstance(lines, list) else [lines]:
            if line is not None:
                yield line if isinstance(line, str) else line.app
