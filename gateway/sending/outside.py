"""What a process without a gateway needs to send: the gateway's file, read without importing any handler."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from gateway.config.loader import ParsedConfig, load
from gateway.config_file import config_file, looked_at
from gateway.consumers.answering import answering
from gateway.delivery.policy import Policy
from gateway.event_sender import sender
from gateway.runtime.prepare_imports import prepare_store
from gateway.runtime.servers import lives_once, needs_store
from gateway.scopes.installed import KINDS
from gateway.scopes.outgoing import answering_of, outgoing_servers
from gateway.sending.store_sender import StoreSender
from gateway.services import Service, Services
from gateway.store import Engine, engine_of
from protocols.asgi import Application


def services() -> Services:
    """Return the services of the gateway's file. Raises RuntimeError if there is none, ConfigErrors if it is wrong."""
    file = Path(config_file()).absolute()
    try:
        changed = file.stat().st_mtime_ns
    except OSError as error:
        raise RuntimeError(
            f"no gateway runs in this process, and its file {file} cannot be read ({error.strerror}); "
            f"looked at in this order: {looked_at()}"
        ) from error
    return _services(file, changed)


@lru_cache(maxsize=1)
def _services(file: Path, changed: int) -> Services:
    """``changed``: the time of the last change, after which the file is read again."""
    parsed = load(file)
    settings = parsed.finish(prepare_store(parsed))
    ours = StoreSender(parsed, outgoing_servers(settings), _engine(parsed))
    services: dict[Service[Any], Any] = {sender: ours, answering: answering_of(settings)}
    for kind in KINDS.made().values():
        services |= kind.services(partial(_routed, parsed), parsed.document.name, ours)
    return services


def _routed(parsed: ParsedConfig) -> Application:
    """Return the file's routes, without their targets. An application written in Python is not imported: which routes
    it has is not known here."""
    from gateway.runtime.application import ApplicationBuilder  # what only sends does not need routers

    return ApplicationBuilder(parsed, importable=False).build()


def _engine(parsed: ParsedConfig) -> Engine | None:
    """Return the place of the gateway's store; None if the gateway has none, as far as the file shows."""
    settings = parsed.settings
    has_leases = settings.workers > 1 and any(map(lives_once, settings.servers.values()))
    routes = [(name, getattr(settings.routes, name)) for name in vars(settings.routes)] if settings.routes else []
    lines = [_line(name, each) for name, route in routes for each in (route if isinstance(route, list) else [route])]
    kept = (
        parsed.names_store
        or has_leases
        or any(map(needs_store, settings.servers.values()))
        or any(map(_has_policy, lines))
    )
    return engine_of(settings.store, parsed.document.folder) if kept else None


def _line(kind: str, written: Any) -> Any:
    """Return a route as settings, also one that the file writes as a target alone."""
    return KINDS[kind].route(app=written) if isinstance(written, str) else written


def _has_policy(line: Any) -> bool:
    return isinstance(line, Policy) and not line.plain
