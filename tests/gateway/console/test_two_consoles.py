"""Two gateways on one host, each with a console: a browser sends a cookie to every port of a host."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.browser import browser
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

from protocols.access.users import hash_password

FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}}}
routes: {{http: handlers.application}}
console: {{bind: "127.0.0.1:{port}", users: {{{user}: '{hashed}'}}}}
"""
LOG_IN = """
window.user = '';
fetch('/api/login', {method: 'POST', headers: {'content-type': 'application/json'},
                     body: JSON.stringify({username: arguments[0], password: arguments[0]})})
    .then((answer) => answer.json()).then((answer) => { window.user = answer.user; });
"""
SESSION = """
window.session = '';
fetch('/api/session').then((answer) => answer.json()).then((answer) => { window.session = String(answer.user); });
"""


@contextlib.contextmanager
def console(folder: Path, user: str) -> Iterator[str]:
    """A gateway, at whose console ``user`` may log in with a password of the same text; the URL of the console."""
    folder.mkdir()
    port = free_port()
    (folder / "handlers.py").write_text("async def application(scope, receive, send): pass\n")
    hashed = hash_password(user.encode())
    (folder / "gateway.yaml").write_text(FILE.format(port=port, user=user, hashed=hashed))
    daemon = Daemon(folder)
    try:
        daemon.says("console  ")
        yield f"http://127.0.0.1:{port}"
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def consoles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The user of each of two consoles, and its URL."""
    folder = tmp_path_factory.mktemp("consoles")
    with console(folder / "first", "ann") as first, console(folder / "second", "ben") as second:
        yield {"ann": first, "ben": second}


def test_a_client_with_one_cookie_jar_uses_both(consoles: dict[str, str]) -> None:
    with httpx.Client(timeout=20) as client:

        def users() -> list[str | None]:
            return [client.get(f"{url}/api/session").json()["user"] for url in consoles.values()]

        for user, url in consoles.items():
            given = {"username": user, "password": user}
            assert client.post(f"{url}/api/login", json=given).status_code == 200
        assert users() == ["ann", "ben"]
        assert client.post(f"{consoles['ann']}/api/logout", json={}).status_code == 200
        assert users() == [None, "ben"]


@pytest.mark.browser
def test_a_browser_uses_both(consoles: dict[str, str], tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        for user, url in consoles.items():
            window.open(f"{url}/login")
            window.run(LOG_IN, user)
            until(lambda: bool(window.run("return window.user")), f"{user} is logged in")
        for user, url in consoles.items():
            window.open(f"{url}/")
            assert window.run("return location.pathname") == "/", "and not /login"
            window.run(SESSION)
            until(lambda: bool(window.run("return window.session")), "an answer")
            assert window.run("return window.session") == user
