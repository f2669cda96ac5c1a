"""The control socket of real daemons: where it is, and what becomes of it."""

import signal
from pathlib import Path

from servers.gateway_process import GatewayProcess
from servers.operated import Start
from servers.ports import free_port
from servers.site import until

from gateway.control.client import ring
from gateway.control.place import sockets

HANDLERS = """
from gateway import EmailConsumer

class Desk(EmailConsumer):
    def receive(self, message):
        pass
"""
FILE = """
servers: {{mail: {{protocol: smtp, bind: "127.0.0.1:{port}"}}}}
routes: {{email: {{app: control_handlers.Desk, inbox: true}}}}
store: sqlite:{store}
"""


def test_without_a_store_it_is_beside_the_file_and_goes_with_the_daemon(start: Start) -> None:
    run = start()
    run.serves()
    beside = run.folder / "gateway.yaml"
    until(lambda: ring([beside]), "the daemon hears its control socket")
    assert run.ended_by(signal.SIGTERM) == 0
    assert not sockets(beside)
    assert run.err == "INFO    stopped: 0 lost\n"


def test_two_daemons_on_one_store_have_one_each_and_the_next_removes_that_of_a_killed_one(tmp_path: Path) -> None:
    store = tmp_path / "gateway.db"
    files = [FILE.format(port=free_port(), store=store) for _ in range(2)]
    first, second = (
        GatewayProcess(tmp_path / f"{number}", "control_handlers", HANDLERS, file) for number, file in enumerate(files)
    )
    try:
        first.start()
        second.start()
        until(lambda: ring([store]) == 2, lambda: first.output() + second.output())
        first.stop(signal.SIGKILL)
        assert len(sockets(store)) == 2
        assert ring([store]) == 1
        first.start()
        until(lambda: ring([store]) == 2, lambda: first.output())
        assert len(sockets(store)) == 2
    finally:
        first.stop(signal.SIGTERM)
        second.stop(signal.SIGTERM)
    assert not sockets(store)


def test_a_store_whose_path_is_too_long_for_a_socket_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    file = FILE.format(port=free_port(), store=folder / "gateway.db")
    process = GatewayProcess(tmp_path / "service", "control_handlers", HANDLERS, file)
    try:
        process.start()
        until(lambda: "gateway tail cannot reach this gateway: its path has" in process.output(), process.output)
    finally:
        assert process.stop(signal.SIGTERM) == 0
    assert "Traceback" not in process.output()
