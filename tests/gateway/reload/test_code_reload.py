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

import httpx
import psutil
import pytest
from servers.command import run
from servers.ports import free_port
from servers.replaced import Replaced
from servers.site import until
from servers.systemd import Systemd

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
PUBLISHING = """
import asyncio
from pathlib import Path
from gateway import AsyncHttpConsumer, aio

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/late":
            Path("asked").touch()
            while not Path("go").exists():
                await asyncio.sleep(0.02)
        try:
            await aio.publish("t", "late")
        except Exception as error:
            await self.respond(f"{type(error).__name__}: {error}")
        else:
            await self.respond("sent")
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
        ("replaced_handlers.py", "import os\nos._exit(0)\n", "ended with code 0, and its log says why"),
        ("replaced_handlers.py", "import sys\nsys.exit(0)\n", "importing 'replaced_handlers' failed"),
        ("replaced_handlers.py", "import time\ntime.sleep(3600)\n", "was not ready within 3 s"),
        ("gateway.yaml", "servers: {web: {protocol: htp}}\n", "did you mean 'http'"),
        ("gateway.yaml", FILE.replace("routes", "log: {format: json}\nroutes").replace("Web", "Nobody"), "Nobody"),
        ("gateway.yaml", FILE.replace("PORT", "TAKEN"), "servers.web: 127.0.0.1:TAKEN: the address is already in use"),
    ],
    ids=["syntax", "import", "killed", "ends", "exits", "hangs", "file", "file in JSON", "address"],
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
    importing = running.folder / "importing"
    text = (
        "import os, time\nopen('now', 'w').write(str(os.getpid()))\nos.rename('now', 'importing')\ntime.sleep(3600)\n"
    )
    running.write("replaced_handlers.py", text)
    first: list[int] = []
    asking = threading.Thread(target=lambda: first.append(running.reload().returncode))
    asking.start()
    until(importing.exists, running.said)
    assert "taking over already" in running.reload().stderr
    running.write("replaced_handlers.py", HANDLERS)
    os.kill(int(importing.read_text()), signal.SIGKILL)
    asking.join()
    assert first == [1]


def test_a_handler_of_the_old_process_hears_that_its_broker_has_gone(tmp_path: Path) -> None:
    """Without a store nothing else could keep what it publishes."""
    file = FILE.replace(
        "routes:", '  devices: {protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}\nroutes:\n  mqtt: []'
    )
    running = Replaced(tmp_path, {"gateway.yaml": file, "replaced_handlers.py": PUBLISHING})
    answers: list[str] = []
    try:
        visitor = threading.Thread(target=lambda: answers.append(running.answer("late")))
        visitor.start()
        until((tmp_path / "asked").exists, running.said)
        said = running.reload()
        assert said.returncode == 0, said.stderr
        assert running.answer() == "sent"
        (tmp_path / "go").touch()
        visitor.join()
        assert answers == ["NotSent: mqtt devices is stopped"]
    finally:
        running.close()


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


def test_systemd_hears_which_process_is_the_daemon_and_keeps_its_sockets(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "gateway.yaml").write_text(FILE.replace("PORT", str(port)))
    (tmp_path / "replaced_handlers.py").write_text(HANDLERS)
    systemd = Systemd(tmp_path, WATCHDOG_USEC="60000000")
    try:
        systemd.start()
        processes = [_process(port)]
        for _ in range(2):
            said = run(tmp_path, "reload", "--code")
            assert said.returncode == 0, said.stderr
            processes.append(_process(port))
            assert not psutil.wait_procs(processes[-2:-1], 20)[1]
        until(lambda: systemd.hears(f"MAINPID={processes[2].pid}") and systemd.states[-1] == "READY=1", systemd.said)
        told = [f"MAINPID={processes[1].pid}", "READY=1", f"MAINPID={processes[2].pid}", "READY=1"]
        assert systemd.states == ["READY=1", *told]
        assert [each.getsockname()[1] for _, each in systemd.stored] == [port]
        processes[-1].terminate()
        assert not psutil.wait_procs(processes[-1:], 20)[1]
        until(lambda: systemd.hears("STOPPING=1"), systemd.said)
        assert len(systemd.states) == 6
    finally:
        systemd.close()
        for each in processes[1:]:
            if each.is_running():
                each.kill()


def _process(port: int) -> psutil.Process:
    """The process that answers."""
    return psutil.Process(int(httpx.get(f"http://127.0.0.1:{port}/pid", timeout=20).text))
