"""Makes everything that a file asks for. ``gateway check`` is this, and what ``gateway run`` does before it binds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.arrivals import Arrivals, arrivals
from gateway.config import checks
from gateway.config.diagnostics import ConfigErrors, Diagnostic
from gateway.config.loader import ParsedConfig
from gateway.config.settings import Settings
from gateway.consumers.answering import answering
from gateway.counts import ChannelCounts, RunCounts, channel_counts, run_counts
from gateway.delivery.direct import DirectSender
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.guard import Guard
from gateway.delivery.outbox import Outlet
from gateway.delivery.reach import OwnStore
from gateway.delivery.service import Deliveries, FindTransaction, deliveries
from gateway.event_sender import sender
from gateway.garbage_collection import uncollected
from gateway.layers import ChannelLayer, InMemoryChannelLayer, channel_layer
from gateway.routing import Router, leaves
from gateway.routing.table import labels_of, route_table
from gateway.runtime.application import ApplicationBuilder
from gateway.runtime.channel_layer import make_layer
from gateway.runtime.prepare_imports import prepare_imports
from gateway.runtime.servers import Senders, Servers, lives_once, make_outlets, needs_store
from gateway.scopes.email.submission import measured, open_submission
from gateway.scopes.installed import KINDS
from gateway.scopes.outgoing import answering_of, outgoing_servers
from gateway.scopes.server_kind import Given
from gateway.services import Service, Services
from gateway.store import Store, engine_of
from gateway.succession import Succession, succession
from gateway.threads import Pool, thread_pool
from protocols.asgi import Application
from protocols.lazy_names import imported
from protocols.lifespan import Lifespan
from protocols.server import Server

if TYPE_CHECKING:  # a file that has them imports them
    from gateway.runtime.health import ConsoleServer
    from gateway.tracing.service import Tracing
    from protocols.mail.submission import Submission, SubmissionSettings
    from protocols.mail.submission.measured import MeasuredSubmission


@dataclass(frozen=True)
class Gateway:
    """Everything that a file asks for. Nothing of it has been started."""

    file: str
    settings: Settings
    app: Application
    lifespan: Lifespan
    servers: Servers
    services: Services
    dispatcher: Dispatcher | None
    """Delivers from the store. None: no route has a policy, no server keeps its state and the file names no store, so
    that there is none."""
    outlets: Mapping[str, Outlet]
    console: "ConsoleServer | None"
    submission: "MeasuredSubmission | None"
    tracing: "Tracing | None"

    @property
    def listening(self) -> list[Server]:
        """Return the servers, and the console if there is one."""
        return [*self.servers] if self.console is None else [*self.servers, self.console]


@dataclass(frozen=True)
class Makers:
    """How the parts are made that reach outside the process. Tests have others."""

    store: Callable[[str], Store] = lambda url: engine_of(url).store()
    submission: "Callable[[SubmissionSettings], Submission]" = open_submission
    open_transaction: Callable[[str], FindTransaction] = lambda url: engine_of(url).open_transaction
    layer: Callable[[ParsedConfig], tuple[ChannelLayer, list[Diagnostic]]] = make_layer


FROM_THE_FILE = Makers()


def build(parsed: ParsedConfig, make: Makers = FROM_THE_FILE, before: Gateway | None = None) -> Gateway:
    """Import and make everything. Raises ConfigErrors with every mistake of the file.

    Nothing of the process changes but what imports need (see :func:`prepare_imports`): no log, no socket, no file, no
    thread. Several gateways can exist side by side, and any of them be started. One that is to take over from the
    gateway ``before`` has its store and its channel layer if the file names the same.
    """
    with uncollected():
        return _build(parsed, make, before)


def _build(parsed: ParsedConfig, make: Makers, before: Gateway | None) -> Gateway:
    settings = parsed.settings
    wrong = checks.diagnostics(parsed)
    unprepared = prepare_imports(parsed)
    builder = ApplicationBuilder(parsed, importable=not unprepared)
    app = builder.build()
    if before is not None and before.settings.layer == settings.layer:
        layer, no_layer = before.services[channel_layer], list[Diagnostic]()
    else:
        layer, no_layer = make.layer(parsed) if not unprepared else (InMemoryChannelLayer(), [])
    missing = [*checks.answers(parsed, app), *checks.replies(parsed, app)]
    if not unprepared:
        missing += [*checks.django_mail(parsed), *checks.django_store(parsed)]
    kept = any(map(needs_store, settings.servers.values()))
    kept = kept or parsed.names_store or _has_policies(app)
    kept = kept or (settings.workers > 1 and any(map(lives_once, settings.servers.values())))  # for the leases
    missing += _other_store(parsed, before) if kept else []
    missing += _other_number(parsed, before)
    parsed.finish([*wrong, *unprepared, *no_layer, *builder.diagnostics, *missing])
    lifespan = Lifespan(app)
    submission = measured(make.submission(settings.submission)) if settings.submission else None
    here = _deliveries(settings, app, make, before) if kept else None
    given = Given(submission, here.store if here is not None else None)
    try:
        servers = Servers(settings.servers, app, lifespan.state, given)
        outlets = make_outlets(Senders(servers), given)
    except ValueError as error:
        raise ConfigErrors([parsed.document.at_key(("servers",), str(error))]) from error
    services = _services(settings, app, layer, here, outlets)
    services[arrivals] = _arrivals(settings, app, here, before)
    if here is not None:
        for kind in KINDS.made().values():
            services |= kind.services(lambda: app, parsed.document.name, OwnStore(here))
    dispatcher = Dispatcher(here, app, lifespan.state) if here is not None else None
    try:
        console = _console(settings, servers, dispatcher, layer)
    except ValueError as error:  # the file has changed since it was checked
        raise ConfigErrors([parsed.document.at_key(("console",), f"console: {error}")]) from error
    tracing = imported("gateway.tracing.service:Tracing")(settings.tracing) if settings.tracing is not None else None
    return Gateway(
        parsed.document.name,
        settings,
        app,
        lifespan,
        servers,
        services,
        dispatcher,
        outlets,
        console,
        submission,
        tracing,
    )


def _other_store(parsed: ParsedConfig, before: Gateway | None) -> list[Diagnostic]:
    """A store that is in use cannot change: what waits in it would be left behind, and commands look for the gateway
    that runs beside its store."""
    if before is None or before.dispatcher is None or parsed.spoiled("store"):
        return []
    used, wanted = str(engine_of(before.settings.store)), str(engine_of(parsed.settings.store))
    if used == wanted:
        return []
    message = f"store cannot change while the gateway runs: it uses {used}; restart it to use {wanted}"
    return [parsed.document.at_key(("store",), message)]


def _other_number(parsed: ParsedConfig, before: Gateway | None) -> list[Diagnostic]:
    """The number of workers cannot change: each has its sockets."""
    if before is None or before.settings.workers == parsed.settings.workers:
        return []
    message = f"workers cannot change while the gateway runs: there are {before.settings.workers}; restart it"
    return [parsed.document.at_key(("workers",), message)]


def _deliveries(settings: Settings, app: Application, make: Makers, before: Gateway | None) -> Deliveries:
    keep, routes = settings.outgoing.lives, route_table(app)
    has_same = before is not None and before.dispatcher is not None and before.settings.store == settings.store
    if before is not None and before.dispatcher is not None and has_same:
        return before.dispatcher.deliveries.for_successor(keep, routes)
    return Deliveries(make.store(settings.store), keep, routes, None, make.open_transaction(settings.store))


def _arrivals(settings: Settings, app: Application, here: Deliveries | None, before: Gateway | None) -> Arrivals:
    audience = before.services[arrivals].audience if before is not None else None
    return Arrivals(app, settings.application or "", here, audience)


def _services(
    settings: Settings, app: Application, layer: ChannelLayer, here: Deliveries | None, outlets: Mapping[str, Outlet]
) -> dict[Service[Any], Any]:
    services: dict[Service[Any], Any] = {channel_layer: layer, thread_pool: Pool(settings.threads)}
    services[answering] = answering_of(settings)
    services[succession] = Succession()
    services[channel_counts] = ChannelCounts()
    services[run_counts] = RunCounts(partial(labels_of, app))
    if here is not None:
        services[deliveries] = here
    is_in_project = here is not None and settings.store == "django"
    services[sender] = DirectSender(outlets, outgoing_servers(settings), here, is_in_project=is_in_project)
    return services


def _console(
    settings: Settings, servers: Servers, dispatcher: Dispatcher | None, layer: ChannelLayer
) -> "ConsoleServer | None":
    if (asked := settings.console) is None:
        return None
    made: ConsoleServer = imported("gateway.runtime.health:ConsoleServer")(asked, servers, dispatcher, layer)
    return made


def _has_policies(app: object) -> bool:
    return isinstance(app, Router) and any(map(_keeps_something, leaves(app)))


def _keeps_something(leaf: object) -> bool:
    return isinstance(leaf, Guard) or getattr(leaf, "needs_store", False) is True
