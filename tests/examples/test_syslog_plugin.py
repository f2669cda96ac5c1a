"""A scope type from a distribution of its own: built, installed, and run as a daemon; `logger` is the real peer."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.command import run
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE, ROOT, until

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
console: {{bind: "127.0.0.1:{console}"}}
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
    subprocess.run([*wheel_of, source], check=True, timeout=PATIENCE)
    [wheel] = (folder / "wheels").glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True, timeout=120
    )
    return folder / "site"


class Site(GatewayProcess):
    """A gateway with the plugin that lies in ``path``."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.path = f"{path}:{ROOT}"
        self.port, self.console = free_port(), free_port()
        file = FILE.format(port=self.port, console=self.console)
        super().__init__(folder, "syslog_handlers", HANDLERS, file, PYTHONPATH=self.path)

    def run(self, *command: str, code: int = 0) -> str:
        done = run(self.folder, *command, PYTHONPATH=self.path)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self) -> None:
        super().start()
        until(self.answers, self.output)

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def log(self, *words: str) -> None:
        """Say something with util-linux's logger."""
        command = [program("logger"), "--rfc5424", "-n", "127.0.0.1", "-P", str(self.port), *words]
        subprocess.run(command, check=True, timeout=PATIENCE)

    def accepted(self) -> float:
        """How many messages have been accepted, as Prometheus hears it."""
        text = httpx.get(f"http://127.0.0.1:{self.console}/metrics", timeout=PATIENCE).text
        of_plugin = 'server="logs",type="syslog",verdict="accepted"'
        return sum(float(line.split()[-1]) for line in text.splitlines() if of_plugin in line)

    @property
    def handled(self) -> list[str]:
        file = self.folder / "handled"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def site(tmp_path: Path, installed: Path) -> Iterator[Site]:
    program("logger")
    site = Site(tmp_path, installed)
    try:
        site.start()
        yield site
    finally:
        site.stop(signal.SIGKILL)


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
    until(
        lambda: expected | {"rest gateway-send: by hand"} <= set(site.handled),
        lambda: f"all are handled: {site.handled}",
    )
    assert "try:" in site.output()
    site.log("-T", "-t", "broken", "poison")
    until(lambda: json.loads(site.run("dead", "list", "--json")) != [], site.output)
    listed = site.run("dead", "list", "--type", "syslog")
    assert "broken.user.notice" not in listed
    assert "syslog" in listed
    assert "broken on purpose" in listed
    until(lambda: site.accepted() == 6, lambda: str(site.accepted()))


@pytest.mark.timeout(180)
def test_a_plugin_can_be_imported_before_the_gateway(tmp_path: Path, installed: Path) -> None:
    """The list of scope types is loaded when it is first asked for, and not with ``gateway``."""
    code = (
        "import sys, gateway_syslog.kind; assert 'gateway.scopes.installed' not in sys.modules; "
        "from gateway import ProtocolTypeRouter; print(ProtocolTypeRouter({'syslog': print}).routes[0].label)"
    )
    path = f"{installed}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "syslog -> builtins.print\n", done.stderr


def test_kill_9_between_storing_and_handling_loses_nothing(site: Site) -> None:
    site.log("-T", "-t", "slow", "survives")
    until(lambda: site.handled == ["started"], site.output)
    site.stop(signal.SIGKILL)
    (site.folder / "killed").touch()
    site.start()
    until(lambda: site.handled == ["started", "slow: survives"], site.output)


@pytest.mark.timeout(180)
def test_a_stop_waits_for_what_is_being_handled(site: Site) -> None:
    site.log("-T", "-t", "brief", "finished")
    until(lambda: site.handled == ["begun"], site.output)
    assert site.stop(signal.SIGTERM) == 0
    assert site.handled == ["begun", "brief: finished"]
    assert "0 lost" in site.output()


PAGE = (ROOT / "docs/extending.md").read_text()
SNIPPETS = re.findall(r"```(?:python|yaml|toml)\n(?:# (\S+)\n)?(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_package_as_it_is() -> None:
    package = ROOT / "examples/plugins/syslog"
    shown = [(name or "pyproject.toml", text) for name, text in SNIPPETS]
    sources = {name: (package / name).read_text() for name, _ in shown if (package / name).exists()}
    assert {"pyproject.toml", *(f"gateway_syslog/{each}.py" for each in ("events", "server", "consumer", "kind"))} == {
        *sources
    }
    for name, text in shown:
        for part in text.split("\n\n") if name in sources else ():
            assert f"{part.rstrip()}\n" in sources[name], part


def test_what_the_page_tells_to_write_is_right(tmp_path: Path, installed: Path) -> None:
    site = Site(tmp_path, installed)
    for name, text in SNIPPETS:
        if name in ("gateway.yaml", "handlers.py"):
            (tmp_path / name).write_text(text)
    assert "1 server, 1 route, valid" in site.run("check")


def site_with_bad_plugin(folder: Path) -> Site:
    """It names a module ``bad``."""
    metadata = folder / "site/bad-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[asgi_gateway.scopes]\nbad = bad:KIND\n")
    return Site(folder, folder / "site")


def test_ctrl_c_while_a_plugin_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    site = site_with_bad_plugin(tmp_path)
    (tmp_path / "site/bad.py").write_text("raise KeyboardInterrupt\n")
    assert site.run("check", code=130) == "interrupted while the scope type 'bad' was loaded from bad:KIND\n"


def test_a_plugin_that_fails_is_one_sentence_and_the_others_work(tmp_path: Path) -> None:
    site = site_with_bad_plugin(tmp_path)
    (tmp_path / "plain.py").write_text("async def app(scope, receive, send): ...")
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: http}}\napplication: plain.app\n")
    said = site.run("check")
    assert "the scope type 'bad' of bad 1 cannot be used: ModuleNotFoundError: No module named 'bad'" in said
    assert "valid" in said
    assert "cannot be used" not in site.run("schema")
    assert "of bad 1 cannot be used" in site.run("send", "bad", code=2)
