"""Makes one ASGI application of ``routes:`` or ``application:``: the tree of routers that Python code would make."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from gateway.config.diagnostics import MOST, Diagnostic
from gateway.config.document import Loc, label
from gateway.config.loader import ParsedConfig
from gateway.delivery.guard import guarded
from gateway.delivery.kind import check_policy
from gateway.delivery.policy import Policy
from gateway.django.unanswered import NotAnswered
from gateway.routing import ProtocolTypeRouter, Route, as_application, check_answers
from gateway.routing.index import unreachable
from gateway.routing.router import PLAIN
from gateway.routing.targets import Named
from gateway.runtime.importing import TargetError, import_target, place_of, source_lines
from gateway.scopes.installed import KINDS
from gateway.scopes.kind import ScopeKind
from gateway.scopes.routes import KeyMistake
from protocols.asgi import Application
from protocols.errors import describe_error
from protocols.lazy_names import imported


async def _unusable(scope: Any, receive: Any, send: Any) -> None:
    """Takes the place of a target that cannot be imported, so that its route is checked all the same."""


@dataclass
class ApplicationBuilder:
    """Builds the application of ``parsed``; collects in ``diagnostics`` what is wrong with its targets and patterns.

    If nothing is ``importable``, only the patterns are checked: each target would fail for the same reason.
    """

    parsed: ParsedConfig
    importable: bool = True
    diagnostics: list[Diagnostic] = field(default_factory=list)
    _targets: dict[str, Any] = field(default_factory=dict)
    """What each target names, or the TargetError that says why it cannot be imported."""
    _failed: set[str] = field(default_factory=set)
    """The modules whose failure has been reported."""

    def build(self) -> Application:
        """Return the application. Run it only if there are no diagnostics."""
        settings = self.parsed.settings
        if settings.application is not None:
            application: Application = self._import(settings.application, ("application",))
            return application
        routes = {kind: getattr(settings.routes, kind, None) for kind in KINDS}
        targets = {kind: self._target(kind, value) for kind, value in routes.items() if value is not None}
        return ProtocolTypeRouter(targets) if not self.diagnostics else _unusable

    def _target(self, kind: str, value: Any) -> Any:
        loc: Loc = ("routes", kind)
        if isinstance(value, str):
            return self._whole(kind, KINDS[kind].route(app=value), loc, loc)
        if isinstance(value, list):
            return self._router(kind, list(zip(self.parsed.items(*loc), value, strict=True)))
        if not self._given(kind, value) and not any(_says(value, each) for each in KINDS[kind].options):
            return self._whole(kind, value, loc, (*loc, "app"))
        return self._router(kind, [(loc, value)])

    def _whole(self, kind: str, line: Any, loc: Loc, place: Loc) -> Route:
        """Make the application that takes all scopes of one type. The file names it at ``place``."""
        named = self._answering(kind, line.app, place) if line.app else self._target_of(kind, loc, line)
        self._check(kind, loc, line)
        under_policy = guarded(named.app, _policy(kind, line), f"{kind} -> {line.app}")
        return KINDS[kind].branch_of(replace(named, app=under_policy))

    def _router(self, kind: str, lines: list[tuple[Loc, Any]]) -> Any:
        made = [(loc, route) for loc, line in lines if (route := self._route(kind, loc, line)) is not None]
        for later, earlier in unreachable([route.pattern for _, route in made]):
            first = self.parsed.document.span(made[earlier][0]).line + 1
            message = f"{label(made[later][0])} can never match: line {first} takes everything that it could match"
            self._report(made[later][0], message)
        return self._made(kind, [route for _, route in made])

    def _made(self, kind: str, routes: list[Route]) -> Any:
        settings = self.parsed.settings

        def target(name: str) -> Any:
            return self._answering(kind, getattr(settings, name), (name,))

        try:
            router = KINDS[kind].router_of(routes, settings, target)
        except ValueError as error:
            if not self.diagnostics:  # else it has been reported
                self._report(("routes", kind), str(error))
            return _unusable
        return router if not self.diagnostics else _unusable

    def _route(self, kind: str, loc: Loc, line: Any) -> Route | None:
        target = self._target_of(kind, loc, line)
        self._check(kind, loc, line)
        given = self._given(kind, line)
        if not given and self.parsed.spoiled(*loc):
            return None  # a misspelt key has been reported, and was this one
        if any(self.parsed.spoiled(*loc, option) for option in KINDS[kind].options):
            return None  # it would seem to take more than was meant
        if len(given) != 1:
            self._report(loc, _how_many(kind, loc, given))
            return None
        key = given[0]
        place = next(each for each in (key, *KINDS[kind].enough) if _says(line, each))
        try:
            route = KINDS[kind].route_of(key, line, target, _policy(kind, line))
            if not isinstance(route, Route):
                raise TypeError(f"make_route returned {route!r}, not a Route")
            return route
        except ValueError as error:
            self._report((*loc, place), str(error), part=getattr(error, "part", ""))
        except Exception as error:  # a mistake in a package that brings a scope type
            self._report((*loc, place), f"the scope type {kind} failed{place_of(error)}: {describe_error(error)}")
        return None

    def _target_of(self, kind: str, loc: Loc, line: Any) -> Named:
        try:
            made = KINDS[kind].application_of(line, self.parsed.document.folder)
        except KeyMistake as mistake:
            if mistake.key:
                self._report((*loc, mistake.key), f"{label((*loc, mistake.key))}: {mistake}")
            elif not self.parsed.spoiled(*loc):  # the key that it lacks may be a misspelt one
                self._report(loc, f"{label(loc)} {mistake}")
            return Named(_unusable, "nothing")
        return self._answering(kind, line.app, (*loc, "app")) if made is None else made

    def _check(self, kind: str, loc: Loc, line: Any) -> None:
        try:
            check_policy(kind, _policy(kind, line))
        except ValueError as error:
            self._report(loc, f"{label(loc)}: {error}")

    def _given(self, kind: str, line: Any) -> list[str]:
        given = [key for key in KINDS[kind].keys if _says(line, key)]
        return given or list({meant for option, meant in KINDS[kind].enough.items() if _says(line, option)})

    def _answering(self, kind: str, target: str, loc: Loc) -> Named:
        """Import a target; routes and the log name it as the file does."""
        app = self._import(target, loc, KINDS[kind].django)
        try:
            check_answers(app, kind)
        except ValueError as error:
            self._report(loc, str(error))
        return Named(app, target)

    def _import(self, target: str, loc: Loc, django: str = ScopeKind.django) -> Any:
        """Import ``target``. ``django``: the home of what makes the application that is called so."""
        if not self.importable:
            return _unusable
        try:
            return self._django(django) if target == "django" else as_application(self._imported(target))
        except TargetError as error:
            self._report_target(loc, error)
        except ValueError as error:
            self._report(loc, f"{target!r}: {error}")
        return _unusable

    def _report_target(self, loc: Loc, error: TargetError) -> None:
        """Report a module that fails once, however many targets are in it: it is one mistake."""
        if error.module not in self._failed:
            self._report(loc, str(error), error.trace)
        if error.module:
            self._failed.add(error.module)

    def _imported(self, target: str) -> Any:
        """Import ``target`` once: a module that fails may be slow, and many routes may name it."""
        if target not in self._targets:
            try:
                self._targets[target] = import_target(target)
            except TargetError as error:
                self._targets[target] = error
        if isinstance(found := self._targets[target], TargetError):
            raise found
        return found

    def _django(self, home: str) -> Application:
        if self.parsed.settings.django is None:
            raise TargetError("'django' needs the key django: {settings: your.settings}")
        try:
            application: Application = imported(home)()  # only where it is asked for: Django is optional
            return application
        except NotAnswered:  # its own sentence
            raise
        except (Exception, SystemExit) as error:  # whatever the project's own code does
            sentence = f"'django': the project's URLs cannot be imported{place_of(error)}: {describe_error(error)}"
            raise TargetError(sentence, source_lines(error)) from error

    def _report(self, loc: Loc, message: str, trace: Sequence[str] = (), part: str = "") -> None:
        if len(self.diagnostics) >= MOST:
            return
        self.diagnostics.append(self.parsed.document.at_value(loc, message, part).with_lines(trace))


def _says(line: Any, key: str) -> bool:
    return getattr(line, key) is not None


def _policy(kind: str, line: Any) -> Policy:
    """Return the policy of a route; a route for websocket has none."""
    return _policy_of(kind, *attrgetter(*_keys(kind))(line)) if isinstance(line, Policy) else PLAIN


@cache
def _keys(kind: str) -> tuple[str, ...]:
    return tuple(key.name for key in fields(KINDS[kind].policy))


@lru_cache(maxsize=256)  # a long file has many routes with few policies
def _policy_of(kind: str, *values: Any) -> Policy:
    return KINDS[kind].policy(**dict(zip(_keys(kind), values, strict=True)))


def _how_many(kind: str, loc: Loc, given: list[str]) -> str:
    if given:
        return f"{label(loc)} has {' and '.join(given)}; write one of them"
    return f"{label(loc)} needs {' or '.join(KINDS[kind].keys)}; {KINDS[kind].everything} takes all"
