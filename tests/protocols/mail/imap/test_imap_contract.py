"""The contract that every server keeps, for a server that connects instead of listening."""

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from contract import LIMIT, Driver, Outcome, ServerContract, crashes
from imap_desk import mail, new_user, settings
from servers.dovecot import Dovecot, dovecot
from waiting import until

from protocols.asgi import EmailScope
from protocols.mail.imap.reader import IMAPReader
from protocols.server import Server

FOLDERS: dict[str, Outcome] = {"Processed": "done", "Rejected": "refused"}


class IMAPDriver(Driver):
    """The peer is a program that drops mail into the mailbox; it is "told" by the folder where the message ends; what
    has been tried and is still in INBOX has failed."""

    scope_type = "email"
    scope = EmailScope
    garbage = (b"\xff\x00" * 2000, b"\r\n\r\n", b"Subject: " + b"(" * 5000, b"To: <>\r\n\r\n* BYE\r\nA1 OK x\r\n")
    dovecot: ClassVar[Dovecot]

    def __init__(self) -> None:
        super().__init__()
        self.user = new_user()
        self.number = 0
        self.runs = 0
        self.servers: list[Server] = []

    def server(self, app: Any, bind: str = "", state: dict[str, Any] | None = None) -> Server:
        async def counted(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            finally:
                self.runs += scope["type"] == "email"

        server = IMAPReader(counted, settings(self.dovecot, self.user), state=state)
        self.servers.append(server)
        return server

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "email":
            while (await receive())["more_body"]:
                pass
            await send({"type": "email.accept"})

    async def exchange(self, address: str) -> Outcome:
        self.number += 1
        return await self.drop(mail(f"number {self.number}"))

    async def drop(self, message: bytes) -> Outcome:
        counts = {folder: self.dovecot.count(folder, self.user) for folder in FOLDERS}
        runs, server = self.runs, self.servers[-1]
        self.dovecot.append(message, user=self.user)
        await until(lambda: server.status.state == "stopped" or (self.runs > runs and not server.active()))
        grown = [folder for folder in FOLDERS if self.dovecot.count(folder, self.user) > counts[folder]]
        return FOLDERS[grown[0]] if grown else "failed"


@pytest.fixture(autouse=True, scope="module")
def _dovecot() -> Iterator[None]:
    with dovecot() as running:
        IMAPDriver.dovecot = running
        yield


class TestIMAPContract(ServerContract):
    driver_class = IMAPDriver

    async def test_garbage_harms_nobody(self, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
        """A hostile peer of a mailbox has no connection to us: its garbage is mail."""
        assert isinstance(driver, IMAPDriver)
        async with self.serving(driver, driver.answer) as server:
            for data in driver.garbage:
                assert await driver.drop(data) == "done", data[:60]
                assert await driver.exchange(server.address) == "done", data[:60]
        assert crashes(caplog) == []

    async def test_stop_lets_what_is_in_flight_finish(self, driver: Driver) -> None:
        """As in the contract, without its last line: the mail server goes on when its reader stops."""
        running, release = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            running.set()
            await release.wait()
            await driver.answer(scope, receive, send)

        server = driver.server(app, state={})
        async with asyncio.timeout(4 * LIMIT):
            await server.start()
            exchange = asyncio.ensure_future(driver.exchange(server.address))
            await running.wait()
            assert sum(server.active().values()) == 1
            stopping = asyncio.ensure_future(server.stop(LIMIT))
            await asyncio.sleep(0.05)
            release.set()
            assert await exchange == "done"
            await stopping
            assert server.active() == {}
