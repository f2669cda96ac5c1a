"""`gateway status`: how the running gateway is."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from gateway.cli.cells import age, at, cell
from gateway.cli.options import AsJSON, File
from gateway.cli.running import control_places
from gateway.cli.terminal import print_json, print_text
from gateway.config.diagnostics import count
from gateway.control.client import Answer, ControlError, Conversation
from gateway.runtime.banner import columns

_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
ANSWER = 10.0
"""Seconds in which a gateway answers; one whose event loop is blocked does not."""


WithRoutes = Annotated[
    bool, typer.Option("--routes", help="Also how often each route is used, fails, and how long it takes.")
]


WithMailboxes = Annotated[
    bool, typer.Option("--mailboxes", help="Also each mailbox: when it was checked last, and its last trouble.")
]


def status(
    with_routes: WithRoutes = False, with_mailboxes: WithMailboxes = False, config: File = None, as_json: AsJSON = False
) -> None:
    """Show how the running gateway is: version, uptime, memory, its servers and its store.

    Exit code 1 if no gateway runs with this file, or if one is not ready. The rates of routes are those of the last
    minute; a route fails if its handler crashes or answers 5xx.

    Examples: gateway status --json · gateway status --routes · gateway status --mailboxes
    """
    found = asked(config, {"do": "status"})
    rates = asked(config, {"do": "routes", "history": as_json}) if with_routes else []
    for of_gateway, of_routes in zip(found, rates, strict=False):
        of_gateway |= {name: of_routes[name] for name in ("routes", "unrouted")}
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
    else:
        print_text("\n".join(line for each in found for line in lines(each, with_mailboxes=with_mailboxes)))
    if not all(each["ready"] for each in found):
        raise SystemExit(1)


def asked(config: str | None, request: Mapping[str, Any]) -> list[Answer]:
    """Return what every gateway that runs with the file answers. Raises ControlError."""
    with Conversation(control_places(config), request) as conversation:
        answers = list(conversation.answers(ANSWER))
        if len(conversation):
            raise ControlError(f"the gateway does not answer within {ANSWER:g} s: its event loop may be blocked")
    return answers


def lines(found: Mapping[str, Any], *, with_mailboxes: bool) -> Iterator[str]:
    """The status of one gateway."""
    state = "ready" if found["ready"] else "not ready"
    since = at(found["started"])
    head = f"gateway {found['version']}  {found['file']}: {state}, for {_age(found['uptime'])} (since {since})"
    yield f"{head}, generation {found['generation']}, process {found['pid']}, {_size(found['memory'])}"
    for each in found["older"]:
        left = ", ".join(f"{name} {number}" for name, number in each["connections"].items()) or "nothing"
        yield f"generation {each['generation']}, replaced at {at(each['replaced'])}, still has: {left}"
    names = ("protocol", "name", "address", "state", "detail")
    rows = [[*(str(each[name]) for name in names), _active(each["active"])] for each in found["servers"]]
    yield from columns(rows)
    if (store := found["store"]) is not None:
        yield f"store {store['url']}: {_kept(store)}"
    if with_mailboxes:
        rows = [_mailbox(server["name"], each) for server in found["servers"] for each in server["mailboxes"]]
        yield from columns([_MAILBOX, *rows]) if rows else ["  no mailbox is read"]
    if "routes" in found:
        yield from _rates(found)


_MAILBOX = ["server", "account", "folder", "state", "checked", "waiting", "deferred", "last trouble"]


def _mailbox(server: str, found: Mapping[str, Any]) -> list[str]:
    numbers = [f"{age(found['lag'])} ago", str(found["backlog"]), str(found["deferred"])]
    trouble = f"{at(found['last_trouble_at'])}: {cell(found['last_trouble'])}" if found["last_trouble"] else "-"
    return [*(cell(each) for each in (server, found["account"], found["folder"])), found["state"], *numbers, trouble]


def _rates(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each route, and one for each scope type with traffic that no route took."""
    unrouted = [{**each, "pattern": "(no route)"} for each in found["unrouted"] if each["rate"]]
    heading = ["type", "pattern", "per s", "failed", "p50", "p99"]
    yield from columns([heading, *map(_rates_of, [*found["routes"], *unrouted])])


def _rates_of(route: Mapping[str, Any]) -> list[str]:
    times = [_time(route[name]) for name in ("p50", "p99")]
    rate, share = route["rate"], route["error_share"]
    shown = ["-" if rate is None else f"{rate:.3g}", "-" if share is None else f"{share:.1%}"]
    return [route["type"], cell(route["pattern"]), *shown, *times]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _kept(store: Mapping[str, Any]) -> str:
    if store["trouble"]:
        return f"unavailable: {store['trouble']}"
    names = ("waiting", "running", "dead", "outgoing", "dead_outgoing")
    return ", ".join(f"{store[name]} {name.replace('_', ' ')}" for name in names)


def _active(active: Mapping[str, int]) -> str:
    return ", ".join(count(number, noun) for noun, number in active.items())


def _size(size: int) -> str:
    unit, name = next((each for each in _SIZES if size >= each[0]), (1, "bytes"))
    return f"{size / unit:.0f} {name}"


def _age(seconds: float) -> str:
    unit, name = next((each for each in _AGES if seconds >= each[0]), _AGES[-1])
    return f"{int(seconds // unit)} {name}"
