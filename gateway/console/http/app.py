"""The console's interface as an ASGI application."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from gateway.config.settings import ConsoleSettings
from gateway.console.audit import record
from gateway.console.here import Here
from gateway.console.http.answer import Exposition, send_json, send_metrics
from gateway.console.http.guard import Guard
from gateway.console.http.request import Refused, Request
from gateway.console.http.stream import HEARTBEAT, send_stream
from gateway.console.http.visitors import Visitor, Visitors
from gateway.console.operation import Operation
from gateway.console.parameters import Parameter, read_all
from gateway.console.table import operations
from gateway.control.caller import caller
from gateway.control.server import BadRequest
from gateway.own_thread import operator_thread
from protocols.access.logins import Logins
from protocols.asgi import HTTPScope, Receive, Send
from protocols.errors import describe_error

if TYPE_CHECKING:
    from gateway.console.http.pages import Pages

logger = logging.getLogger(__name__)

STREAMS = 32
"""Streams at a time: connections are left for health checks."""
ENDLESS = "follow"
"""The parameter of a stream that has no end: a reload ends it, and the client comes again."""
LAST_EVENT = "after"
"""The parameter that gets the number in Last-Event-ID."""


Page = Callable[[Request, Send], Awaitable[None]]

_LOGIN: Mapping[str, Parameter] = {
    name: Parameter(name, str, words, ...) for name, words in (("username", "The user."), ("password", "The password."))
}


class Health(Protocol):
    """What is known of the gateway without any operation."""

    @property
    def logins(self) -> Logins | None:
        """What checks the passwords of the console's users, if it has any."""

    @property
    def is_replaced(self) -> bool:
        """Whether another gateway serves now."""

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer at ``/readyz``."""

    async def metrics(self, scope: HTTPScope) -> Exposition:
        """Return the answer at ``/metrics``."""

    def finishing(self) -> AbstractContextManager[None]:
        """Do something that is to come to its end, although another gateway has taken over."""


class Interface:
    """Answers requests for operations, and those of people who log in and out."""

    def __init__(self, here: Here, settings: ConsoleSettings, health: Health) -> None:
        self._here = here
        self._health = health
        self._guard = Guard(settings.hosts)
        self._visitors = Visitors(settings, here.sessions, health.logins, self._logins_now)
        self._streams = 0
        self._html_pages: Pages | None = None
        self._pages: Mapping[str, tuple[str, Page]] = {
            "/readyz": ("GET", self._tell_readiness),
            "/metrics": ("GET", self._tell_metrics),
            "/api/session": ("GET", self._tell_session),
            "/api/login": ("POST", self._log_in),
            "/api/logout": ("POST", self._log_out),
        }

    def _logins_now(self) -> Logins | None:
        """Return what checks the passwords of users. A reload may remove one who is at work here."""
        return self._here.logins if self._health.is_replaced else self._health.logins

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._answer(request, send)
        except BadRequest as error:
            headers = error.headers if isinstance(error, Refused) else ()
            await send_json(send, error.status, {"error": str(error)}, headers)
        except Exception as error:
            logger.exception("console: %s failed", request.path)
            await send_json(send, 500, {"error": describe_error(error)})

    async def _answer(self, request: Request, send: Send) -> None:
        self._guard.check_host(request)
        self._guard.check_origin(request)
        if (page := self._pages.get(request.path)) is not None:
            await self._show(*page, request, send)
            return
        if not request.path.startswith("/api/") and (pages := await self._html()).has(request.path):
            await pages.send(request, send)
            return
        visitor = await self._visitors.needed(request)
        wanted, in_path = _found(request)
        if wanted.changes:
            self._guard.check_type(request)
        arguments = await _arguments(request, wanted, in_path)
        caller.set(self._visitors.describe(request, visitor.user))
        record(wanted, caller.get(), arguments)
        with nullcontext() if arguments.get(ENDLESS) else self._health.finishing():
            if wanted.streams:
                await self._stream(wanted, arguments, visitor, request, send)
            else:
                await send_json(send, 200, await _while_allowed(wanted.answer(self._here, arguments), visitor))

    async def _html(self) -> "Pages":
        """Return the pages. They are imported with the first of them, on a thread: devices go on."""
        if self._html_pages is None:
            module = await operator_thread.run(import_module, "gateway.console.http.pages")
            self._html_pages = module.Pages(self._here, self._visitors, self._health.finishing)
        return self._html_pages

    async def _show(self, method: str, page: Page, request: Request, send: Send) -> None:
        if request.method != method and not (method == "GET" and request.method == "HEAD"):
            raise Refused(405, f"write {method}", (b"allow", method.encode()))
        if method == "POST":
            self._guard.check_type(request)
        await page(request, send)

    async def _tell_readiness(self, request: Request, send: Send) -> None:
        """Tell a client that has not logged in only whether the gateway is ready."""
        status, answer = await self._health.readiness()
        if self._visitors.log_in and await self._visitors.of(request) is None:
            answer = {"ready": answer["ready"]}
        await send_json(send, status, answer)

    async def _tell_metrics(self, request: Request, send: Send) -> None:
        if not await self._visitors.may_measure(request):
            raise Refused(401, "log in, or send the token for metrics", (b"www-authenticate", b"Bearer"))
        await send_metrics(send, await self._health.metrics(request.scope))

    async def _tell_session(self, request: Request, send: Send) -> None:
        visitor = await self._visitors.of(request)
        await send_json(send, 200, {"login": self._visitors.log_in, "user": visitor.user if visitor else None})

    async def _log_in(self, request: Request, send: Send) -> None:
        given = read_all(_LOGIN, await request.json(), Parameter.read)
        cookie = await self._visitors.enter(request, given["username"], given["password"])
        await send_json(send, 200, {"user": given["username"]}, [(b"set-cookie", cookie)])

    async def _log_out(self, request: Request, send: Send) -> None:
        await send_json(send, 200, {"user": None}, [(b"set-cookie", self._visitors.leave(request))])

    async def _stream(
        self, wanted: Operation, arguments: Mapping[str, Any], visitor: Visitor, request: Request, send: Send
    ) -> None:
        if self._streams >= STREAMS:
            raise Refused(503, f"{STREAMS} event streams are open already", (b"retry-after", b"5"))
        self._streams += 1
        try:
            async with aclosing(wanted.joined_answers(self._here, arguments)) as answers:
                await send_stream(answers, request.receive, send, visitor.stays, of_change=wanted.changes)
        finally:
            self._streams -= 1


async def _while_allowed(work: Coroutine[Any, Any, Mapping[str, Any]], visitor: Visitor) -> Mapping[str, Any]:
    """Return what ``work`` returns. It may take hours, such as to disconnect clients one a second. Raises Refused if
    the login ends meanwhile."""
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({working}, timeout=HEARTBEAT))[0]:
            if not await visitor.stays():
                raise Refused(401, "the login has ended; part of it may be done")
        return await working
    finally:
        working.cancel()
        await asyncio.wait({working})


def interface(here: Here, settings: ConsoleSettings, health: Health) -> Interface:
    """Make the interface of a daemon, with everything that its operations import."""
    _patterns()
    return Interface(here, settings, health)


def _found(request: Request) -> tuple[Operation, dict[str, str]]:
    """Return the operation that a request is for, and the parameters in its path. Raises Refused."""
    path, methods = request.path, []
    for pattern, each in _patterns():
        if (match := pattern.fullmatch(path)) is not None:
            if _is_for(each, request.method):
                return each, match.groupdict()
            methods.append(each.method)
    if methods:
        raise Refused(405, f"write {' or '.join(methods)}", (b"allow", ", ".join(methods).encode()))
    raise Refused(404, "there is nothing at this path; /api/openapi.json describes what there is")


def _is_for(operation: Operation, method: str) -> bool:
    return operation.method == method or (method == "HEAD" and operation.method == "GET")


@cache
def _patterns() -> "list[tuple[re.Pattern[str], Operation]]":
    """Paths without a parameter come first. Otherwise ``/api/dead/{id}`` would take ``/api/dead/export``."""
    found = sorted((each for each in operations().values() if each.path), key=lambda each: each.path.count("{"))
    return [(re.compile(_pattern(each.path)), each) for each in found]


def _pattern(path: str) -> str:
    return re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)


async def _arguments(request: Request, wanted: Operation, in_path: Mapping[str, str]) -> dict[str, Any]:
    """Read the parameters from path, query and body. Raises BadRequest."""
    own = {name: wanted.parameters[name].read_text([value]) for name, value in in_path.items()}
    others = {name: each for name, each in wanted.parameters.items() if name not in own}
    if wanted.method == "POST":
        return own | read_all(others, await request.json(), Parameter.read)
    given = dict(request.query)
    if LAST_EVENT in others and (last := request.header(b"last-event-id")):
        given[LAST_EVENT] = [last]
    return own | read_all(others, given, Parameter.read_text)
