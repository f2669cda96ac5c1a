"""From a server's settings to the server."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.config.server_kinds import carrier, server_class
from gateway.delivery.outbox import NoServer, Outlet
from gateway.runtime.mounts import Mounts
from gateway.runtime.persistence import StorePersistence
from gateway.store import Store
from protocols.asgi import Application
from protocols.events import checked
from protocols.mail.events import CHECKS
from protocols.mail.submission import Submission
from protocols.server import Server


def _mounted(server: Any) -> Application:
    """What answers at a server's place: a webhook itself, or the part that speaks WebSocket."""
    app: Application = server if callable(server) else server.websocket
    return app


def make_servers(
    servers: Mapping[str, Any],
    app: Application,
    state: dict[str, Any],
    submission: Submission | None,
    store: Store | None = None,
) -> list[Server]:
    """Every server over ``app``, in the order of the file, each http server with what it carries in front of ``app``.

    ``store`` is opened before they start; it is there where :func:`needs_store` says so.

    Raises ValueError with one sentence where settings contradict each other.
    """
    servers = {name: settings for name, settings in servers.items() if getattr(settings, "configured", True)}
    places = {name: place for name in servers if (place := carrier(servers[name]))}
    carried = {name: _make(name, servers[name], app, state, submission, store) for name in places}
    made = []
    for name, settings in servers.items():
        if name in carried:
            made.append(carried[name])
            continue
        mounts = {place.path: _mounted(carried[other]) for other, place in places.items() if place.on == name}
        made.append(_make(name, settings, Mounts(app, mounts) if mounts else app, state, submission, store))
    return made


def needs_store(settings: Any) -> bool:
    """Whether a server with these settings keeps state of its own."""
    return bool(getattr(settings, "persistence", False))


def _make(
    name: str, settings: Any, app: Any, state: dict[str, Any], submission: Submission | None, store: Store | None
) -> Server:
    factory: Any = server_class(settings.protocol)
    more: dict[str, Any] = {}
    if "email" in factory.scope_types:
        more["submission"] = submission
    if store is not None and needs_store(settings):
        more["persistence"] = StorePersistence(store, f"{settings.protocol} {name}")
    server: Server = factory(app, settings, name=name, state=state, **more)
    return server


def make_outlets(servers: Iterable[Server], submission: Submission | None) -> dict[str, Outlet]:
    """By protocol, what sends for the outbox."""
    by_name: dict[tuple[str, str], Any] = {
        (kind, server.name): server for server in servers for kind in server.scope_types
    }

    async def publish(listener: str, event: Mapping[str, Any]) -> None:
        if ("mqtt", listener) not in by_name:
            raise NoServer(f"there is no MQTT server {listener!r} any more")
        await by_name["mqtt", listener].publish(event)

    async def text(listener: str, event: Mapping[str, Any]) -> None:
        if ("sms", listener) not in by_name:
            raise NoServer(f"there is no sms server {listener!r} any more")
        await by_name["sms", listener].send(event)

    async def submit(listener: str, event: Mapping[str, Any]) -> None:
        if submission is None:
            raise NoServer("no submission server is configured")
        mail = checked(CHECKS, event)
        await submission.submit(mail["mail_from"], mail["rcpt_to"], mail["message"])

    return {"mqtt": publish, "email": submit, "sms": text}
