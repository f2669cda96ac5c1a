"""``gateway password``, in its own process: at a terminal, and in a pipe."""

import subprocess
import sys

import pytest
from servers.command import LIMIT, Terminal
from servers.site import ROOT

from protocols.access.users import check_users, verify
from protocols.secret import Secret

COMMAND = [sys.executable, "-m", "gateway", "password"]


def piped(data: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *options], input=data, capture_output=True, cwd=ROOT, timeout=LIMIT, check=False)


def test_at_a_terminal_it_asks_twice_and_shows_nothing() -> None:
    terminal = Terminal(COMMAND)
    terminal.answer(b"Password: ", b"hunter2")
    terminal.answer(b"Again: ", b"hunter3")
    terminal.answer(b"Password: ", b"hunter2")
    terminal.answer(b"Again: ", b"hunter2")
    hashed = terminal.result()
    assert terminal.process.returncode == 0
    assert verify({"ann": Secret(hashed)}, "ann", b"hunter2")
    assert b"hunter" not in terminal.shown


@pytest.mark.parametrize("data", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_in_a_pipe_it_reads_one_line(data: bytes) -> None:
    done = piped(data)
    users = {"ann": Secret(done.stdout.decode().strip())}
    check_users(users)
    assert verify(users, "ann", b"hunter2")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_bcrypt() -> None:
    hashed = piped("Öl".encode(), "--bcrypt").stdout.decode().strip()
    assert hashed.startswith("$2b$")
    assert verify({"ann": Secret(hashed)}, "ann", "Öl".encode())


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (b"", (), b"the password is empty"),
        (b"\n", (), b"the password is empty"),
        (b"a\nb\n", (), b"the password must be one line"),
        (b"x" * 80_000, (), b"the password is longer than MQTT's 65,535 bytes"),
        (b"x" * 73, ("--bcrypt",), b"bcrypt takes 72 bytes"),
    ],
)
def test_what_is_no_password(data: bytes, options: tuple[str, ...], words: bytes) -> None:
    done = piped(data, *options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(words)
    assert done.stderr.count(b"\n") == 1


def test_help_has_the_yaml_to_paste() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=LIMIT, check=True)
    assert 'ann: "$argon2id$' in done.stdout
    assert "password_file:" in done.stdout
