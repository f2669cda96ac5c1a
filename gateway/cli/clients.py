"""`gateway clients`: who is connected to the running gateway, whatever the protocol."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from gateway.cli.cells import age, at
from gateway.cli.completion import servers
from gateway.cli.forms import Typer
from gateway.cli.live import Columns, Number, Yes, completes, facts, print_details, print_found, remove, table, taking
from gateway.cli.options import SHOWN, AsJSON, File
from gateway.logs.escaping import one_line

app = Typer(
    help="See who is connected to the running gateway, and end connections: of MQTT, WebSocket, HTTP and SMTP.\n\n"
    "Example: gateway clients list --by messages_received && gateway clients disconnect dev-7"
)

_COLUMNS: Columns = {
    "id": lambda entry, now: entry["id"],
    "server": lambda entry, now: entry["server"],
    "protocol": lambda entry, now: entry["protocol"],
    "client": lambda entry, now: entry["client_id"] or "-",
    "user": lambda entry, now: entry["user"] or "-",
    "address": lambda entry, now: address(entry),
    "for": lambda entry, now: age(now - entry["since"]),
    "in": lambda entry, now: _number(entry, "messages_received"),
    "out": lambda entry, now: _number(entry, "messages_sent"),
    "queued": lambda entry, now: _number(entry, "queued"),
    "dropped": lambda entry, now: _number(entry, "dropped"),
    "doing": lambda entry, now: entry["doing"],
}

_FACTS = {
    "id": "id",
    "server": "server",
    "protocol": "protocol",
    "version": "version",
    "transport": "transport",
    "tls": "TLS",
    "client_id": "client",
    "user": "user",
    "address": "address",
    "since": "since",
    "doing": "doing",
    "last_packet": "last packet",
    "keepalive": "keep-alive, s",
    "clean_start": "clean start",
    "session_present": "found its session",
    "connected": "connected",
    "persistent": "in the store",
    "expiry": "session expiry, s",
    "expires": "expires",
    "messages_received": "messages in",
    "messages_sent": "messages out",
    "bytes_received": "bytes in",
    "bytes_sent": "bytes out",
    "queued": "queued",
    "queued_bytes": "queued bytes",
    "inflight": "in flight to it",
    "inbound": "in flight from it (QoS 2)",
    "dropped": "dropped",
    "retained_to_send": "retained to send",
}
_WILL = {"topic": "topic", "qos": "QoS", "retain": "retain", "delay": "delay, s", "size": "bytes", "payload": "payload"}
_FILTERS = {
    "filter": "filter",
    "qos": "QoS",
    "no_local": "no local",
    "retain_as_published": "retain as published",
    "identifiers": "identifiers",
}
_TIMES = ("since", "last_packet", "expires")


class By(StrEnum):
    """What a list begins with the most of."""

    DROPPED = "dropped"
    QUEUED = "queued"
    INFLIGHT = "inflight"
    MESSAGES_RECEIVED = "messages_received"
    MESSAGES_SENT = "messages_sent"
    BYTES_RECEIVED = "bytes_received"
    BYTES_SENT = "bytes_sent"


OfServer = Annotated[
    str | None, typer.Option("--server", metavar="NAME", help="Only of this server.", autocompletion=servers)
]
OfProtocol = Annotated[str | None, typer.Option("--protocol", metavar="NAME", help="Only this one, such as mqtt.")]
OfClient = Annotated[
    str | None,
    typer.Option("--client", metavar="ID", help="Only this client identifier; * stands for any characters."),
]
OfUser = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Only this user; * as above.")]
OfAddress = Annotated[
    str | None, typer.Option("--address", metavar="NET", help="Only this address or network: 10.0.0.0/8, unix.")
]
OfTopic = Annotated[
    str | None,
    typer.Option("--topic", metavar="FILTER", help="Only those that may get messages of this topic or filter."),
]
WithDropped = Annotated[bool, typer.Option("--dropped", help="Only those to which messages were dropped.")]
WithQueued = Annotated[bool, typer.Option("--queued", help="Only those for which messages wait.")]
Order = Annotated[By | None, typer.Option("--by", help="Begin with those that have the most of this.")]
IDs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...",
        help="Ids of connections, or client identifiers.",
        autocompletion=completes("clients.list", "client_id", "client_id", "{}*"),
    ),
]
ID = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The id of a connection, or a client identifier.",
        autocompletion=completes("clients.list", "client_id", "client_id", "{}*"),
    ),
]
Content = Annotated[int, typer.Option("--content", min=0, metavar="N", help="Show N bytes of the will's payload.")]
WithoutWill = Annotated[bool, typer.Option("--without-will", help="Publish no will of theirs.")]
Rate = Annotated[int, typer.Option("--rate", min=0, metavar="N", help="At most N a second; 0: all at once.")]


def _filters(
    server: OfServer = None,
    protocol: OfProtocol = None,
    client_id: OfClient = None,
    user: OfUser = None,
    address: OfAddress = None,
    topic: OfTopic = None,
    dropped: WithDropped = False,
    queued: WithQueued = False,
) -> dict[str, Any]:
    return dict(locals())


@app.command("list")
@taking(_filters)
def list_clients(
    filters: dict[str, Any], by: Order = None, number: Number = SHOWN, config: File = None, as_json: AsJSON = False
) -> None:
    """List the open connections of all protocols, the oldest first.

    Examples: gateway clients list --dropped · gateway clients list --by queued -n 10 · gateway clients list --address
    10.0.0.0/8 --json
    """
    print_found(config, "clients", _COLUMNS, {**filters, "by": by}, number, as_json=as_json)


@app.command()
def show(id: ID, content: Content = 0, config: File = None, as_json: AsJSON = False) -> None:
    """Show everything about a connection: subscriptions, queues, counters, the will.

    Examples: gateway clients show dev-7 · gateway clients show dev-7 --content 100
    """
    print_details(config, "clients.show", {"ids": [id], "content": content}, lines, as_json=as_json)


@app.command()
@taking(_filters)
def disconnect(
    filters: dict[str, Any],
    ids: IDs = None,
    without_will: WithoutWill = False,
    rate: Rate = 0,
    yes: Yes = False,
    config: File = None,
) -> None:
    """End connections. Counts them and asks first; sessions stay, and clients may come back at once.

    MQTT 5 clients are told that an administrator did it (0x98), WebSockets get 1008, mail servers 421.

    Examples: gateway clients disconnect dev-7 · gateway clients disconnect --address 10.1.2.3 --yes
    """
    chosen = {**filters, "ids": ids, "rate": rate or None, "with_will": not without_will}
    remove(config, "clients.disconnect", "disconnect", "client", chosen, yes=yes)


def address(entry: Mapping[str, Any]) -> str:
    if entry["port"] is None:
        return str(entry["address"])
    host = f"[{entry['address']}]" if ":" in entry["address"] else entry["address"]
    return f"{host}:{entry['port']}"


def lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """Everything about a connection or a session."""
    written = {name: at(entry[name]) for name in _TIMES if entry.get(name)}
    if "address" in entry:
        written["address"] = address(entry)
    yield from facts(entry, _FACTS, **written)
    if will := entry.get("will"):
        yield from ["", "will", *facts(will, _WILL, payload=payload(will.get("payload")))]
    if entry.get("filters"):
        yield ""
    yield from table(_FILTERS, entry.get("filters", []))


def payload(shown: Mapping[str, Any] | None) -> str:
    """The beginning of a payload, as text or in hexadecimal digits."""
    if shown is None:
        return ""
    text = str(shown["text"]) if "text" in shown else f"hex {shown['hex']}"
    return one_line(text) + ("" if shown["whole"] else " …")


def _number(entry: Mapping[str, Any], name: str) -> str:
    return str(entry[name]) if name in entry else "-"
