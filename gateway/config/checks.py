"""Checks that the parts of a file fit together: addresses, webhooks and their carriers, servers and routes."""

import ipaddress
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from gateway.config.carriers import WEBSOCKET, carrier
from gateway.config.diagnostics import Diagnostic, suggestion
from gateway.config.document import label
from gateway.config.loader import ParsedConfig
from gateway.config.loggers import logger_fault
from gateway.config.settings import Settings
from gateway.delivery.guard import Guard
from gateway.routing import ProtocolTypeRouter, Router, check_answers, leaves
from gateway.scopes.email.submission import DJANGO, open_submission
from gateway.scopes.installed import KINDS, PROTOCOLS, SERVERS
from gateway.scopes.kind import ScopeKind
from gateway.scopes.server_kind import is_configured
from gateway.store import engine_of
from protocols.access.users import PasswordFile
from protocols.errors import BindError, describe_error
from protocols.units import TCP, BindAddress, Unix, is_local, parse_address

NO_SERVER = "servers: must not be empty"


def diagnostics(parsed: ParsedConfig) -> list[Diagnostic]:
    """Return every mistake that two parts of the file make together. :func:`answers` and :func:`replies` find more;
    they need the application."""
    return [diagnostic for check in _CHECKS for diagnostic in check(parsed)]


