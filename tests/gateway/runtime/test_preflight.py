"""`gateway check` finds what `gateway run` could not start with, and leaves no trace of having looked."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.ports import free_port
from servers.site import ROOT, until

HANDLERS = """
from gateway import EmailConsumer


class Desk(EmailConsumer):
    def receive(self, message):
        pass
"""
FILE = """
store: sqlite:{store}
servers:
  mail: {{protocol: smtp, bind: "{bind}"}}
routes: {{email: {{app: checked_handlers.Desk, inbox: true}}}}
submission: {{url: "file:{outbox}"}}
console: {{bind: "{console}"}}
"""


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "checked_handlers.py").write_text(HANDLERS)
        self.write()

    def write(self, **parts: str) -> None:
        usual = {"store": "var/gateway.db", "bind": "127.0.0.1:0", "outbox": "out/box", "console": "127.0.0.1:0"}
        (self.path / "gateway.yaml").write_text(FILE.format(**(usual | parts)))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "gateway", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def names(self) -> set[str]:
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_what_is_right_leaves_no_trace(folder: Folder) -> None:
    before = folder.names
    done = folder.run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert folder.names == before


WRONG = {
    "a file where the store's folder is to be": (
        {"store": "checked_handlers.py/gateway.db"},
        "2:8: error: store: no file can be made in {folder}/checked_handlers.py: Not a directory; name another folder",
    ),
    "a folder where the store is to be": ({"store": "taken/gateway.db"}, "2:8: error: store: taken/gateway.db: Is a"),
    "a file where the outbox is to be": (
        {"outbox": "checked_handlers.py/box"},
        "6:19: error: submission.url: no file can be made in {folder}/checked_handlers.py: Not a directory; ",
    ),
    "an address of another machine": (
        {"bind": "192.0.2.1:2525"},
        "4:32: error: servers.mail: 192.0.2.1:2525: this machine has no such address",
    ),
    "a name that nobody knows": ({"bind": "nobody.invalid:2525"}, "4:32: error: servers.mail: nobody.invalid:2525: "),
    "a socket in a folder that is not there": (
        {"bind": "unix:nowhere/mail"},
        "4:32: error: servers.mail: unix:nowhere/mail: No such file",
    ),
    "a file where a socket is to be": (
        {"bind": "unix:checked_handlers.py"},
        "4:32: error: servers.mail: unix:checked_handlers.py: a file of this name exists, and it is not a socket",
    ),
    "a file system that takes no files": (
        {"store": "/proc/gateway.db"},
        "2:8: error: store: no file can be made in /proc: ",
    ),
    "a link to a folder that is not there": (
        {"store": "link.db"},
        "2:8: error: store: no file can be made in {folder}/nowhere: No such",
    ),
    "a socket with a path that is too long": (
        {"bind": f"unix:{'a' * 108}"},
        f"4:32: error: servers.mail: unix:{'a' * 108}: a socket's path has 107 bytes at most",
    ),
    "the console too": (
        {"console": f'192.0.2.1:9000", users: {{ann: "$2b$04${"a" * 53}"}}, session: "1h'},
        "7:17: error: console: 192.0.2.1:9000: this machine has no such address",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_machine_does_not_give(folder: Folder, case: str) -> None:
    parts, said = WRONG[case]
    (folder.path / "taken" / "gateway.db").mkdir(parents=True)
    (folder.path / "link.db").symlink_to("nowhere/gateway.db")
    folder.write(**parts)
    before = folder.names
    done = folder.run("check")
    assert done.returncode == 3
    assert f"gateway.yaml:{said.format(folder=folder.path.resolve())}" in done.stderr
    assert done.stderr.endswith("1 error. Nothing was started.\n")
    assert folder.names == before


def test_a_store_of_a_later_release(folder: Folder) -> None:
    (folder.path / "var").mkdir()
    with contextlib.closing(sqlite3.connect(folder.path / "var" / "gateway.db")) as later:
        later.execute("PRAGMA user_version = 1000")
    done = folder.run("check")
    assert done.returncode == 3
    assert "gateway.yaml:2:8: error: store: var/gateway.db: it has version 1000 and this release knows " in done.stderr


def test_run_says_it_in_the_same_words(folder: Folder) -> None:
    folder.write(bind="192.0.2.1:2525")
    run = folder.run("run")
    assert (run.returncode, run.stdout, run.stderr) == (3, "", folder.run("check").stderr)


def test_all_at_once_and_for_programs(folder: Folder) -> None:
    folder.write(store="checked_handlers.py/gateway.db", bind="192.0.2.1:2525")
    done = folder.run("check", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["valid"]) == (3, False)
    assert [diagnostic["line"] for diagnostic in found["diagnostics"]] == [2, 4]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_what_another_user_owns(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.config.loader import load
    from gateway.runtime import preflight

    (folder.path / "var").mkdir()
    (folder.path / "var" / "gateway.db").touch(0o400)
    (folder.path / "var").chmod(0o500)
    monkeypatch.chdir(folder.path)
    parsed = load("gateway.yaml")
    "localhost".encode("idna")  # nobody may not be able to import it
    with as_nobody():
        found = preflight.diagnostics(parsed, stored=True)
        without = preflight.diagnostics(parsed, stored=False)
    (folder.path / "var").chmod(0o700)
    assert "Permission denied" in found[0].message
    assert (found[0].line, found[0].message.partition(":")[0]) == (2, "store")
    assert not [diagnostic for diagnostic in without if diagnostic.message.startswith("store")], "nothing asks for it"


def test_one_that_runs_is_no_obstacle(folder: Folder) -> None:
    folder.write(bind=f"127.0.0.1:{free_port()}", console=f"unix:{folder.path}/console")
    command = [sys.executable, "-m", "gateway", "run"]
    with (folder.path / "log").open("w") as out:
        running = subprocess.Popen(
            command, cwd=folder.path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=out, stderr=out
        )
    try:
        until(lambda: "try:" in (folder.path / "log").read_text(), lambda: (folder.path / "log").read_text())
        done = folder.run("check")
        assert (done.returncode, done.stderr) == (0, "")
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(f"{folder.path}/console")
            console.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            assert b" 200 " in console.recv(100), "and it goes on"
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_routes_of_mail_that_take_more_than_was_meant_are_warned_of(tmp_path: Path) -> None:
    text = """
