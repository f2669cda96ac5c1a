"""A provider's REST interface as texts meet it: a real HTTP server on a free port that remembers what it was posted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from servers.web import listening


@dataclass
class Provider:
    """Gives ``answers`` one after the other, the last one from then on."""

    answers: list[tuple[int, str]]
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers with lower-cased names, body."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer."""
    hangs: bool = False
    """What is posted now gets no answer until `resume`."""
    url: str = ""
    waiting: int = 0
    """Posts that have no answer yet."""
    _resumed: asyncio.Event = field(default_factory=asyncio.Event)

    def resume(self) -> None:
        """Answer what waits, and what comes."""
        self.hangs = False
        self._resumed.set()

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append((request.raw_path, headers, await request.read()))
        if self.hangs:
            self.waiting += 1
            try:
                await self._resumed.wait()
            finally:
                self.waiting -= 1
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        location = {"location": "/elsewhere"} if status // 100 == 3 else {}
        return web.Response(status=status, text=body, content_type="application/json", headers=location | self.headers)


@contextlib.asynccontextmanager
async def provider(*answers: tuple[int, str]) -> AsyncIterator[Provider]:
    """It serves until the block ends; ``url`` has no slash at its end."""
    served = Provider(list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    async with listening(app) as served.url:
        yield served