def _one_application(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    data = parsed.document.data
    if data.get("routes") and data.get("application"):
        yield parsed.document.at_key(("application",), "application and routes are both here; write one of them")
    elif not (
        data.get("routes") or data.get("application") or parsed.spoiled("routes") or parsed.spoiled("application")
    ):
        yield parsed.document.at_value((), "nothing answers: write routes, or application")


def _some_server(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find a file that asks for nothing: it has no server, and no route for what code puts into the store. What an
    application does is seen when it is there."""
    from_store = [kind.name for kind in KINDS.made().values() if not kind.is_served]
    if parsed.document.data.get("servers") == {} and not (
        parsed.document.data.get("application")
        or any(getattr(parsed.settings.routes, name, None) for name in from_store)
    ):
        yield parsed.document.at_value(("servers",), NO_SERVER)


def _addresses(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    taken: dict[str, BindAddress] = {}
    for keys, settings in _listening(parsed.settings):
        bind = getattr(settings, "bind", None)
        if bind is None or parsed.spoiled(*keys, "bind"):  # then it is the default, which nobody meant
            continue
        name, endpoint = ".".join(keys), parse_address(bind)
        for other, theirs in taken.items():
            if _collide(endpoint, theirs):
                message = f"{name} and {other} have the same address, {endpoint}"
                overlap = f"{name} ({endpoint}) and {other} ({theirs}) have an address in common"
                yield parsed.document.at_value((*keys, "bind"), message if endpoint == theirs else overlap)
                break
        taken[name] = endpoint


def _listening(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, server in settings.servers.items():
        yield ("servers", name), server
    if settings.console is not None:
        yield ("console",), settings.console


def warnings(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find settings that are allowed, and probably not meant."""
    console = parsed.settings.console
    endpoint = parse_address(console.bind) if console is not None else None
    is_remote = isinstance(endpoint, TCP) and not is_local(endpoint)
    if console is not None and is_remote and not (console.tls or console.trusted_proxies):
        message = (
            f"console: {endpoint} can be reached from other machines, and passwords cross the network without TLS; "
            "write tls, or trusted_proxies for the one in front that has TLS"
        )
        yield parsed.document.at_value(("console", "bind"), message)
    yield from _doubts(parsed)
    yield from _elsewhere(parsed)
    yield from _workers(parsed)


def _workers(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find several workers with a layer that does not connect their consumers, and limits of workers without any."""
    if parsed.settings.workers == 1:
        for name in ("worker_max_memory", "worker_max_age"):
            if getattr(parsed.settings, name):
                message = f"{name}: it has no effect, because one process serves; write workers: 2 or more"
                yield parsed.document.at_value((name,), message)
    elif parsed.settings.layer == "memory":
        message = "workers: with layer: memory a group reaches the consumers of one worker only; write layer: ipc"
        yield parsed.document.at_value(("workers",), message)


def _elsewhere(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find routes with ``atomic: true`` where the Django project's database is not the store's."""
    if parsed.settings.django is None or parsed.settings.store == DJANGO:
        return
    for loc, line in _lines(parsed):
        if getattr(line, "atomic", False):
            place = (*loc, "atomic")
            message = (
                f"{label(place)}: rows that the handler writes by Django's ORM are not in the transaction, because the "
                "store is in another database; write store: django, or write the rows by self.connection"
            )
            yield parsed.document.at_value(place, message)


def _doubts(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    for loc, line in _lines(parsed):
        kind = KINDS[loc[1]]
        for key, message in kind.doubts(line) if isinstance(line, kind.route) else ():
            yield parsed.document.at_value((*loc, key), f"{label((*loc, key))}: {message}")
    for kind in KINDS.made().values():
        for name, key, message in kind.doubts_of_servers(parsed.settings):
            place = ("servers", name, key)
            yield parsed.document.at_value(place, f"{label(place)}: {message}")


def _lines(parsed: ParsedConfig) -> Iterator[tuple[Any, Any]]:
    """The routes of the file, each with its place."""
    for kind in KINDS.made().values():
        lines = getattr(parsed.settings.routes, kind.name, None)
        places = parsed.items("routes", kind.name) if isinstance(lines, list) else [("routes", kind.name)]
        yield from zip(places, lines if isinstance(lines, list) else [lines], strict=True)


def _console(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find a console that anybody may use, one whose password file cannot be used, or whose certificate cannot."""
    if (console := parsed.settings.console) is None:
        return
    if console.is_open and not parsed.spoiled("console"):
        message = (
            f"console: {parse_address(console.bind)} can be reached from other machines, which may then do everything; "
            "write users or password_file, or bind 127.0.0.1 or a Unix socket"
        )
        yield parsed.document.at_value(("console", "bind"), message)
    try:
        if console.tls is not None:
            console.tls.context()
    except BindError as error:
        yield parsed.document.at_value(("console", "tls"), f"console: {error}")
    try:
        if console.password_file is not None:
            PasswordFile(console.password_file, "console")
    except ValueError as error:
        yield parsed.document.at_value(("console", "password_file"), f"console: {error}")


def _required(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    names = parsed.settings.servers
    for number, name in enumerate(parsed.settings.console.required if parsed.settings.console else ()):
        if name not in names and name != "layer" and not parsed.spoiled("servers", name):
            hint = suggestion(name, list(names), otherwise="there is")
            yield parsed.document.at_value(("console", "required", number), f"no server is called {name!r}{hint}")


def _tracing(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find what tracing needs and is not installed, and servers that are not there."""
    if (settings := parsed.settings.tracing) is None:
        return
    if any(not is_installed(each) for each in _TRACING):
        message = "tracing: OpenTelemetry is not installed; pip install 'asgi-gateway[otel]'"
        yield parsed.document.at_key(("tracing",), message)
    names = parsed.settings.servers
    for number, name in enumerate(settings.trust):
        if name not in names and not parsed.spoiled("servers", name):
            hint = suggestion(name, list(names), otherwise="there is")
            yield parsed.document.at_value(("tracing", "trust", number), f"no server is called {name!r}{hint}")


_TRACING = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


def _collide(one: BindAddress, other: BindAddress) -> bool:
    if isinstance(one, TCP) and isinstance(other, TCP):
        return one.port == other.port != 0 and _same_host(one.host, other.host)
    if isinstance(one, Unix) and isinstance(other, Unix):
        return os.path.abspath(one.path) == os.path.abspath(other.path)
    return one == other


def _same_host(one: str, other: str) -> bool:
    """Return whether two hosts may share an address: ``0.0.0.0`` is every IPv4 address, ``::`` every IPv6 address."""
    hosts = [_ip(one), _ip(other)]
    addresses = [host for host in hosts if not isinstance(host, str)]
    one_family = len({host.version for host in addresses}) == 1
    return hosts[0] == hosts[1] or (one_family and any(host.is_unspecified for host in addresses))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | str:
    """Return ``host`` as an address, however it is written, or as a name in lower case."""
    try:
        return ipaddress.ip_address("127.0.0.1" if host.lower() == "localhost" else host.partition("%")[0])
    except ValueError:
        return host.lower()


def _carriers(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    servers = parsed.settings.servers
    taken: dict[tuple[str, str], str] = {}
    for name, settings in servers.items():
        place = carrier(settings)
        if place is None:
            continue
        on, path, keys = place
        web = [other for other in servers if SERVERS[servers[other].protocol].carries]
        if on not in web and not parsed.spoiled("servers", on):
            hint = suggestion(on, web, otherwise="there is") or "; there is none"
            yield parsed.document.at_value(
                ("servers", name, *keys, "on"), f"servers.{name}: no http server is called {on!r}{hint}"
            )
        elif (on, path) in taken:
            message = f"servers.{name} and servers.{taken[on, path]} have the same path, {path}"
            yield parsed.document.at_value(("servers", name, *keys, "path"), message)
        taken[on, path] = name


def _libraries(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find servers whose optional package is missing. It is not imported: see the README on its licence."""
    for name, settings in parsed.settings.servers.items():
        kind = SERVERS[settings.protocol]
        if kind.library and is_configured(settings) and find_spec(kind.library) is None:
            message = f"{kind.library} is not installed; pip install '{kind.install}'"
            yield parsed.document.at_value(("servers", name, "protocol"), message)
        for setting, library, install in kind.extras:
            if getattr(settings, setting) and find_spec(library) is None:
                message = f"{library} is not installed; pip install '{install}'"
                yield parsed.document.at_value(("servers", name, setting), message)


def _classes(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find server classes of other distributions that are missing, or that lack what a server needs."""
    for name, settings in parsed.settings.servers.items():
        try:
            if is_configured(settings):
                SERVERS[settings.protocol].server_class()
        except ValueError as error:
            yield parsed.document.at_value(("servers", name, "protocol"), f"servers.{name}: {error}")


def _scope_types(protocol: object) -> tuple[str, ...]:
    """Return the scope types that a server of ``protocol`` makes; all if it is unknown or cannot be imported."""
    kind = SERVERS.get(str(protocol))
    try:
        return kind.server_class().scope_types if kind is not None else tuple(KINDS)
    except ValueError:
        return tuple(KINDS)


def _servers_and_routes(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    if parsed.settings.application is not None or parsed.settings.routes is None or ("servers",) in parsed.removed:
        return
    made = _made(parsed)
    lost = [kind for server in _lost_servers(parsed) for kind in _scope_types(server.get("protocol"))]
    routed = [kind for kind in KINDS if getattr(parsed.settings.routes, kind) is not None]
    spoiled = [kind for kind in KINDS if parsed.spoiled("routes", kind)]
    yield from _unanswered(parsed, {*routed, *spoiled}, "routes")
    for kind in routed:
        if KINDS[kind].is_served and kind not in lost and not any(kind in kinds for kinds in made.values()):
            yield parsed.document.at_key(
                ("routes", kind), f"no server makes {kind} scopes, so routes.{kind} answers nothing"
            )


def answers(parsed: ParsedConfig, app: object) -> Iterator[Diagnostic]:
    """Find servers that an application written in Python does not answer, as far as it shows what it answers."""
    if parsed.settings.application is not None:
        if parsed.document.data.get("servers") == {} and not _works(app):
            yield parsed.document.at_value(("servers",), NO_SERVER)
        yield from _unanswered(parsed, {kind for kind in KINDS if _answers(app, kind)}, "application")


def _works(app: Any) -> bool:
    """Whether ``app`` has something to do without a server: it handles messages to channels of the layer."""
    return any(getattr(leaf, "is_worker", False) for leaf in (leaves(app) if isinstance(app, Router) else (app,)))


def _answers(app: Any, kind: str) -> bool:
    if isinstance(app, ProtocolTypeRouter):
        return any(route.pattern.match(kind) is not None for route in app.routes)
    try:
        check_answers(app, kind)
    except ValueError:
        return False
    return True


def _made(parsed: ParsedConfig) -> dict[str, tuple[str, ...]]:
    """Return the scope types of each server. The class of one that is not configured is not imported for that."""
    return {
        name: _scope_types(settings.protocol) if is_configured(settings) else (PROTOCOLS[settings.protocol],)
        for name, settings in parsed.settings.servers.items()
    }


def _carrying(parsed: ParsedConfig) -> set[str]:
    """Return the http servers that carry others, including others that have a mistake."""
    whole = {place.on for settings in parsed.settings.servers.values() if (place := carrier(settings))}
    places = [place for server in _lost_servers(parsed) for place in (server, server.get(WEBSOCKET))]
    return whole | {str(place.get("on")) for place in places if isinstance(place, dict)}


def _unanswered(parsed: ParsedConfig, answered: set[str], by: str) -> Iterator[Diagnostic]:
    carriers = _carrying(parsed)
    for name, kinds in _made(parsed).items():
        if not set(kinds) & answered and name not in carriers:
            instead = _instead(kinds[0]) if by == "routes" else ""
            message = f"nothing answers servers.{name}: {by} has no {' or '.join(kinds)}{instead}"
            yield parsed.document.at_key(("servers", name), message)


def _instead(kind: str) -> str:
    without = KINDS[kind].without_routes
    return f"; write {kind}: MODULE.NAME there" + (f", or {kind}: [] for {without}" if without else "")


def _lost_servers(parsed: ParsedConfig) -> list[dict[str, Any]]:
    """Return what the file says of servers that are not in the settings, because something in them is wrong."""
    written: Any = parsed.document.data.get("servers")
    lost = written.keys() - parsed.settings.servers.keys() if isinstance(written, dict) else ()
    return [written[name] if isinstance(written[name], dict) else {} for name in lost]


def _submission(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    if (settings := parsed.settings.submission) is None:
        return
    for key, attempt in (("url", replace(settings, dkim=())), ("dkim", settings)):
        try:
            open_submission(attempt)
        except ValueError as error:
            yield parsed.document.at_value(("submission", key), f"submission.{key}: {error}")
            return


def _reply_tokens(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    if parsed.settings.reply_tokens is not None:
        try:
            parsed.settings.reply_tokens.tokens()
        except ValueError as error:
            yield parsed.document.at_value(("reply_tokens", "secret"), f"reply_tokens.secret: {error}")


def django_mail(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find an ``EMAIL_BACKEND`` that cannot work with the file's ``submission``. Django has to be set up."""
    submission = parsed.settings.submission.url if parsed.settings.submission is not None else None
    if parsed.settings.django is not None:
        from gateway.django.mail import backend_fault

        place = ("submission", "url") if submission == DJANGO else ("django", "settings")
        if fault := backend_fault(submission):
            yield parsed.document.at_value(place, fault)
    elif submission == DJANGO:
        message = "submission: django sends by the EMAIL_BACKEND of a project; write django: {settings: ...}, too"
        yield parsed.document.at_value(("submission", "url"), message)


def replies(parsed: ParsedConfig, app: object) -> Iterator[Diagnostic]:
    """Find servers that cannot send a reply on its own, though a route has an inbox: its sender has the answer long
    before. ``app`` may have such a route in a router that is written in Python."""
    for kind in KINDS.made().values():
        if kind.delivery is not None and (_has_inbox(parsed, kind) or _keeps(app, kind)):
            yield from _lacking(parsed, kind)


def _has_inbox(parsed: ParsedConfig, kind: ScopeKind) -> bool:
    routes = getattr(parsed.settings.routes, kind.name, None)
    return any(getattr(line, "inbox", False) for line in (routes if isinstance(routes, list) else [routes]))


def _lacking(parsed: ParsedConfig, kind: ScopeKind) -> Iterator[Diagnostic]:
    for name, settings in parsed.settings.servers.items():
        if settings.protocol in kind.protocols and (lacks := getattr(settings, "lacks_to_send", "")):
            lacking = f"servers.{name} needs {lacks}"
            message = f"{lacking}: a route for {kind.noun} has inbox: true, whose replies leave later"
            yield parsed.document.at_key(("servers", name), message)


def _keeps(app: object, kind: ScopeKind) -> bool:
    """Return whether a message may come to a route with an inbox."""
    if isinstance(app, ProtocolTypeRouter):
        return any(_keeps(route.app, kind) for route in app.routes if route.pattern.match(kind.name) is not None)
    found = leaves(app) if isinstance(app, Router) else [app]
    return any(isinstance(each, Guard) and each.policy.inbox for each in found)


def store(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Check the store's URL: the only setting that the commands for the store need."""
    try:
        engine_of(parsed.settings.store)
    except ValueError as error:
        yield parsed.document.at_value(("store",), f"store: {error}")


def django_store(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find why the database of the project cannot be the store, where it is to be. Django has to be set up."""
    if parsed.settings.store == DJANGO:
        from gateway.django.database import fault

        if said := fault():
            yield parsed.document.at_value(("store",), f"store: {said}")


def django_store_named(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find a store in the database of a project that the file does not name."""
    if parsed.settings.store == DJANGO and parsed.settings.django is None and not parsed.spoiled("django"):
        message = "store: django is the database of a project; write django: {settings: ...}, too"
        yield parsed.document.at_value(("store",), message)


def _certificates(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    for name, settings in parsed.settings.servers.items():
        holder: Any = settings if hasattr(settings, "context") else getattr(settings, "tls", None)
        try:
            if hasattr(holder, "context"):
                holder.context()
        except BindError as error:
            yield parsed.document.at_value(("servers", name, "tls"), f"servers.{name}: {error}")


def _access_file(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    has_lines = any(getattr(server, "access_log", False) for server in parsed.settings.servers.values())
    if parsed.settings.log.access_file is not None and not has_lines and not parsed.spoiled("servers"):
        message = "log.access_file: no http server writes to it; write access_log: combined in one"
        yield parsed.document.at_value(("log", "access_file"), message)


def _levels(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    for name in parsed.settings.log.levels:
        if fault := logger_fault(name):
            yield parsed.document.at_key(("log", "levels", name), f"log.levels: {fault}")


def _own(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Ask each scope type that the file names what is wrong with its servers."""
    for kind in KINDS.made().values():
        try:
            found = [*kind.mistakes(parsed.settings.servers), *kind.mistakes_of(parsed.settings)]
        except Exception as error:  # a mistake in a package that brings a scope type
            found = [(("servers",), f"the scope type {kind.name} failed: {describe_error(error)}")]
        for place, message in found:
            yield parsed.document.at_value(place, message)


_CHECKS: tuple[Callable[[ParsedConfig], Iterator[Diagnostic]], ...] = (
    _one_application,
    _some_server,
    _addresses,
    _required,
    _carriers,
    _libraries,
    _tracing,
    _classes,
    _servers_and_routes,
    _submission,
    _reply_tokens,
    store,
    django_store_named,
    _certificates,
    _access_file,
    _console,
    _levels,
    _own,
)
