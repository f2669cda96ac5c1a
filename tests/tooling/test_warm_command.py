"""The copies that `servers.command.run` starts are the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers.command import run
from servers.site import ROOT
from servers.warm_command import warm

FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:0"}}
routes: {http: handlers_beside_the_file.app}
store: "sqlite:${FOLDER}/gateway.db"
"""
ENDLESS = "while True: pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text(FILE)
    (tmp_path / "handlers_beside_the_file.py").write_text("async def app(scope, receive, send): ...\n")
    return tmp_path


@pytest.mark.parametrize("arguments", [("--version",), ("check",), ("dead", "list"), ("dead", "show", "7f"), ("nix",)])
@pytest.mark.parametrize("environment", [{}, {"FOLDER": "kept"}])
def test_a_copy_prints_and_answers_what_the_command_does(
    folder: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    environ = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"} | environment
    command = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=40)
    copied = run(folder, *arguments, **environment)
    assert (copied.returncode, copied.stdout, copied.stderr) == (done.returncode, done.stdout, done.stderr)


def test_a_copy_that_does_not_end_is_killed(folder: Path) -> None:
    (folder / "handlers_beside_the_file.py").write_text(
        f"import os\nopen('pid', 'w').write(str(os.getpid()))\n{ENDLESS}"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT), "FOLDER": "kept"}
    with pytest.raises(subprocess.TimeoutExpired):
        warm(ROOT).run(folder, ("-m", "gateway", "check"), environ, 1.5)
    assert not Path("/proc", (folder / "pid").read_text()).exists()
