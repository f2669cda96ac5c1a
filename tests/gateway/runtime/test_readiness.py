"""/readyz and the store: what cannot be stored cannot be taken, and a balancer is to know."""

import os
import resource
import signal
import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

HANDLERS = """
from gateway import EmailConsumer


class Desk(EmailConsumer):
    def receive(self, message):
        pass
"""
FILE = """
servers: {{mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}}}
routes: {{email: {{app: desk_handlers.Desk, inbox: true}}}}
console: {{bind: "127.0.0.1:{console}"}}
shutdown_timeout: 1s
"""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mail, self.console = free_port(), free_port()
        (folder / "desk_handlers.py").write_text(HANDLERS)
        (folder / "gateway.yaml").write_text(FILE.format(mail=self.mail, console=self.console))
        self.daemon = Daemon(folder)
        self.daemon.says("try:")

    def ask(self) -> tuple[int, Any]:
        answer = httpx.get(f"http://127.0.0.1:{self.console}/readyz", timeout=5)
        return answer.status_code, answer.json()

    def takes(self) -> int:
        with smtplib.SMTP("127.0.0.1", self.mail, timeout=10) as client:
            try:
                client.sendmail(
                    "ann@example.org", ["help@example.org"], f"Subject: {os.urandom(8).hex()}\r\n\r\nhi\r\n"
                )
            except smtplib.SMTPDataError as error:
                return error.smtp_code
        return 250

    # What may happen to a store.

    def no_room(self) -> Callable[[], object]:
        """No file of the daemon's may grow, or be written at all."""
        _, hard = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE, (0, hard))
        return lambda: resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def folder_gone(self) -> Callable[[], object]:
        """As where a volume is unmounted."""
        (self.folder / "var").rename(self.folder / "away")
        (self.folder / "var").touch()

        def back() -> None:
            (self.folder / "var").unlink()
            (self.folder / "away").rename(self.folder / "var")

        return back


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.daemon.close()


@pytest.mark.parametrize("trouble", [Desk.no_room, Desk.folder_gone])
def test_not_ready_while_nothing_can_be_stored(desk: Desk, trouble: Callable[[Desk], Callable[[], object]]) -> None:
    assert desk.takes() == 250
    status, body = desk.ask()
    assert (status, body["ready"], body["store"]) == (200, True, {"state": "ready", "detail": ""})
    back = trouble(desk)
    status, body = desk.ask()
    assert (status, body["ready"], body["store"]["state"]) == (503, False, "unavailable")
    assert body["store"]["detail"]
    assert body["servers"]["mail"]["state"] == "ready", "and it says what is the matter"
    assert desk.takes() == 451
    assert desk.ask()[0] == 503
    back()
    assert desk.ask()[0] == 200
    assert desk.takes() == 250
    complaints = [line for line in desk.daemon.lines if line.startswith("ERROR   the store is unavailable")]
    assert len(complaints) <= 2, "the trouble, and that it cannot be opened again"


@pytest.mark.parametrize("trouble", [Desk.no_room, Desk.folder_gone])
def test_it_stops_as_ever_while_nothing_can_be_stored(desk: Desk, trouble: Callable[[Desk], object]) -> None:
    assert desk.takes() == 250
    trouble(desk)
    assert desk.ask()[0] == 503
    desk.daemon.process.send_signal(signal.SIGTERM)
    assert desk.daemon.process.wait(20) == 0
    desk.daemon.says("the store is unavailable: ")
    assert desk.daemon.lines[-1].startswith("INFO    stopped: ")


def test_a_store_that_was_deleted_takes_nothing_into_the_void(desk: Desk) -> None:
    """SQLite would write on in the file without a name, and all of it would be gone at the next start."""
    assert desk.takes() == 250
    for path in (desk.folder / "var").glob("gateway.db*"):
        if not path.name.endswith(".lock"):
            path.unlink()
    desk.takes()  # 451, unless the worker was the first to find out
    desk.daemon.says("was deleted, moved or replaced")
    until(lambda: desk.takes() == 250, "a new one is made")
    assert (desk.folder / "var" / "gateway.db").exists()
    assert desk.ask()[0] == 200
