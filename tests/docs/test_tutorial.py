"""The tutorials, done as a newcomer does them: a wheel is installed, their files are written, their commands run, and
what they say is printed is what is printed (``…`` stands for anything)."""

import contextlib
import json
import os
import re
import signal
import smtplib
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers.installation import build_wheel, install
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE, until
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLED = re.compile(r"^pip install \"?(~|\$HOME)/asgi-gateway(?P<extras>\[.+\])?\"?(?P<more>.*)$", re.MULTILINE)
FILE = re.compile(r"# (?P<name>[\w.]+)(?P<more>, continued)?\n")
PORTS = ("8000", "1883", "8025")
CULPRITS = {"tutorial.md": "house.py", "tutorial-mqtt.md": "readings.py", "tutorial-email.md": "desk.py"}
"""The file that fails in each tutorial."""
PAGES = [*CULPRITS, "fastapi.md"]
LOOKS = ("gateway dead list", "gateway send websocket")
"""Commands that only look, at what may still be on its way there."""


class Newcomer:
    """Somebody with an empty folder and two terminals."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.log = folder / "terminal.log"
        self.daemon: subprocess.Popen[bytes] | None = None
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "COLUMNS": "200", "NO_COLOR": "1"}
        for ours in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
            self.environment.pop(ours, None)

    def write(self, text: str) -> None:
        named = FILE.match(text)
        assert named, f"which file is this?\n{text}"
        with (self.folder / named["name"]).open("a" if named["more"] else "w") as file:
            file.write(text)

    def type(self, command: str) -> str:
        """What the terminal shows for ``command``."""
        if command == "gateway run":
            return self.start()
        shell = ["sh", "-c", command]
        done = subprocess.run(
            shell, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout + done.stderr

    def start(self) -> str:
        self.stop()
        with self.log.open("wb") as log:
            self.daemon = subprocess.Popen(
                ["gateway", "run"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        return until(self.started, "the daemon has started")

    def started(self) -> str:
        """The start page, when it is complete."""
        said = self.log.read_text()
        assert self.daemon is not None
        assert self.daemon.poll() is None, said
        return said if re.search(r"^try: ", said, re.MULTILINE) else ""

    def stop(self) -> None:
        """Ctrl+C."""
        if self.daemon is None:
            return
        self.daemon.send_signal(signal.SIGINT)
        try:
            assert self.daemon.wait(PATIENCE) == 0, self.log.read_text()
        finally:
            self.daemon.kill()
            self.daemon = None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all pages: what they install differs by one package, and the rest takes 10 s of CPU."""
    return tmp_path_factory.mktemp("venv")


@pytest.fixture(scope="module")
def programs(page: str, wheel: Path, environment: Path) -> Path:
    """The folder of what is installed by what the page says, beside what the pages before it have said."""
    said = INSTALLED.search((ROOT / "docs" / page).read_text())
    assert said, f"{page} says what to install"
    return install(environment, f"{wheel}{said['extras'] or ''}", *said["more"].split())


@pytest.fixture
def newcomer(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newcomer]:
    newcomer = Newcomer(tmp_path, programs)
    monkeypatch.setenv("PATH", newcomer.environment["PATH"])
    yield newcomer
    newcomer.stop()


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def pattern(line: str) -> str:
    """A shown line, with ``…`` for anything and columns as wide as they come out (addresses differ in length)."""
    words = " ".join(line.split())
    return ".*".join(re.escape(part) for part in words.split("…"))


def missing(shown: list[str], output: str) -> list[str]:
    """Of the lines that are shown, those that ``output`` has not."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    return [line for line in shown if not any(re.fullmatch(pattern(line), said) for said in lines)]


def follow(newcomer: Newcomer, command: str, shown: list[str]) -> None:
    output = newcomer.type(command)
    if command.startswith(LOOKS):
        until(lambda: not missing(shown, newcomer.type(command)), lambda: f"$ {command}\n{newcomer.type(command)}")
    else:
        assert not missing(shown, output), f"$ {command}\n{missing(shown, output)}\n--\n{output}"


@pytest.mark.timeout(240)
def test_the_tutorial(newcomer: Newcomer, page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    if "$ mosquitto_pub" in text:
        program("mosquitto_pub")
    for port in PORTS:
        text = text.replace(port, str(free_port()))
    for block in BLOCK.finditer(text):
        if block["language"] in ("python", "yaml"):
            newcomer.write(block["text"])
        elif block["language"] == "console":
            for command, shown in commands(block["text"]):
                follow(newcomer, command, shown)
    assert CULPRITS.get(page, "") in newcomer.log.read_text(), "the handler's crash names the line that failed"
    if page == "fastapi.md":
        a_browser_hears_of_a_reading(newcomer, re.findall(r"127\.0\.0\.1:(\d+)", text)[0])


def a_browser_hears_of_a_reading(newcomer: Newcomer, port: str) -> None:
    for _ in range(2):  # the second time after one has left
        with connect(f"ws://127.0.0.1:{port}/live") as browser:
            newcomer.type("gateway send mqtt sensors/attic/temperature 31")
            assert json.loads(browser.recv(timeout=PATIENCE)) == {"room": "attic", "celsius": 31.0}


@pytest.mark.parametrize("page", ["tutorial-email.md"], indirect=True, scope="module")
def test_mails_at_the_same_time_get_tickets_of_their_own(newcomer: Newcomer) -> None:
    """The tutorial's handler runs on several threads: two customers must not share a ticket."""
    port = free_port()
    for block in BLOCK.finditer((ROOT / "docs" / "tutorial-email.md").read_text().replace("8025", str(port))):
        if block["language"] in ("python", "yaml"):
            newcomer.write(block["text"])
    newcomer.start()

    def write(number: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
            client.sendmail(f"c{number}@example.net", "help@example.org", f"From: c{number}@example.net\n\nHelp")

    with ThreadPoolExecutor(8) as customers:
        list(customers.map(write, range(60)))
    with contextlib.closing(sqlite3.connect(newcomer.folder / "tickets.db")) as tickets:
        assert tickets.execute("SELECT count(DISTINCT ticket) FROM mails").fetchone() == (60,)
