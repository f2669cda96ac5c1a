"""`gateway retained`: the retained messages of MQTT servers."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from gateway.cli.cells import age, at
from gateway.cli.clients import OfServer, payload
from gateway.cli.forms import Typer
from gateway.cli.live import Columns, Number, Yes, completes, facts, print_details, print_found, remove
from gateway.cli.options import SHOWN, AsJSON, File

app = Typer(
    help="See the retained messages of MQTT servers, and delete them.\n\n"
    "Example: gateway retained list 'sensors/#' && gateway retained delete sensors/7/status"
)

_COLUMNS: Columns = {
    "topic": lambda entry, now: entry["topic"],
    "server": lambda entry, now: entry["server"],
    "bytes": lambda entry, now: str(entry["size"]),
    "QoS": lambda entry, now: str(entry["qos"]),
    "age": lambda entry, now: "-" if entry["retained"] is None else age(now - entry["retained"]),
    "expires in": lambda entry, now: "-" if entry["expires"] is None else age(entry["expires"] - now),
}
_FACTS = {
    "topic": "topic",
    "server": "server",
    "size": "bytes",
    "qos": "QoS",
    "retained": "retained at",
    "expires": "expires",
    "properties": "properties",
    "payload": "payload",
}
_COMPLETE = completes("retained.list", "topic", "filter", "#")
Filter = Annotated[str, typer.Argument(metavar="[FILTER]", help="A topic filter; default: #, all but $SYS.")]
OfFilter = Annotated[str | None, typer.Option("--filter", metavar="FILTER", help="Only topics that match it.")]
Topics = Annotated[list[str] | None, typer.Argument(metavar="TOPIC...", help="Topics.", autocompletion=_COMPLETE)]
Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="Its topic.", autocompletion=_COMPLETE)]
Largest = Annotated[bool, typer.Option("--largest", help="Begin with the largest.")]
Content = Annotated[int, typer.Option("--content", min=0, metavar="N", help="Show N bytes of the payload.")]


@app.command("list")
def list_retained(
    filter: Filter = "#",
    server: OfServer = None,
    largest: Largest = False,
    number: Number = SHOWN,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """List retained messages without their content, in the order of their topics.

    Examples: gateway retained list 'sensors/+/status' · gateway retained list --largest -n 10 --json
    """
    filters = {"filter": filter, "server": server, "by": "size" if largest else None}
    print_found(config, "retained", _COLUMNS, filters, number, as_json=as_json)


@app.command()
def show(topic: Topic, content: Content = 1024, config: File = None, as_json: AsJSON = False) -> None:
    """Show a retained message: its time, its size, and the beginning of its payload, as text or in hex.

    Example: gateway retained show sensors/7/status
    """
    print_details(config, "retained.show", {"topics": [topic], "content": content}, _lines, as_json=as_json)


@app.command()
def delete(
    topics: Topics = None,
    filter: OfFilter = None,
    server: OfServer = None,
    yes: Yes = False,
    config: File = None,
) -> None:
    """Delete retained messages. Counts them and asks first. Subscribers are told nothing.

    Where the server has `persistence`, that is on disk at the end. If subscribers are to get an empty message as well,
    publish one: gateway send mqtt TOPIC '' --retain.

    Examples: gateway retained delete sensors/7/status · gateway retained delete --filter 'old/#' --yes
    """
    chosen = {"topics": topics, "filter": filter, "server": server}
    remove(config, "retained.delete", "delete", "retained message", chosen, yes=yes)


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    times = {name: at(entry[name]) for name in ("retained", "expires") if entry[name]}
    yield from facts(entry, _FACTS, payload=payload(entry["payload"]), **times)
