"""Sends the console's pages. They are imported with the first of them."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from gateway.console.here import Here
from gateway.console.http.answer import SAFE, send_body, send_file, send_unchanged
from gateway.console.http.request import Refused, Request
from gateway.console.http.stream import while_there
from gateway.console.http.visitors import Visitor, Visitors, audit
from gateway.console.pages.page import Asked, Download
from gateway.console.pages.rendering import rendered
from gateway.console.pages.static import release, static_files
from gateway.console.pages.table import DOWNLOADS, MENU, found
from gateway.control.server import BadRequest
from gateway.own_thread import operator_thread
from protocols.asgi import Send
from protocols.errors import describe_error

logger = logging.getLogger(__name__)

LOGIN = "/login"
PATIENCE = 8.0
"""Seconds in which a page has what it shows. The script waits a little longer."""
_SLOW = f"This page was not ready within {PATIENCE:g} s: the store is slow, or there is too much. Search with a filter."
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_POLICY_FIELD = b"content-security-policy"
_SAFE = [(name, value if name != _POLICY_FIELD else _POLICY.encode()) for name, value in SAFE]
_CACHED = [(name, value if name != b"cache-control" else b"no-cache") for name, value in _SAFE]
_HTML = "text/html; charset=utf-8"
_FILE = "application/octet-stream"


class Pages:
    """Answers requests for pages."""

    def __init__(self, here: Here, visitors: Visitors, finishing: Callable[[], AbstractContextManager[None]]) -> None:
        """``finishing`` is entered for a download: a reload waits for its end."""
        self._here = here
        self._visitors = visitors
        self._finishing = finishing

    def has(self, path: str) -> bool:
        """Whether there is a page, or a file that pages use."""
        return path == LOGIN or path in static_files() or path in DOWNLOADS or found(path, {}) is not None

    async def send(self, request: Request, send: Send) -> None:
        """Send the requested page or file, or a page that says what is wrong. Raises Refused."""
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "write GET", (b"allow", b"GET"))
        if (file := static_files().get(request.path)) is not None:
            tag = (b"etag", file.tag.encode())
            if _has(request, file.tag):
                await send_unchanged(send, [tag, *_CACHED])
            else:
                await send_body(send, 200, file.kind, file.body, [tag], safe=_CACHED)
        elif request.path == LOGIN:
            await self._send_login(request, send)
        else:
            await self._send_page(request, send)

    async def _send_login(self, request: Request, send: Send) -> None:
        if not self._visitors.log_in or await self._visitors.of(request) is not None:
            await self._redirect(send, _next(request))
            return
        body = await self._rendered(request, "login.html", {"title": "Log in", "next": _next(request)})
        await send_body(send, 200, _HTML, body, safe=_SAFE)

    async def _send_page(self, request: Request, send: Send) -> None:
        visitor = await self._visitors.of(request)
        if visitor is None:
            query = request.scope["query_string"].decode("latin-1")
            await self._redirect(send, f"{LOGIN}?next={quote(request.path + (f'?{query}' if query else ''), safe='/')}")
            return
        if (download := DOWNLOADS.get(request.path)) is not None:
            await self._send_file(download, visitor, request, send)
            return
        status, body = await self._page(request, visitor)
        await send_body(send, status, _HTML, body, safe=_SAFE)

    async def _send_file(self, download: Download, visitor: Visitor, request: Request, send: Send) -> None:
        """Raises BadRequest."""
        name, pieces = await download.content(self._here, Asked(request.query))
        attached = [(b"content-disposition", f"attachment; filename*=utf-8''{quote(name, safe='')}".encode())]
        if request.method == "HEAD":
            await send_body(send, 200, _FILE, b"", attached)
            return
        audit.info("download of %s by %s", name, self._visitors.describe(request, visitor.user))
        with self._finishing():
            await while_there(send_file(send, _FILE, pieces, attached, visitor.stays), request.receive)

    async def _page(self, request: Request, visitor: Visitor) -> tuple[int, bytes]:
        """Return the status and the page. An error has a page, too."""
        title = "Error"
        try:
            one = found(request.path, request.query)
            assert one is not None, "`has` has said so"
            page, asked = one
            title = page.title
            async with asyncio.timeout(PATIENCE):
                content = await page.content(self._here, asked)
            about = {**content, "title": title, "user": visitor.user}
            return 200, await self._rendered(request, page.template, about)
        except BadRequest as error:
            status, said = error.status, str(error)
        except TimeoutError:
            status, said = 503, _SLOW
        except Exception as error:
            logger.exception("console: the page %s failed", request.path)
            status, said = 500, describe_error(error)
        about = {"title": title, "error": said, "user": visitor.user}
        return status, await self._rendered(request, "error.html", about)

    async def _rendered(self, request: Request, template: str, content: Mapping[str, Any]) -> bytes:
        own = {"user": None, "menu": MENU, "path": request.path, "file": self._here.gateway.file, "release": release()}
        # On a thread, because it may take a while.
        return await operator_thread.run(rendered, template, {**own, **content})

    async def _redirect(self, send: Send, place: str) -> None:
        await send_body(send, 303, _HTML, b"", [(b"location", place.encode("ascii", "ignore"))], safe=_SAFE)


def _has(request: Request, tag: str) -> bool:
    """Whether the client has the file with this tag. A proxy that compresses it makes the tag a weak one."""
    known = (request.header(b"if-none-match") or "").split(",")
    return tag in (each.strip().removeprefix("W/") for each in known)


def _next(request: Request) -> str:
    """Return the page to show after the login: never one of another site."""
    place = (request.query.get("next") or ["/"])[-1]
    is_local = place.startswith("/") and place[1:2] not in ("/", "\\") and place.isascii() and place.isprintable()
    return place if is_local else "/"
