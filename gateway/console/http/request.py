"""One request to the console."""

import asyncio
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from gateway.control.server import BadRequest
from protocols.asgi import HTTPScope, Receive

LONGEST_BODY = 65536
"""Bytes of a request's body."""
BODY_TIME = 10.0
"""Seconds in which it has to come: one that comes byte by byte would keep its connection for days."""
_FIELDS = 64
"""Parameters of a query."""
_PORT = re.compile(r":([0-9]{1,5})\Z")


class Refused(BadRequest):
    """The request is not answered. The message is one sentence for the client."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class Request:
    """What the console reads of an HTTP request."""

    scope: HTTPScope
    receive: Receive

    @property
    def method(self) -> str:
        return self.scope["method"]

    @property
    def path(self) -> str:
        return self.scope["path"]

    def header(self, name: bytes) -> str | None:
        """Return the value of a header field. Raises Refused if it is there twice."""
        values = [value for key, value in self.scope["headers"] if key == name]
        if len(values) > 1:
            raise Refused(400, f"there are {len(values)} fields {name.decode()}")
        return values[0].decode("latin-1").strip() if values else None

    @property
    def port(self) -> int | None:
        """The port that the client connects to, as its URL has it; None if the URL has none."""
        found = _PORT.search(self.header(b"host") or "")
        return int(found[1]) if found is not None else None

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """The parameters in the URL. Raises BadRequest."""
        try:
            text = self.scope["query_string"].decode("ascii")
            return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
        except ValueError as error:
            raise BadRequest(f"the query cannot be read: {error}") from error

    async def json(self) -> dict[str, Any]:
        """Return the JSON object in the body; an empty one if there is no body. Raises BadRequest."""
        body = await self.body()
        try:
            found = json.loads(body) if body else {}
        except (ValueError, RecursionError) as error:
            raise BadRequest("the body is not JSON") from error
        if not isinstance(found, dict):
            raise BadRequest("the body is not a JSON object")
        return found

    async def body(self) -> bytes:
        """Raises Refused if it is too long or too slow, or if the client has left."""
        try:
            async with asyncio.timeout(BODY_TIME):
                return await self._body()
        except TimeoutError:
            raise Refused(408, f"the body did not come within {BODY_TIME:g} s") from None

    async def _body(self) -> bytes:
        found = bytearray()
        while True:
            event = await self.receive()
            if event["type"] != "http.request":
                raise Refused(400, "the body is not whole")
            found += event.get("body", b"")
            if len(found) > LONGEST_BODY:
                raise Refused(413, f"the body is longer than {LONGEST_BODY} bytes")
            if not event.get("more_body"):
                return bytes(found)
