"""What an operator has begun at the console while the file is read again: it comes to its end."""

import asyncio
import io
import signal
import socket
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
from kept_messages import SCOPE, message
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

from gateway.store import codec, engine_of
from protocols.access.users import hash_password

HANDLERS = """
from gateway import AsyncHttpConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")
"""
LETTERS = 32
BODY = b"Subject: Large\r\n\r\n" + b"x" * 1024 * 1024
"""So much that most of a download waits for the client to read."""
ANN = httpx.BasicAuth("ann", "right")


class Gateway:
    """A gateway in ``folder``, with a client of its console."""

    def __init__(self, folder: Path, console: str = "") -> None:
        self.web, self.port = free_port(), free_port()
        self.folder = folder
        (folder / "handlers_going_on.py").write_text(HANDLERS)
        self.write(console)
        asyncio.run(self._fill())
        self.daemon = Daemon(folder)
        self.daemon.says("console  ")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=40, auth=ANN if console else None)

    def write(self, console: str) -> None:
        (self.folder / "gateway.yaml").write_text(f"""
servers: {{web: {{protocol: http, bind: "127.0.0.1:{self.web}"}}}}
routes: {{http: {{app: handlers_going_on.Web}}}}
console: {{bind: "127.0.0.1:{self.port}"{console}}}
store: sqlite:gateway.db
""")

    async def _fill(self) -> None:
        store = engine_of(f"sqlite:{self.folder}/gateway.db").store()
        await store.open()
        content = codec.encode(SCOPE, [{"type": "email.receive", "body": BODY, "more_body": False}])
        for number in range(LETTERS):
            await store.dead_letter(message(f"m{number:03}", content=content), error="KeyError: order")
        await store.close()

    def reload(self, auth: httpx.Auth | None = None) -> None:
        """Read the file again, on a connection of its own."""
        answer = httpx.post(f"{self.client.base_url}/api/reload", json={"force": True}, auth=auth, timeout=40)
        assert '"result": "reloaded"' in answer.text, answer.text

    def status(self) -> Any:
        return httpx.get(f"{self.client.base_url}/api/status", timeout=40).json()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    with ExitStack() as made:

        def make(console: str = "") -> Gateway:
            found = Gateway(tmp_path, console)
            made.callback(found.daemon.close)
            made.enter_context(found.client)
            return found

        yield make


def download(here: Gateway) -> tuple[httpx.Response, Iterator[bytes]]:
    """A download of all dead letters, of which only the beginning is read."""
    answer = here.client.send(here.client.build_request("GET", "/dead/export"), stream=True)
    pieces = answer.iter_raw(1024)
    return answer, chain([next(pieces)], pieces)


def test_a_slow_change_goes_on_over_a_reload(gateway: Callable[..., Gateway]) -> None:
    """Without that it would end about three seconds after the reload."""
    here = gateway()
    peers = [socket.create_connection(("127.0.0.1", here.web)) for _ in range(8)]
    until(lambda: len(here.client.get("/api/clients?server=web").json()["entries"]) == 8, "they are connected")
    change = {"server": "web", "rate": 1}
    with ThreadPoolExecutor(1) as beside:
        changing = beside.submit(httpx.post, f"{here.client.base_url}/api/clients/disconnect", json=change, timeout=60)
        until(lambda: len(here.client.get("/api/clients?server=web").json()["entries"]) < 8, "it has begun")
        here.reload()
        assert changing.result().json() == {"found": 8, "removed": 8}
    here.daemon.says("was replaced: 0 lost")
    here.daemon.says('clients.disconnect by somebody from 127.0.0.1: 8, {"server": "web"}')
    assert here.daemon.text.count("clients.disconnect by ") == 1
    for each in peers:
        each.close()


def test_a_download_goes_on_over_a_reload_and_the_status_says_what_an_old_generation_waits_for(
    gateway: Callable[..., Gateway],
) -> None:
    here = gateway()
    answer, rest = download(here)
    here.reload()
    until(lambda: [each["connections"] for each in here.status()["older"]] == [{"console": 1}], "it is waited for")
    with tarfile.open(fileobj=io.BytesIO(b"".join(rest))) as archive:
        assert len(archive.getnames()) == LETTERS
    answer.close()
    until(lambda: here.status()["older"] == [], "the old generation ends with it")


def test_what_has_begun_ends_with_the_user_who_began_it(gateway: Callable[..., Gateway]) -> None:
    """The old generation knows the user still."""
    hashed = hash_password(b"right")
    here = gateway(f", users: {{ann: '{hashed}', eve: '{hashed}'}}")
    _, rest = download(here)
    here.write(f", users: {{eve: '{hashed}'}}")
    here.reload(ANN)
    with pytest.raises(httpx.RemoteProtocolError):
        b"".join(rest)


def test_the_process_ends_although_something_has_begun(gateway: Callable[..., Gateway]) -> None:
    here = gateway()
    answer, _ = download(here)
    here.reload()
    until(lambda: len(here.status()["older"]) == 1, "the old generation waits")
    here.daemon.process.send_signal(signal.SIGTERM)
    assert here.daemon.wait() == 0, here.daemon.text
    answer.close()
