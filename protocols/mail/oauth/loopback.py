"""The flow of a desktop app (RFC 8252): a person agrees in a browser, which comes back to this machine.

Where the browser runs elsewhere, as over ssh, the person pastes the address that it could not open.
"""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from protocols.mail.oauth.device import refresh_token_of
from protocols.mail.oauth.endpoint import ask
from protocols.mail.oauth.google import SCOPE, DesktopClient
from protocols.mail.oauth.source import TokenRefused

_DONE = "The gateway has the answer. You can close this window; the terminal says how it ended."


class _Answer:
    """What the browser brings back, from whichever side it comes first."""

    def __init__(self, state: str) -> None:
        self._state = state
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(self, query: str) -> bool:
        """Take the query of the address, and return whether it answers our request. Browsers may come twice."""
        try:
            given = {name: values[0] for name, values in parse_qs(query, max_num_fields=50).items()}
        except ValueError:
            return False
        if not secrets.compare_digest(given.get("state", "").encode(), self._state.encode()):
            return False
        if self.code.done():
            return True
        if "code" in given:
            self.code.set_result(given["code"])
        else:
            self.code.set_exception(TokenRefused(f"the login was refused: {given.get('error', 'no code')[:100]!r}"))
        return True


async def loopback_login(
    client: DesktopClient, username: str, show: Callable[[str], object], lines: AsyncIterator[str]
) -> str:
    """Let a person log in, and return the refresh token. ``lines``: what the person types. Raises TokenRefused and
    NoTokenYet."""
    verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(16)
    answer = _Answer(state)
    async with _listening(answer) as redirect:
        show(f"Open this address in a browser, and agree:\n\n{_address(client, username, redirect, verifier, state)}\n")
        show("If the browser runs on another machine, it ends at an address that it cannot open. Paste that one here.")
        pasting = asyncio.ensure_future(_pasted(lines, answer, show))
        try:
            code = await answer.code
        finally:
            pasting.cancel()
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
    return refresh_token_of((await ask(client.token_url, form | client.form())).refresh_token)


def _address(client: DesktopClient, username: str, redirect: str, verifier: str, state: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": client.client_id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": SCOPE,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "access_type": "offline",
        "prompt": "consent",  # else Google gives a refresh token only the first time
        "login_hint": username,
    }
    return f"{client.authorize_url}?{urlencode(asked)}"


@asynccontextmanager
async def _listening(answer: _Answer) -> AsyncIterator[str]:
    """Serve the address that the browser comes back to, which this yields."""

    async def came_back(request: web.Request) -> web.Response:
        if answer.take(request.query_string):
            return web.Response(text=_DONE)
        raise web.HTTPBadRequest(text="This is not the login that was begun.")

    app = web.Application()
    app.router.add_get("/", came_back)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address: Any = runner.addresses[0]
        yield f"http://127.0.0.1:{address[1]}"
    finally:
        await runner.cleanup()


async def _pasted(lines: AsyncIterator[str], answer: _Answer, show: Callable[[str], object]) -> None:
    async for line in lines:
        if line.strip() and not answer.take(line.strip().partition("?")[2].partition("#")[0]):
            show("That is not the address. It begins with http://127.0.0.1 and has state= and code= in it.")
