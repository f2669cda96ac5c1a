"""What a process without a gateway needs to send: the gateway's file, read without importing any handler."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from gateway.config.loader import ParsedConfig, load
from gateway.config_file import config_file, looked_at
from gateway.consumers.answering import answering
from gateway.delivery.policy import Policy
from gateway.runtime.prepare_imports import prepare_store
from gateway.runtime.servers import lives_once, needs_store
from gateway.scopes.outgoing import answering_of, outgoing_servers
from gateway.sender import sender
from gateway.sending.store_sender import StoreSender
from gateway.services import Services
from gateway.store import Engine, engine_of


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
    return {
        sender: StoreSender(parsed, outgoing_servers(settings), _engine(parsed)),
        answering: answering_of(settings),
    }


def _engine(parsed: ParsedConfig) -> Engine | None:
    """Return the place of the gateway's store; None if the gateway has none, as far as the file shows."""
    settings = parsed.settings
    has_leases = settings.workers > 1 and any(map(lives_once, settings.servers.values()))
    routes = [getattr(settings.routes, name) for name in vars(settings.routes)] if settings.routes else []
    lines = [line for route in routes for line in (route if isinstance(route, list) else [route])]
    kept = (
        parsed.names_store
        or has_leases
        or any(map(needs_store, settings.servers.values()))
        or any(map(_has_policy, lines))
    )
    return engine_of(settings.store, parsed.document.folder) if kept else None


def _has_policy(line: Any) -> bool:
    return isinstance(line, Policy) and not line.plain
