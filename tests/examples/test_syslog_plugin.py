"""A scope type from a distribution of its own: built, installed, and run as a daemon; `logger` is the real peer."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.ports import free_port

ROOT = Path(__file__).parents[2]
FILE = """
servers:
  logs: {{protocol: syslog, bind: "127.0.0.1:{port}"}}
routes:
  syslog:
    - {{app_name: broken, app: syslog_handlers.Broken, inbox: true, attempts: 1}}
    - {{app_name: slow, app: syslog_handlers.Slow, inbox: true, attempts: 5}}
    - {{app_name: brief, app: syslog_handlers.Brief}}
    - {{severity: err, app: syslog_handlers.Errors, inbox: true, attempts: 5}}
    - {{default: true, app: syslog_handlers.Rest, inbox: true, attempts: 5}}
"""
HANDLERS = """
import pathlib, time
from gateway_syslog import AsyncSyslogConsumer, SyslogConsumer

def write(line):
    with open("handled", "a") as file:
        file.write(line + "\\n")

class Rest(SyslogConsumer):
    def receive(self, text):
        write(f"rest {self.scope['app_name']}: {text}")

class Errors(AsyncSyslogConsumer):
    async def receive(self, text):
        write(f"error {self.scope['facility']}: {text}")

class Broken(SyslogConsumer):
    def receive(self, text):
        raise RuntimeError("broken on purpose")

class Slow(SyslogConsumer):
    def receive(self, text):
        if not pathlib.Path("killed").exists():
            write("started")
            time.sleep(60)
        write(f"slow: {text}")

class Brief(SyslogConsumer):
    def receive(self, text):
        write("begun")
        time.sleep(1.5)
        write(f"brief: {text}")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin, installed from its wheel, with nothing from an index."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(ROOT / "examples/plugins/syslog", folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel_of = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder / "wheels"]
    subprocess.run([*wheel_of, source], check=True)
    [wheel] = (folder / "wheels").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    return folder / "site"


class Site:
    """A folder with a gateway.yaml, and the command in it."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.environ = os.environ | {"PYTHONPATH": f"{path}:{ROOT}", "GATEWAY_CONFIG": "gateway.yaml"}
        (folder / "gateway.yaml").write_text(FILE.format(port=self.port))
        (folder / "syslog_handlers.py").write_text(HANDLERS)

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "gateway", "run"]
            daemon = subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=log, stderr=log)
        self.daemons.append(daemon)
        until(self.answers)

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def log(self, *words: str) -> None:
        """Say something with util-linux's logger."""
        command = ["logger", "--rfc5424", "-n", "127.0.0.1", "-P", str(self.port), *words]
        subprocess.run(command, check=True)

    @property
    def handled(self) -> list[str]:
        file = self.folder / "handled"
        return file.read_text().splitlines() if file.exists() else []


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path, installed: Path) -> Iterator[Site]:
    site = Site(tmp_path, installed)
    site.start()
    yield site
    for daemon in site.daemons:
        daemon.kill()
        daemon.wait()


@pytest.mark.timeout(180)
def test_a_plugin_has_everything_that_ours_have(site: Site) -> None:
    assert "1 server, 5 routes, valid" in site.run("check")
    assert "app_name broken" in site.run("explain", "syslog:broken")
    assert '"syslog"' in site.run("schema")
    site.log("-d", "-t", "root", "over UDP")
    site.log("-T", "-t", "root", "over TCP")
    site.log("-T", "--octet-count", "-t", "root", "counted")
    site.log("-T", "-t", "root", "-p", "auth.crit", "trouble")
    site.run("send", "syslog", "by hand")
    expected = {"rest root: over UDP", "rest root: over TCP", "rest root: counted", "error auth: trouble"}
    until(lambda: expected | {"rest gateway-send: by hand"} <= set(site.handled))
    assert "try:" in (site.folder / "log").read_text()
    site.log("-T", "-t", "broken", "poison")
    until(lambda: json.loads(site.run("dead", "list", "--json")) != [])
    listed = site.run("dead", "list", "--type", "syslog")
    assert "broken.user.notice" not in listed
    assert "syslog" in listed
    assert "broken on purpose" in listed


@pytest.mark.timeout(180)
def test_kill_9_between_storing_and_handling_loses_nothing(site: Site) -> None:
    site.log("-T", "-t", "slow", "survives")
    until(lambda: site.handled == ["started"])
    [daemon] = site.daemons
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    (site.folder / "killed").touch()
    site.start()
    until(lambda: site.handled == ["started", "slow: survives"])


@pytest.mark.timeout(180)
def test_a_stop_waits_for_what_is_being_handled(site: Site) -> None:
    site.log("-T", "-t", "brief", "finished")
    until(lambda: site.handled == ["begun"])
    [daemon] = site.daemons
    daemon.terminate()
    assert daemon.wait(30) == 0
    assert site.handled == ["begun", "brief: finished"]
    assert "0 lost" in (site.folder / "log").read_text()


def test_a_plugin_that_fails_is_one_sentence_and_the_others_work(tmp_path: Path) -> None:
    metadata = tmp_path / "site/bad-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[asgi_gateway.scopes]\nbad = no_such_module:KIND\n")
    site = Site(tmp_path, tmp_path / "site")
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: http}}\napplication: json.dumps\n")
    said = site.run("check")
    assert "the scope type 'bad' of bad 1 cannot be used: ModuleNotFoundError: No module named 'no_such_module'" in said
    assert "valid" in said
    assert "cannot be used" not in site.run("schema")
