"""The console's interface as an ASGI application."""

import logging
import re
from collections.abc import Mapping
from contextlib import aclosing
from functools import cache, lru_cache
from typing import Any, Protocol

from gateway.config.settings import ConsoleSettings
from gateway.console.here import Here
from gateway.console.http.answer import send_body, send_json
from gateway.console.http.guard import Guard
from gateway.console.http.request import Refused, Request, status_of
from gateway.console.http.stream import send_stream
from gateway.console.operation import Operation
from gateway.console.parameters import Parameter, read_all
from gateway.console.table import operations
from gateway.control.caller import caller
from gateway.control.server import BadRequest
from protocols.asgi import HTTPScope, Receive, Send
from protocols.errors import describe_error
from protocols.units import is_local, parse_address

logger = logging.getLogger(__name__)
audit = logging.getLogger("gateway.console.audit")

STREAMS = 32
"""Streams at a time: connections are left for health checks."""
LAST_EVENT = "after"
"""The parameter that gets the number in Last-Event-ID."""


class Health(Protocol):
    """What is known of the gateway without any operation."""

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer at ``/readyz``."""

    async def metrics(self, scope: HTTPScope) -> tuple[str, bytes]:
        """Return the Content-Type and the body at ``/metrics``."""


class Interface:
    """Answers requests for operations."""

    def __init__(self, here: Here, settings: ConsoleSettings, health: Health) -> None:
        self._here = here
        self._health = health
        self._guard = Guard(settings.hosts)
        self._is_local = is_local(parse_address(settings.bind))
        self._streams = 0
        self._pages = {"/readyz": self._tell_readiness, "/metrics": self._tell_metrics}

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._answer(request, send)
        except BadRequest as error:
            headers = error.headers if isinstance(error, Refused) else ()
            await send_json(send, status_of(error), {"error": str(error)}, headers)
        except Exception as error:
            logger.exception("console: %s failed", request.path)
            await send_json(send, 500, {"error": describe_error(error)})

    async def _answer(self, request: Request, send: Send) -> None:
        self._guard.check_host(request)
        self._guard.check_origin(request)
        if (tell := self._pages.get(request.path)) is not None:
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "GET only", (b"allow", b"GET, HEAD"))
            await tell(request, send)
            return
        if not self._is_local:
            raise Refused(403, "other machines can reach this console: it tells them /healthz and /readyz alone")
        wanted, in_path = _found(request)
        if wanted.changes:
            self._guard.check_type(request)
        arguments = await _arguments(request, wanted, in_path)
        if wanted.changes:
            self._audit(request, wanted, arguments)
        if wanted.streams:
            await self._stream(wanted, arguments, request, send)
        else:
            await send_json(send, 200, await wanted.answer(self._here, arguments))

    async def _tell_readiness(self, request: Request, send: Send) -> None:
        await send_json(send, *await self._health.readiness())

    async def _tell_metrics(self, request: Request, send: Send) -> None:
        kind, body = await self._health.metrics(request.scope)
        await send_body(send, 200, kind, body)

    async def _stream(self, wanted: Operation, arguments: Mapping[str, Any], request: Request, send: Send) -> None:
        if self._streams >= STREAMS:
            raise Refused(503, f"{STREAMS} event streams are open already", (b"retry-after", b"5"))
        self._streams += 1
        try:
            async with aclosing(wanted.answers(self._here, arguments)) as answers:
                await send_stream(answers, request.receive, send, lambda: True)
        finally:
            self._streams -= 1

    def _audit(self, request: Request, wanted: Operation, arguments: Mapping[str, Any]) -> None:
        client = request.scope["client"]
        who = client[0] if client else "a Unix socket"
        caller.set(who)
        given = " ".join(f"{name}={value!r}" for name, value in arguments.items())
        audit.info("%s by %s: %s", wanted.name, who, given or "no parameters")


@lru_cache(maxsize=2)
def interface(here: Here, health: Health) -> Interface:
    """Return the interface of a daemon."""
    console = here.gateway.settings.console
    assert console is not None, "it is there only with a console"
    return Interface(here, console, health)


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
    return [(re.compile(_pattern(each.path)), each) for each in operations().values() if each.path]


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
