"""`gateway init`: what it asks, what it refuses, and that it changes nothing that is there."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from servers.command import Terminal, run
from servers.new_project import make

from gateway.init import django_project, template, writing
from gateway.init.ports import with_free_ports


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_is_the_default_and_the_next_command_can_be_copied(folder: Path) -> None:
    done = run(folder, "init", "house", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("template all: 6 files\n  house/.gitignore\n  house/README.md\n")
    assert done.stdout.endswith("next:  gateway -c house/gateway.yaml run --try\n")
    done = run(folder, "-c", "house/gateway.yaml", "check")
    assert done.returncode == 0, done.stderr


def test_nothing_is_overwritten(folder: Path) -> None:
    (folder / "handlers.py").write_text("mine")
    done = make("--template", "mqtt")
    assert (done.exit_code, done.stderr) == (1, ". has handlers.py already; nothing was written\n")
    assert [path.name for path in folder.iterdir()] == ["handlers.py"]
    assert (folder / "handlers.py").read_text() == "mine"


def test_a_project_keeps_its_own_readme(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    assert "README.md is yours and stays as it is" in make("--template", "mqtt").stdout
    assert (folder / "README.md").read_text() == "mine"
    assert (folder / "handlers.py").exists()


def test_a_link_that_leads_nowhere_is_not_followed(folder: Path) -> None:
    (folder / "handlers.py").symlink_to(folder / "elsewhere.py")
    assert make("--template", "mqtt").exit_code == 1
    assert not (folder / "elsewhere.py").exists()


def test_all_files_or_none(folder: Path) -> None:
    plan = writing.plan(folder, {"a": "a", "b/c": "there is no folder b"})
    with pytest.raises(OSError, match="b/c"):
        writing.write(plan)
    assert list(folder.iterdir()) == []


def test_a_file_where_a_folder_is_meant(folder: Path) -> None:
    (folder / "house").touch()
    done = make("house")
    assert (done.exit_code, done.stderr) == (1, "house: File exists; nothing was written\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--template", "mail2"], "there is no template 'mail2'; did you mean 'mail'?"),
        (["--template", "ftp"], "there are all, django, mail, mqtt, sms, web"),
        (["--django", "manage.py", "elsewhere"], "write --django MANAGE.PY alone"),
        (["--django", "manage.py", "--template", "mqtt"], "write --django MANAGE.PY alone"),
        (["--django", "manage.py"], "manage.py: No such file or directory; nothing was written"),
    ],
)
def test_mistakes(arguments: list[str], said: str, folder: Path) -> None:
    done = make(*arguments)
    assert done.exit_code != 0
    assert said in done.stderr
    assert list(folder.iterdir()) == []


def test_the_help_names_every_template() -> None:
    assert "all (default), django, mail, mqtt, sms or web" in make("--help").stdout
    assert template.names() == ["all", "django", "mail", "mqtt", "sms", "web"]


def test_a_port_in_use_is_replaced_everywhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        files, changed = with_free_ports(
            {"gateway.yaml": f"bind: 127.0.0.1:{port}", "README": f"http://127.0.0.1:{port}/"}
        )
    assert changed[port] > port
    assert files == {"gateway.yaml": f"bind: 127.0.0.1:{changed[port]}", "README": f"http://127.0.0.1:{changed[port]}/"}


def start_project(folder: Path, name: str) -> None:
    """Make a project as Django's users do."""
    command = [sys.executable, "-m", "django", "startproject", name, "."]
    subprocess.run(command, cwd=folder, check=True, timeout=40)


@pytest.mark.parametrize("arguments", [["--django", "manage.py"], []], ids=["named", "found"])
def test_a_django_project_that_exists(arguments: list[str], folder: Path) -> None:
    start_project(folder, "shop")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = make(*arguments)
    assert done.exit_code == 0, done.stderr
    assert "django: {settings: shop.settings}" in (folder / "gateway.yaml").read_text()
    assert {path: path.read_bytes() for path in before} == before
    checked = run(folder, "check")
    assert checked.returncode == 0, checked.stderr


def test_django_does_not_overwrite_either(folder: Path) -> None:
    (folder / "mysite").mkdir()
    (folder / "manage.py").write_text("mine")
    done = make("--template", "django")
    assert done.exit_code == 1
    assert "CommandError" in done.stderr
    assert (folder / "manage.py").read_text() == "mine"
    assert not (folder / "gateway.yaml").exists()


def test_a_manage_py_without_a_settings_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "manage.py").write_text("print('hello')\n")
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    with pytest.raises(template.NoProject, match="set DJANGO_SETTINGS_MODULE"):
        django_project.settings_of(folder / "manage.py")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    assert django_project.settings_of(folder / "manage.py") == "shop.settings"


def test_at_a_terminal_it_asks(folder: Path) -> None:
    terminal = Terminal([sys.executable, "-m", "gateway", "init"], folder)
    terminal.answer(b"[all]:", b"mqtt")
    assert terminal.result().startswith("template mqtt: 5 files")
