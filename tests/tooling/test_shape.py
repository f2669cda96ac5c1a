"""`make shape`, and the part of it that `make check` enforces."""

import subprocess
import sys
from pathlib import Path

from servers.site import ROOT


def shape(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci" / "shape.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def test_a_scope_type_may_be_named_in_its_folder_and_by_consumers_only(tmp_path: Path) -> None:
    for name, text in {
        "scopes/mqtt.py": '"mqtt"',
        "consumers/mqtt.py": '"mqtt.ack"',
        "logs/of_all.py": '"""About mqtt."""\n"mqtt topic"\n"mqtt_inbox"',
    }.items():
        path = tmp_path / "gateway" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert shape(tmp_path, "check").returncode == 0
    (tmp_path / "gateway" / "logs" / "of_one.py").write_text('def named(scope):\n    return scope["type"] == "mqtt"\n')
    done = shape(tmp_path, "check")
    assert done.returncode == 1
    assert done.stderr.startswith("gateway/logs/of_one.py:2: 'mqtt'\n")


def test_the_figures_are_printed() -> None:
    done = shape(ROOT)
    assert done.returncode == 0, done.stderr
    for each in ("Files: ", "Functions: ", "Scope types named outside ", "Ignored in gateway, protocols: "):
        assert f"\n{each}" in f"\n{done.stdout}"
