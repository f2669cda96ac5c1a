"""The ids that the shell completes, from the store that the command line's file names."""

import contextlib
import io

import typer

from gateway.cli.completion import given_file, quiet
from gateway.cli.store.session import with_store
from gateway.store import OperatorStore, Search

_MOST = 100
"""Ids that are offered."""


@quiet
def ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids that the command takes and that begin so."""
    group = ctx.parent.info_name if ctx.parent is not None else None
    places = _PLACES.get(group or "", (Search.EVENTS,))

    async def found(store: OperatorStore) -> list[str]:
        return [each for place in places for each in await store.find(incomplete, within=place, limit=_MOST)]

    with contextlib.redirect_stderr(io.StringIO()):  # there may be no store yet
        return with_store(given_file(ctx), found)


_PLACES: dict[str, tuple[Search, ...]] = {
    "dead": (Search.DEAD, Search.DEAD_OUTGOING),
    "outgoing": (Search.OUTGOING,),
}
