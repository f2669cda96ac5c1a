"""Row 18: what a start costs, in CPU seconds and memory: of `--version`, of one HTTP handler, of the example site.

Each process is killed as soon as it has answered, so that its end is not counted. Ours and uvicorn's are started in
turns. The example site runs HTTP, WebSocket, MQTT, SMTP and SMS in our process, and Django's views alone in uvicorn's:
the same project, set up and asked in the same way. With --shares it says which imports the example's time goes to.
"""

import argparse
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.side_by_side import free_port, python

ROOT = Path(__file__).parents[1]
UVICORN = ("uvicorn", "--loop=uvloop", "--http=httptools", "--log-level=warning", "--lifespan=off")
HANDLER = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""
VIEWS = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "helpdesk.settings"
from gateway.django import application, setup
setup("helpdesk.settings")
app = application()
"""


class Cost(NamedTuple):
    cpu: float
    """Seconds."""
    memory: float
    """MiB, at the peak."""


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed package is compiled."""

Start = Callable[[], Cost]


def ended(*command: str) -> Cost:
    """Run ``command`` to its end."""
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        return _cost(process)


def answering(command: Sequence[str], folder: Path, port: int, path: str, *, reports: bool = False) -> Cost:
    """Run ``command`` until it answers ``path``. ``reports``: then let it print what it reports."""
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "examples/site"), str(ROOT)])}
    environment["SITE_VAR"] = str(folder / "data")
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=None if reports else subprocess.DEVNULL
    ) as process:
        while not _answers(f"http://127.0.0.1:{port}{path}"):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.01)
        process.send_signal(signal.SIGUSR2 if reports else signal.SIGKILL)
        return _cost(process)


def _answers(url: str) -> bool:
    with suppress(URLError, OSError):
        return bool(urlopen(url, timeout=5).read())
    return False


def _cost(process: "subprocess.Popen[bytes]") -> Cost:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def peers(folder: Path, module: Sequence[str] = ("-m",)) -> dict[str, tuple[Start, Start]]:
    """Return, by the name of what is started, how the gateway and how uvicorn start it: as ``module`` runs a module."""
    reports = len(module) > 1
    ours, theirs, handler = free_port(), free_port(), folder / "handler"
    handler.mkdir()
    (handler / "hello.py").write_text(HANDLER)
    (handler / "gateway.yaml").write_text(
        f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{ours}'}}}}\nroutes: {{http: hello.app}}\n"
    )
    site = folder / "site"
    (site / "data").mkdir(parents=True)
    (site / "views.py").write_text(VIEWS)
    example = (ROOT / "gateway.yaml.example").read_text().replace("path: examples/site", f"path: {ROOT}/examples/site")
    example = example.replace(":8000", f":{ours}").replace(":1883", ":0").replace(":8025", ":0")
    (site / "gateway.yaml").write_text(example)

    def run(where: Path, path: str) -> Start:
        return lambda: answering(python(*module, "gateway", "run"), where, ours, path, reports=reports)

    def uvicorn(app: str, where: Path, path: str) -> Start:
        return lambda: answering(
            python(*module, *UVICORN, f"--port={theirs}", app), where, theirs, path, reports=reports
        )

    return {
        "--version": (
            lambda: ended(*python("-m", "gateway", "--version")),
            lambda: ended(*python("-m", "uvicorn", "--version")),
        ),
        "one HTTP handler": (run(handler, "/"), uvicorn("hello:app", handler, "/")),
        "the example site": (run(site, "/"), uvicorn("views:app", site, "/")),
    }


def measure(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for what, (ours, theirs) in peers(Path(folder)).items():
            ours(), theirs()  # compiles what has not been compiled
            costs = [(ours(), theirs()) for _ in range(rounds)]
            mine, other = [Cost(*map(statistics.median, zip(*each, strict=True))) for each in zip(*costs, strict=True)]
            print(
                f"{what:<20} CPU {mine.cpu:.3f} s, uvicorn {other.cpu:.3f} s, ratio {mine.cpu / other.cpu:.2f};"
                f"  memory {mine.memory:.0f} MiB, {other.memory:.0f} MiB, ratio {mine.memory / other.memory:.2f}",
                flush=True,
            )


def shares() -> None:
    """Print which imports the start of the example goes to, ours first."""
    profiled = ("-m", "benchmarks.import_shares")
    with tempfile.TemporaryDirectory() as folder:
        for name, start in zip(("gateway", "uvicorn"), peers(Path(folder), profiled)["the example site"], strict=True):
            print(f"{name}: ", end="", flush=True)
            start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 15")
    parser.add_argument("--shares", action="store_true", help="which imports the time goes to, and nothing else")
    arguments = parser.parse_args()
    shares() if arguments.shares else measure(5 if arguments.quick else 15)
