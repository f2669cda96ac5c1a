"""A provider's REST interface as texts meet it: a real HTTP server on a free port that remembers what it was posted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Provider:
    """Gives ``answers`` one after the other, the last one from then on."""

    answers: list[tuple[int, str]]
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers with lower-cased names, body."""
    hangs: bool = False
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append((request.raw_path, headers, await request.read()))
        if self.hangs:
            await asyncio.Event().wait()
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        location = {"location": "/elsewhere"} if status // 100 == 3 else {}
        return web.Response(status=status, text=body, content_type="application/json", headers=location)


@contextlib.asynccontextmanager
async def provider(*answers: tuple[int, str]) -> AsyncIterator[Provider]:
    """It serves until the block ends; ``url`` has no slash at its end."""
    served = Provider(list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    server = TestServer(app, host="127.0.0.1", shutdown_timeout=0.1)
    await server.start_server()
    served.url = str(server.make_url("")).rstrip("/")
    try:
        yield served
    finally:
        await server.close()
