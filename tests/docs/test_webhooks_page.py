"""docs/webhooks.md, followed to the letter: its files, its command, and what an operator does with what fails."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.programs import program
from servers.site import ROOT, until
from test_snippets import snippets, write_files

PAGE = ROOT / "docs" / "webhooks.md"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    write_files(PAGE, tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(file.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{free_port()}"))
    daemon = Daemon(tmp_path)
    daemon.says("try:")
    yield daemon
    daemon.close()


def answer_to(daemon: Daemon, body: str = '{"number": 7}', key: str = "order-7", secret: str = "") -> str:
    """What the page's command prints, for another order, too."""
    command = next(each.text for each in snippets(PAGE) if each.language == "sh")
    address = re.search(r"127\.0\.0\.1:\d+", (daemon.folder / "gateway.yaml").read_text())
    assert address is not None
    command = (
        command.replace("dev-secret", secret or "dev-secret")
        .replace('{"number": 7}', body)
        .replace("order-7", key)
        .replace("127.0.0.1:8000", address[0])
    )
    program("openssl"), program("curl")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sends(daemon: Daemon, *order: str, secret: str = "") -> str:
    """The event id that the command prints."""
    return str(json.loads(answer_to(daemon, *order, secret=secret))["id"])


def dead(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(folder, "dead", "list", "--json").stdout)
    return found


def test_the_pages_order_is_handled_once_and_one_that_fails_is_a_dead_letter_that_can_be_read(
    daemon: Daemon, tmp_path: Path
) -> None:
    event = sends(daemon)
    until((tmp_path / "order-7").exists, lambda: daemon.text)
    assert sends(daemon) == event
    daemon.says("delivered again, answered as the first time")

    file = tmp_path / "gateway.yaml"
    file.write_text(file.read_text().replace("backoff: 1s", "backoff: 10ms"))
    assert run(tmp_path, "reload").returncode == 0
    failing = sends(daemon, '{"number": "8/a"}', "order-8")
    letter = until(lambda: found[0] if (found := dead(tmp_path)) else None, lambda: daemon.text)
    assert (letter["id"], letter["type"], letter["attempts"]) == (failing, "http", 3)
    assert letter["subject"] == "http POST /hooks/shop order-8"
    assert letter["error"] == "FileNotFoundError: [Errno 2] No such file or directory: 'order-8/a'"
    shown = run(tmp_path, "dead", "show", failing).stdout
    assert re.search(r"method +POST\n.*path +/hooks/shop\n", shown, re.DOTALL), shown
    assert "x-signature" not in shown.lower()
    assert "hooks.py" in shown, "the traceback"
    assert '{"number": "8/a"}' in run(tmp_path, "dead", "show", failing, "--content").stdout
    assert "among the dead letters after 3 attempts" in run(tmp_path, "show", failing).stdout

    (tmp_path / "order-8").mkdir()
    assert run(tmp_path, "dead", "retry", failing).stdout == "1 waits again\n"
    until((tmp_path / "order-8" / "a").exists, lambda: daemon.text)


def test_secrets_rotate_by_a_reload_and_no_request_is_refused_meanwhile(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    before = file.read_text()
    file.write_text(before.replace('"${SHOP_SECRET:-dev-secret}"', "[next-secret, dev-secret]"))
    assert run(tmp_path, "reload").returncode == 0
    assert sends(daemon)
    assert sends(daemon, secret="next-secret")
    file.write_text(before.replace("dev-secret", "next-secret"))
    assert run(tmp_path, "reload").returncode == 0
    assert sends(daemon, secret="next-secret")
    assert answer_to(daemon).startswith("The request was refused: its signature does not match")
    assert "next-secret" not in daemon.text