servers: {mail: {protocol: smtp, bind: 127.0.0.1:0}}
routes:
  email:
    - {recipient: '@support.example.org', app: shop.on_mail}
    - {recipient: '^help@example\\.org$', app: shop.on_mail}
    - {sender_domain: example.net, app: shop.on_mail}
"""
    (tmp_path / "gateway.yaml").write_text(text)
    (tmp_path / "shop.py").write_text("async def on_mail(scope, receive, send): ...")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    line, sender = done.stderr.splitlines()
    assert "gateway.yaml:7:23: routes.email[2].sender_domain: anybody can write this address into From; add " in sender
    assert "gateway.yaml:5:19: routes.email[0].recipient: '@support.example.org': " in line
    assert r"example.org.evil.example for example.org; write '@support\.example\.org$'" in line


def test_prefixes_of_texts_that_cut_calling_codes_in_two_are_warned_of(tmp_path: Path) -> None:
    text = """
servers:
  web: {protocol: http, bind: 127.0.0.1:0}
  texts: {protocol: sms, provider: generic, on: web, path: /sms, secret: "0123456789abcdef"}
routes:
  sms:
    - {sender: "+4", app: shop.on_text}
    - {sender: "+44", app: shop.on_text}
    - {recipient: "+21", app: shop.on_text}
"""
    (tmp_path / "gateway.yaml").write_text(text)
    (tmp_path / "shop.py").write_text("async def on_text(scope, receive, send): ...")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    found = [line for line in done.stderr.splitlines() if "calling codes" in line]
    assert len(found) == 2
    assert "gateway.yaml:7:16: routes.sms[0].sender: +4 is only a part of the calling codes +40, +41" in found[0]
    assert "gateway.yaml:9:19: routes.sms[2].recipient: +21 is only a part of the calling codes +211" in found[1]


@pytest.mark.parametrize(
    ("bind", "open_"),
    [("0.0.0.0:0", True), ("[::]:0", True), ("127.0.0.1:0", False), ("Localhost:0", False), ("[::1]:0", False)],
)
def test_a_console_for_everybody_is_a_mistake(folder: Folder, bind: str, open_: bool) -> None:
    folder.write(console=bind)
    done = folder.run("check", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["valid"]) == ((2, False) if open_ else (0, True))
    said = [(mistake["line"], mistake["message"]) for mistake in found.get("diagnostics", ())]
    assert bool(said) == open_
    if open_:
        assert said[0][0] == 7
        assert "can be reached from other machines, which may then do everything" in said[0][1]


LOGINS = """
servers:
  support: {{protocol: imap, host: imap.example.org, username: help@example.org, {login}}}
submission: {{url: "smtps://mail.example.org", username: help@example.org, {login}}}
routes: {{email: checked_handlers.Desk}}
"""
CLIENT = {"installed": {"client_id": "x", "client_secret": "y"}}


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ("auth: {google: key.json}", "key.json: No such file or directory"),
        ("auth: {google: checked_handlers.py}", "checked_handlers.py: it is not JSON"),
        (
            "auth: {microsoft: {tenant: example.org, client_id: x, certificate: a.pem}}",
            "a.pem: No such file or directory",
        ),
    ],
)
def test_a_key_file_that_is_missing(folder: Folder, login: str, message: str) -> None:
    (folder.path / "gateway.yaml").write_text(LOGINS.format(login=login))
    done = folder.run("check", "--json")
    assert done.returncode == 3
    messages = [each["message"] for each in json.loads(done.stdout)["diagnostics"]]
    assert messages == [f"servers.support.auth: {message}", f"submission.auth: {message}"]


def test_what_another_program_or_a_person_has_to_give_yet(folder: Folder) -> None:
    (folder.path / "client.json").write_text(json.dumps(CLIENT))
    (folder.path / "gateway.yaml").write_text(LOGINS.format(login="auth: {google: client.json}"))
    done = folder.run("check", "--json")
    assert done.returncode == 0, done.stderr
    assert [each["message"] for each in json.loads(done.stdout)["warnings"]] == [
        "servers.support.auth: nobody has logged in as help@example.org; run `gateway login support`",
        "submission.auth: nobody has logged in as help@example.org; run `gateway login submission`",
    ]
    (folder.path / "gateway.yaml").write_text(LOGINS.format(login="token_file: token"))
    found = json.loads(folder.run("check", "--json").stdout)["warnings"]
    missing = "token: No such file or directory; it logs in when that is there"
    assert [each["message"] for each in found] == [
        f"servers.support.token_file: {missing}",
        f"submission.token_file: {missing}",
    ]
