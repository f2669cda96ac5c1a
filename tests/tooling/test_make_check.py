"""`make check` fails where something is out of its place: strays in a copy of the source, and what is said of each."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.site import ROOT

from gateway.scopes.installed import KINDS

LINT = Path(sys.executable).with_name("lint-imports")
STRAYS = {
    "gateway/stray.py": "",
    "protocols/mqtt/broker/stray.py": "",
    "protocols/secret.py": "import gateway.services",
    "gateway/cli/terminal.py": "import django",
    "gateway/runtime/health.py": "from gateway.store.sqlite import SQLiteStore",
    "gateway/scopes/sms/send.py": "from gateway.scopes.email import kind",
    "gateway/scopes/email/kind.py": "from gateway.scopes.http import client",
    "gateway/scopes/mqtt/patterns.py": "from gateway.scopes.mqtt import kind",
    "protocols/sms/providers/generic.py": "from protocols.sms.providers import twilio",
    "gateway/logs/escaping.py": "from gateway.logs import rate_limit",
    "gateway/logs/rate_limit.py": "from gateway.logs import escaping",
}
"""File -> the line at its end."""
BROKEN = [
    "protocols never imports gateway",
    "cli, compat -> workers -> sending, reload -> ",
    "logs: setup -> what it uses",
    "scope types -> kind",
    "MQTT broker: broker -> session",
    "one scope type: kind -> router",
    "only texts and WebSocket come over HTTP",
    "providers do not know each other",
    "an engine is used by the store alone",
    "only gateway.django imports Django",
    "no circles",
]
"""The contracts that break, by the beginnings of their names."""
MISPLACED = {
    "gateway/logs/of_one.py": 'def named(scope):\n    return scope["type"] == "mqtt"\n',
    "gateway/logs/of_all.py": '"""About mqtt."""\n"mqtt topic"\n"mqtt_inbox"\n',
    "gateway/consumers/one.py": '"mqtt.ack"\n',
    "gateway/scopes/mqtt/one.py": '"mqtt"\n',
    "gateway/logs/ignoring.py": "import os  # noqa: F401\nimport re  # noqa: F401 -- for others\n",
    "protocols/ignoring.py": "x: int = ''  # type: ignore[assignment]\ny: int = ''  # type: ignore[assignment]  # so\n",
    "tests/ignoring.py": "import os  # noqa: F401\nx: int = ''  # type: ignore[assignment]\n",
    "gateway/spare/__init__.py": "",
    "gateway/spare/one.py": "",
    "gateway/spare/other.py": "",
}


WRONG_TEST = """
from gateway.runtime.build import build, no_such  # wrong
from gateway.no_such import build as other  # wrong
from servers.no_such import Daemon  # wrong
from servers.site import until
from gateway import Policy

def test_it() -> None:
    until(lambda: Policy().no_such, "it is")  # wrong
    Policy(no_such=1)  # wrong
    build()  # wrong
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for each in ("gateway", "protocols"):
        shutil.copytree(ROOT / each, tmp_path / each, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    wide = os.environ | {"COLUMNS": "500"}
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, timeout=50, check=False)


def shape(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, str(ROOT / ".ci" / "shape.py"), "check")


def test_make_check_runs_them() -> None:
    done = run(ROOT, "make", "--no-print-directory", "-n", "check")
    commands = done.stdout.splitlines()
    for each in (
        "ruff check .",
        "mypy",
        "mypy --config-file tests/mypy.ini",
        "lint-imports",
        "python .ci/shape.py check",
    ):
        assert f".venv/bin/{each}" in commands


@pytest.mark.timeout(180)
def test_what_a_test_imports_and_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_stray.py").write_text(WRONG_TEST)
    command = [sys.executable, "-m", "mypy", "--config-file", "tests/mypy.ini", str(tmp_path / "test_stray.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    said = [line.partition(": error: ")[2] for line in done.stdout.splitlines() if ": error: " in line]
    assert len(said) == WRONG_TEST.count("# wrong"), done.stdout
    assert 'Module "gateway.runtime.build" has no attribute "no_such"' in said[0]


def test_imports_that_may_not_be_break_their_contract_and_no_other(copy: Path) -> None:
    for path, line in STRAYS.items():
        with (copy / path).open("a") as file:
            file.write(f"\n{line}\n")
    done = run(copy, str(LINT), "--no-cache")
    assert done.returncode == 1, done.stdout
    broken = [line for line in done.stdout.splitlines() if re.search(r" BROKEN\b", line)]
    assert [next((name for name in BROKEN if line.startswith(name)), line) for line in broken] == BROKEN
    assert "gateway.stray" in done.stdout
    assert "protocols.mqtt.broker.stray" in done.stdout


def test_what_is_misplaced_is_told_by_its_place(copy: Path) -> None:
    assert shape(copy).stderr == ""
    for path, text in MISPLACED.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text)
    done = shape(copy)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "gateway/logs/of_one.py:2: 'mqtt' is a scope type; only gateway/scopes, gateway/consumers, gateway/compat, "
        "gateway/testing may name one",
        "gateway/logs/ignoring.py:1: noqa: F401 has no reason; write it behind, after -- or #",
        "protocols/ignoring.py:1: type: ignore[assignment] has no reason; write it behind, after -- or #",
        "tests/ignoring.py:1: noqa: F401 has no reason; write it behind, after -- or #",
        "gateway/spare: no layers in pyproject.toml; add a contract with exhaustive = true",
    ]


@pytest.mark.parametrize("name", KINDS)
def test_every_scope_type_is_known_to_the_check(name: str, copy: Path) -> None:
    (copy / "gateway/logs/of_one.py").write_text(f"{name!r}\n")
    assert shape(copy).stderr.startswith(f"gateway/logs/of_one.py:1: {name!r} is a scope type")
