"""`gateway reload --code`: the next process takes over, and one that cannot changes nothing."""

import os
import signal
import socket
import sys
import sysconfig
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from servers.replaced import RUN, Replaced
from servers.site import until

FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
routes:
  http: replaced_handlers.Web
"""
HANDLERS = """
import asyncio, os, sys
from pathlib import Path
from gateway import AsyncHttpConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/slow":
            Path("asked").touch()
            await asyncio.sleep(0.5)
        words = {"/pid": str(os.getpid()), "/python": sys.executable, "/variable": os.environ.get("VARIABLE", "")}
        await self.respond(words.get(self.scope["path"], "one").encode())
"""


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[Replaced]:
    with_files = Replaced(tmp_path, {"gateway.yaml": FILE, "replaced_handlers.py": HANDLERS})
    yield with_files
    with_files.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaced]:
    folder = tmp_path_factory.mktemp("replaced")
    running = Replaced(folder, {"gateway.yaml": FILE, "replaced_handlers.py": HANDLERS})
    yield running
    running.close()


def test_the_next_process_serves_new_code_and_nobody_is_refused(replaced: Replaced) -> None:
    first, answers, done = replaced.answer("pid"), set[str](), threading.Event()
    assert int(first) == replaced.process.pid

    def visit() -> None:
        while not done.is_set():
            answers.add(replaced.answer())

    visitor = threading.Thread(target=visit)
    visitor.start()
    counted: list[int] = []
    for before, after in (("one", "two"), ("two", "three"), ("three", "four")):
        replaced.write("replaced_handlers.py", HANDLERS.replace("one", after))
        left = int(replaced.answer("pid"))
        told = replaced.reload()
        assert (told.returncode, told.stderr) == (0, "")
        assert replaced.answer() == after, before
        until(partial(_has_gone, left, replaced), replaced.said)
        counted.append(psutil.Process(int(replaced.answer("pid"))).num_fds())
    done.set()
    visitor.join()
    assert answers <= {"one", "two", "three", "four"}
    assert max(counted) - min(counted) <= 2  # a connection of the visitor
    waiting, *serving = replaced.processes()
    assert [each.pid for each in serving] == [int(replaced.answer("pid"))]
    assert waiting.cmdline()[3].endswith("parent.py")
    waiting.send_signal(signal.SIGTERM)
    assert replaced.process.wait(20) == 0
    assert replaced.said().count("stopped: 0 lost") == 1


def _has_gone(pid: int, replaced: Replaced) -> bool:
    """Whether the daemon has ended; the first process goes on as the parent that waits."""
    if pid == replaced.process.pid:
        return "parent.py" in " ".join(psutil.Process(pid).cmdline())
    return not psutil.pid_exists(pid)


def test_a_request_is_finished_by_the_process_that_it_came_to(running: Replaced) -> None:
    answers: list[str] = []
    (running.folder / "asked").unlink(missing_ok=True)
    visitor = threading.Thread(target=lambda: answers.append(running.answer("slow")))
    visitor.start()
    until((running.folder / "asked").exists, running.said)
    running.write("replaced_handlers.py", HANDLERS.replace("one", "two"))
    assert running.reload().returncode == 0
    assert running.answer() == "two"
    visitor.join()
    assert answers == ["one"]
    running.write("replaced_handlers.py", HANDLERS)
    assert running.reload().returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("replaced_handlers.py", "class Web(:\n", "replaced_handlers.py:1: SyntaxError"),
        ("replaced_handlers.py", "import no_such_module\n", "no_such_module"),
        ("replaced_handlers.py", "import os\nos.kill(os.getpid(), 9)\n", "ended with code -9"),
        ("replaced_handlers.py", "import time\ntime.sleep(3600)\n", "was not ready within 3 s"),
        ("gateway.yaml", "servers: {web: {protocol: htp}}\n", "did you mean 'http'"),
        ("gateway.yaml", FILE.replace("routes", "log: {format: json}\nroutes").replace("Web", "Nobody"), "Nobody"),
        ("gateway.yaml", FILE.replace("PORT", "TAKEN"), "servers.web: 127.0.0.1:TAKEN: the address is already in use"),
    ],
    ids=["syntax", "import", "killed", "hangs", "file", "file in JSON", "address"],
)
def test_a_process_that_does_not_serve_changes_nothing(running: Replaced, name: str, text: str, told: str) -> None:
    right, serves = (running.folder / name).read_text(), running.answer("pid")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        running.write(name, text.replace("TAKEN", port))
        said = running.reload("--within", "3s" if "sleep" in text else "60s")
    running.write(name, right)
    assert said.returncode == 1
    assert told.replace("TAKEN", port) in said.stderr
    assert f"Process {serves} keeps running." in said.stderr
    assert running.answer("pid") == serves
    until(lambda: len(running.processes()) <= 2, running.said)


def test_one_process_at_a_time_takes_over(running: Replaced) -> None:
    running.write("replaced_handlers.py", "open('importing', 'w').close()\nimport time\ntime.sleep(3600)\n")
    first: list[int] = []
    asking = threading.Thread(target=lambda: first.append(running.reload("--within", "5s").returncode))
    asking.start()
    until((running.folder / "importing").exists, running.said)
    assert "taking over already" in running.reload().stderr
    running.write("replaced_handlers.py", HANDLERS)
    asking.join()
    assert first == [1]


def test_a_link_leads_to_the_next_release_and_its_interpreter(tmp_path: Path) -> None:
    """The command, the folder and the file are those that the link means by then."""
    for number in ("one", "two"):
        release = tmp_path / number
        (release / "bin").mkdir(parents=True)
        (release / "bin" / "python").symlink_to(Path(sys.executable).resolve())
        script = f"#!{release}/bin/python\nfrom gateway.__main__ import main\nmain()\n"
        (release / "bin" / "gateway").write_text(script)
        (release / "bin" / "gateway").chmod(0o755)
        (release / "replaced_handlers.py").write_text(HANDLERS.replace("one", number))
    current = tmp_path / "current"
    current.symlink_to("one")
    paths = os.pathsep.join([str(Path(__file__).parents[3]), sysconfig.get_paths()["purelib"]])
    file = f"store: sqlite:{tmp_path}/gateway.db\n{FILE}"  # the store is none of the release's
    environment = {"PYTHONPATH": paths, "PWD": str(current), "VARIABLE": "set"}
    running = Replaced(current, {"gateway.yaml": file}, ["bin/gateway", "run"], **environment)
    try:
        (tmp_path / "two" / "gateway.yaml").write_text((current / "gateway.yaml").read_text())
        current.unlink()
        current.symlink_to("two")
        said = running.reload()
        assert said.returncode == 0, said.stderr
        assert running.answer() == "two"
        assert running.answer("python") == str(tmp_path / "two" / "bin" / "python")
        assert running.answer("variable") == "set"
    finally:
        running.close()


def test_the_process_that_waits_ends_as_the_daemon_ends(replaced: Replaced) -> None:
    assert replaced.reload().returncode == 0
    serves = int(replaced.answer("pid"))
    until(lambda: _has_gone(replaced.process.pid, replaced), replaced.said)
    os.kill(serves, signal.SIGKILL)
    assert replaced.process.wait(20) == 128 + signal.SIGKILL


def test_a_daemon_ends_when_the_process_is_killed_that_waits_for_it(replaced: Replaced) -> None:
    """Its supervisor starts another one, which needs the addresses."""
    assert replaced.reload().returncode == 0
    serves = psutil.Process(int(replaced.answer("pid")))
    until(lambda: _has_gone(replaced.process.pid, replaced), replaced.said)
    replaced.process.kill()
    assert not psutil.wait_procs([serves], 20)[1]
    replaced.says("stopped: 0 lost")


def test_systemd_hears_which_process_is_the_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        files = {"gateway.yaml": FILE, "replaced_handlers.py": HANDLERS}
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        running = Replaced(tmp_path, files, RUN, **variables)
        try:
            assert _heard(systemd) == ["READY=1"]
            assert running.reload().returncode == 0
            second = running.answer("pid")
            assert running.process.wait(20) == 0
            assert running.reload().returncode == 0
            third = psutil.Process(int(running.answer("pid")))
            until(lambda: not psutil.pid_exists(int(second)), running.said)
            assert _heard(systemd) == [f"MAINPID={second}", "READY=1", f"MAINPID={third.pid}", "READY=1"]
            third.terminate()
            assert not psutil.wait_procs([third], 20)[1]
            assert _heard(systemd) == ["STOPPING=1"]
        finally:
            running.close()


def _heard(systemd: socket.socket) -> list[str]:
    """What the daemon has said, but for its signs of life."""
    heard: list[str] = []
    systemd.setblocking(False)
    while True:
        try:
            heard.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return [each for each in heard if each != "WATCHDOG=1"]
