"""`gateway sessions`: what MQTT servers keep for clients, connected or away."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from gateway.cli.cells import age
from gateway.cli.clients import (
    Content,
    OfClient,
    OfServer,
    OfTopic,
    OfUser,
    WithDropped,
    WithoutWill,
    WithQueued,
    lines,
)
from gateway.cli.forms import Typer
from gateway.cli.live import Columns, Number, Yes, completes, print_details, print_found, remove, taking
from gateway.cli.options import SHOWN, AsJSON, File

app = Typer(
    help="See the sessions that MQTT servers keep for clients, connected or away, and delete them.\n\n"
    "Example: gateway sessions list --away --queued && gateway sessions delete dev-7"
)


class By(StrEnum):
    """What a list begins with the most of."""

    DROPPED = "dropped"
    QUEUED = "queued"
    QUEUED_BYTES = "queued_bytes"
    INFLIGHT = "inflight"
    SUBSCRIPTIONS = "subscriptions"


_COLUMNS: Columns = {
    "client": lambda entry, now: entry["client_id"],
    "server": lambda entry, now: entry["server"],
    "user": lambda entry, now: entry["user"] or "-",
    "state": lambda entry, now: _state(entry, now),
    "filters": lambda entry, now: str(entry["subscriptions"]),
    "queued": lambda entry, now: str(entry["queued"]),
    "bytes": lambda entry, now: str(entry["queued_bytes"]),
    "in flight": lambda entry, now: str(entry["inflight"]),
    "dropped": lambda entry, now: str(entry["dropped"]),
}
IsConnected = Annotated[
    bool | None, typer.Option("--connected/--away", help="Only if the client is connected, or is away.")
]
Order = Annotated[By | None, typer.Option("--by", help="Begin with those that have the most of this.")]
_COMPLETE = completes("sessions.list", "client_id", "client_id", "{}*")
IDs = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Client identifiers.", autocompletion=_COMPLETE)]
ID = Annotated[str, typer.Argument(metavar="ID", help="A client identifier.", autocompletion=_COMPLETE)]


def _filters(
    server: OfServer = None,
    client_id: OfClient = None,
    user: OfUser = None,
    topic: OfTopic = None,
    connected: IsConnected = None,
    dropped: WithDropped = False,
    queued: WithQueued = False,
) -> dict[str, Any]:
    return dict(locals())


@app.command("list")
@taking(_filters)
def list_sessions(
    filters: dict[str, Any], by: Order = None, number: Number = SHOWN, config: File = None, as_json: AsJSON = False
) -> None:
    """List the sessions, in the order of the client identifiers.

    Examples: gateway sessions list --away --by queued_bytes · gateway sessions list --topic 'alarms/#' --json
    """
    print_found(config, "sessions", _COLUMNS, {**filters, "by": by}, number, as_json=as_json)


@app.command()
def show(id: ID, content: Content = 0, config: File = None, as_json: AsJSON = False) -> None:
    """Show everything about a session: subscriptions, what waits, the will.

    Example: gateway sessions show dev-7
    """
    print_details(config, "sessions.show", {"client_ids": [id], "content": content}, lines, as_json=as_json)


@app.command()
@taking(_filters)
def delete(
    filters: dict[str, Any],
    ids: IDs = None,
    without_will: WithoutWill = False,
    yes: Yes = False,
    config: File = None,
) -> None:
    """Delete sessions with all that waits for their clients. Counts them and asks first.

    A client that is connected is disconnected. Where the server has `persistence`, that is on disk at the end.

    Examples: gateway sessions delete dev-7 · gateway sessions delete --away --client 'test-*' --yes
    """
    chosen = {**filters, "client_ids": ids, "with_will": not without_will}
    remove(config, "sessions.delete", "delete", "session", chosen, yes=yes)


def _state(entry: Mapping[str, Any], now: float) -> str:
    if entry["connected"]:
        return "connected"
    return f"away, ends in {age(entry['expires'] - now)}"
