"""`gateway dead` and `gateway show`, as typed, on a real store that this process has filled."""

import asyncio
import base64
import json
import os
import pty
import re
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from servers.command import completed, run
from servers.site import ROOT

from gateway.cli.store.options import choice_of
from gateway.console.kept.pages import BATCH
from gateway.console.kept.selection import PAGE, Filters, dead_letters
from gateway.store import Message, Store, codec, engine_of

T = TypeVar("T")
FILE = """
servers: {mail: {protocol: smtp}, devices: {protocol: mqtt, tls: {certificate: "${NOT_SET}", key: x}}}
routes: {email: {app: not_here.Tickets, attempts: 3}}
store: sqlite:kept/gateway.db
"""
MAIL = b"Subject: Printer\r\nFrom: ann@example.net\r\n\r\nIt does not print \xff\r\n.\r\n"
TRACEBACK = "Traceback (most recent call last):\n  File \"tickets.py\", line 41, in receive\nKeyError: 'order'\n"
NOW = time.time()
SCOPES: dict[str, dict[str, Any]] = {
    "email": {
        "type": "email",
        "listener": "mail",
        "transport": "smtp",
        "mail_from": "ann@example.net",
        "rcpt_to": ["help@example.org"],
        "headers": [(b"subject", b"Printer")],
        "client": ("192.0.2.7", 4321),
        "extensions": {},
    },
    "mqtt": {"type": "mqtt", "listener": "devices", "client_id": "t1", "will": None, "extensions": {}},
    "sms": {
        "type": "sms",
        "listener": "texts",
        "sender": "+447700900123",
        "fields": {"Body": "When?"},
        "extensions": {},
    },
}
EVENTS: dict[str, list[dict[str, Any]]] = {
    "email": [
        {"type": "email.receive", "body": MAIL[:20], "more_body": True},
        {"type": "email.receive", "body": MAIL[20:], "more_body": False},
    ],
    "mqtt": [{"type": "mqtt.receive", "topic": "sensors/1/temperature", "payload": b"\x00\xff21", "qos": 1}],
    "sms": [{"type": "sms.receive", "text": "When do you open? \u2603", "media": []}],
}
SUBJECTS = {
    "email": "email ann@example.net -> help@example.org",
    "mqtt": "mqtt t1 sensors/1/temperature",
    "sms": "sms +447700900123 -> +15005550006",
}


def message(id: str, kind: str = "email", *, minutes: float = 10.0, **more: Any) -> Message:
    """One that arrived so many minutes ago."""
    given: dict[str, Any] = {
        "route": f"default -> shop.{kind.capitalize()}Handler",
        "key": id,
        "received": NOW - 60 * minutes,
        "content": codec.encode(SCOPES[kind], EVENTS[kind]),
        "attempts": 3,
        "subject": SUBJECTS[kind],
    }
    return Message(id=id, type=kind, **given | more)


class Folder:
    """A folder with a gateway.yaml and its store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "kept" / "gateway.db"
        (path / "gateway.yaml").write_text(FILE)

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """What ``work`` makes of the open store, in this process."""

        async def opened() -> T:
            store = engine_of(f"sqlite:{self.database}").store()
            await store.open()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def bury(self, *messages: Message, error: str = TRACEBACK) -> None:
        async def bury(store: Store) -> None:
            await asyncio.gather(*(store.dead_letter(each, error=error) for each in messages))

        self.store(bury)

    def dead(self) -> list[str]:
        async def ids(store: Store) -> list[str]:
            return [each.id for each in await store.dead()]

        return self.store(ids)

    def waiting(self) -> list[Message]:
        return self.store(lambda store: store.take(1000, now=time.time() + 1))

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        done = run(self.path, *arguments, **environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def empty(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def folder(empty: Folder) -> Folder:
    """Three dead letters: a mail of 3 hours, a publication of 90 minutes, a text of 10 minutes."""
    empty.bury(message("7f3a000001", minutes=180))
    empty.bury(message("7f3b000002", "mqtt", minutes=90), error="")
    empty.bury(message("abcd000003", "sms", attempts=1))
    return empty


# list


def test_list(folder: Folder) -> None:
    done = folder.run("dead", "list")
    assert (done.returncode, done.stderr) == (0, "")
    head, mail, mqtt, sms, total = done.stdout.splitlines()
    assert head.split() == ["id", "age", "type", "route", "attempts", "subject", "error"]
    assert re.split(r"\s{2,}", mail.strip()) == [
        "7f3a000001",
        "3h",
        "email",
        "default -> shop.EmailHandler",
        "3",
        "email ann@example.net -> help@example.org",
        "KeyError: 'order'",
    ]
    assert mqtt.split()[:3] == ["7f3b000002", "1h", "mqtt"]
    assert sms.split()[0] == "abcd000003"
    assert re.fullmatch(r"[1-9][0-9]m", sms.split()[1])  # the suite may take its time
    assert sms.split()[2] == "sms"
    assert total == "3 dead letters"


def test_list_for_programs(folder: Folder) -> None:
    listed = folder.json("dead", "list")
    assert [each["id"] for each in listed] == ["7f3a000001", "7f3b000002", "abcd000003"]
    assert listed[0] == {
        "id": "7f3a000001",
        "type": "email",
        "route": "default -> shop.EmailHandler",
        "key": "7f3a000001",
        "received": pytest.approx(NOW - 180 * 60),
        "size": len(codec.encode(SCOPES["email"], EVENTS["email"])),
        "state": "dead",
        "attempts": 3,
        "due": 0.0,
        "subject": "email ann@example.net -> help@example.org",
        "error": "KeyError: 'order'",
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--type", "email"], ["7f3a000001"]),
        (["--route", "shop.mqtt"], ["7f3b000002"]),
        (["--since", "2h"], ["7f3b000002", "abcd000003"]),
        (["--since", "2h", "--type", "sms"], ["abcd000003"]),
        (["--route", "elsewhere"], []),
    ],
)
def test_filters(folder: Folder, filters: list[str], expected: list[str]) -> None:
    assert [each["id"] for each in folder.json("dead", "list", *filters)] == expected


def test_completion_of_ids(folder: Folder) -> None:
    dead = [each["id"] for each in json.loads(run(folder.path, "dead", "list", "--json").stdout)]
    assert sorted(completed(folder.path, "gateway dead retry ")) == sorted(dead)
    assert completed(folder.path, f"gateway show {dead[0]}") == [dead[0]]
    assert completed(folder.path, "gateway outgoing show ") == []


def test_an_empty_store(folder: Folder) -> None:
    ids = folder.dead()
    folder.store(lambda store: store.drop(ids))
    assert folder.run("dead", "list").stdout == "0 dead letters\n"
    assert folder.json("dead", "list") == []


def test_a_list_shows_so_many_and_says_how_many_there_are(folder: Folder) -> None:
    *_, second, last = folder.run("dead", "list", "-n", "2").stdout.splitlines()
    assert (second.split()[0], last) == ("7f3b000002", "2 of 3; -n 3 shows all")
    assert folder.run("dead", "list", "--limit", "3").stdout.splitlines()[-1] == "3 dead letters"
    assert [each["id"] for each in folder.json("dead", "list", "-n", "2")] == ["7f3a000001", "7f3b000002"]


def test_a_long_list_shows_50_to_people_and_all_to_programs(empty: Folder) -> None:
    empty.bury(*(message(f"m{number:06}") for number in range(PAGE + 1)))
    shown = empty.run("dead", "list").stdout.splitlines()
    assert (len(shown), shown[-1]) == (1 + 50 + 1, f"50 of {PAGE + 1}; -n {PAGE + 1} shows all")
    assert len(empty.run("dead", "list", "-n", str(PAGE + 1)).stdout.splitlines()) == 1 + PAGE + 1 + 1
    assert len(empty.json("dead", "list")) == PAGE + 1
    assert len(empty.json("dead", "list", "-n", str(PAGE + 1))) == PAGE + 1


def test_more_than_a_page(empty: Folder) -> None:
    ids = [f"m{number:06}" for number in range(2 * PAGE + 3)]
    empty.bury(*map(message, ids))
    assert sorted(each["id"] for each in empty.json("dead", "list")) == ids


def test_what_strangers_write_stays_text(empty: Folder) -> None:
    subject = "email \x1b]0;owned\x07\x1b[2J\r\n\x9b\u202e -> x"
    empty.bury(message("7f3a000001", subject=subject), error="ValueError: \x1b[31mred\n")
    for command in (["dead", "list"], ["dead", "show", "7f3a"], ["show", "7f3a"]):
        shown = empty.run(*command).stdout
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown), ascii(shown)
        assert r"\x1b]0;owned\x07" in shown
    assert empty.json("dead", "list")[0]["subject"] == subject


# show


def test_show(folder: Folder) -> None:
    done = folder.run("dead", "show", "7f3a000001")
    assert (done.returncode, done.stderr) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in done.stdout.split("\n\n")[0].splitlines())
    assert shown["id"] == "7f3a000001"
    assert shown["route"] == "default -> shop.EmailHandler"
    assert shown["rcpt_to"] == "help@example.org"
    assert shown["attempts"] == "3"
    assert TRACEBACK in done.stdout


@pytest.mark.parametrize("given", ["7f3a000001", "7f3b000002", "abcd000003"])
def test_show_never_tells_the_content(folder: Folder, given: str) -> None:
    for arguments in ([], ["--json"]):
        shown = folder.run("dead", "show", given, *arguments).stdout
        for said in ("Printer", "print", "When", "\\u0000", "base64"):
            assert said not in shown


def test_show_for_programs(folder: Folder) -> None:
    shown = folder.json("dead", "show", "7f3b")
    assert shown["scope"] == {"type": "mqtt", "listener": "devices", "client_id": "t1"}
    assert shown["events"] == [
        {"type": "mqtt.receive", "topic": "sensors/1/temperature", "qos": 1, "payload_length": 4}
    ]
    assert folder.json("dead", "show", "7f3a")["error"] == TRACEBACK


@pytest.mark.parametrize(
    ("given", "content"),
    [("7f3a", MAIL), ("7f3b", b"\x00\xff21"), ("abcd", "When do you open? \u2603".encode())],
)
def test_the_content_is_raw(folder: Folder, given: str, content: bytes) -> None:
    command = [sys.executable, "-m", "gateway", "dead", "show", given, "--content"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder.path, env=environ, capture_output=True, timeout=40)
    assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (["show"], "zzz", "there is no dead letter 'zzz'\n"),
        (["show"], "", "there is no dead letter ''\n"),
        (["retry"], "7f3", "'7f3' is the beginning of 2 ids: 7f3a000001, 7f3b000002; write more\n"),
        (["drop", "7f3a000001"], "zzz", "there is no dead letter 'zzz'\n"),
        (["export", "out"], "zzz", "there is no dead letter 'zzz'\n"),
    ],
)
def test_ids_that_name_none_or_many(folder: Folder, command: list[str], given: str, said: str) -> None:
    done = folder.run("dead", *command, given)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert len(folder.dead()) == 3, "where one is wrong, nothing is done"


# retry


def test_retry(folder: Folder) -> None:
    done = folder.run("dead", "retry", "7f3a", "abcd000003", "7f3a000001")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 wait again\n", "")
    assert folder.dead() == ["7f3b000002"]
    assert {(each.id, each.attempts) for each in folder.waiting()} == {("7f3a000001", 1), ("abcd000003", 1)}


@pytest.mark.parametrize(
    ("which", "said", "left"),
    [
        (["--all"], "3 wait again\n", []),
        (["--since", "1h"], "1 waits again\n", ["7f3a000001", "7f3b000002"]),
        (["--type", "sms", "--since", "1m"], "0 wait again\n", ["7f3a000001", "7f3b000002", "abcd000003"]),
    ],
)
def test_retry_many(folder: Folder, which: list[str], said: str, left: list[str]) -> None:
    assert folder.run("dead", "retry", *which).stdout == said
    assert folder.dead() == left


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["retry", "7f3a", "--all"],
        ["drop", "7f3a", "--type", "email", "--yes"],
        ["drop", "--all", "--since", "1h", "--yes"],
        ["export", "out"],
    ],
)
def test_which_must_be_said_once(folder: Folder, arguments: list[str]) -> None:
    done = folder.run("dead", *arguments)
    assert done.returncode == 2
    assert "write ids, or --all, or filters" in done.stderr
    assert len(folder.dead()) == 3


@pytest.mark.parametrize("wrong", [["--since", "yesterday"], ["--type", "fax"], ["--bogus"]])
def test_mistakes_in_usage(folder: Folder, wrong: list[str]) -> None:
    assert folder.run("dead", "list", *wrong).returncode == 2


def test_more_than_a_batch(empty: Folder) -> None:
    number = 2 * BATCH + 1
    empty.bury(*(message(f"m{each:06}", "mqtt") for each in range(number)))
    assert empty.run("dead", "retry", "--all").stdout == f"{number} wait again\n"
    assert empty.dead() == []


def test_what_is_chosen_without_a_question_is_in_memory_page_by_page(empty: Folder) -> None:
    number = 2 * PAGE + 1
    empty.bury(*(message(f"m{each:06}", "mqtt") for each in range(number)))

    async def sizes(store: Store, *, exactly: bool) -> tuple[int, list[int], list[int]]:
        everything = choice_of(None, Filters(), everything=True, states=False)
        before = await everything.of(dead_letters(store), exactly=exactly)
        await store.dead_letter(message("n000000", "mqtt"), error="later")
        ids = [each async for each in before.ids()]
        await store.drop(["n000000"])
        own = [len(value) for value in vars(before).values() if isinstance(value, list)]
        return before.count, [len(each) for each in ids], own

    paged = empty.store(lambda store: sizes(store, exactly=False))
    assert paged == (number, [PAGE, PAGE, 1], [2]), "of each list only the last id is kept"
    whole = empty.store(lambda store: sizes(store, exactly=True))
    assert whole == (number, [PAGE, PAGE, 1], [number])


def test_a_bar_on_a_terminal_alone(folder: Folder) -> None:
    terminal, ours = pty.openpty()
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "gateway", "dead", "retry", "--all"]
    done = subprocess.run(command, cwd=folder.path, env=environ, stdout=subprocess.PIPE, stderr=ours, timeout=40)
    os.close(ours)
    said = os.read(terminal, 100_000)
    os.close(terminal)
    assert done.stdout == b"3 wait again\n"
    assert b"100%" in said


# drop


def ask(folder: Folder, answer: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", "dead", "drop", *arguments]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder.path, env=environ, input=answer, capture_output=True, text=True, timeout=40
    )


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_drop_asks(folder: Folder, answer: str) -> None:
    done = ask(folder, answer, "--all")
    assert (done.returncode, done.stdout.strip()) == (1, "")
    assert "Drop 3 dead letters for good? [y/N]" in done.stderr
    assert len(folder.dead()) == 3


def test_drop(folder: Folder) -> None:
    assert ask(folder, "y\n", "7f3a").stdout.strip() == "1 dropped"
    assert folder.dead() == ["7f3b000002", "abcd000003"]
    assert folder.run("dead", "drop", "--type", "sms", "--yes").stdout == "1 dropped\n"
    assert folder.dead() == ["7f3b000002"]
    assert folder.run("dead", "drop", "--type", "sms").stdout == "0 dropped\n", "there is nothing to ask about"


# export


def test_export(folder: Folder, tmp_path: Path) -> None:
    done = folder.run("dead", "export", "out/today", "--all")
    out = tmp_path / "out" / "today"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"3 written to {out}\n", "")
    assert {each.name for each in out.iterdir()} == {"7f3a000001.eml", "7f3b000002.json", "abcd000003.json"}
    assert (out / "7f3a000001.eml").read_bytes() == MAIL
    assert stat.S_IMODE((out / "7f3a000001.eml").stat().st_mode) == 0o600
    published = json.loads((out / "7f3b000002.json").read_text())
    assert base64.b64decode(published["events"][0]["payload"]["base64"]) == b"\x00\xff21"
    assert published["route"] == "default -> shop.MqttHandler"
    assert json.loads((out / "abcd000003.json").read_text())["scope"]["fields"] == {"Body": "When?"}
    assert len(folder.dead()) == 3, "they stay in the store"


def test_export_is_seen_from_where_the_command_is_typed(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = tmp_path_factory.mktemp("here")
    done = run(here, "dead", "export", "out", "7f3a", "-c", str(folder.path / "gateway.yaml"))
    assert done.returncode == 0, done.stderr
    assert (here / "out" / "7f3a000001.eml").exists()


def test_export_of_what_is_damaged(empty: Folder, tmp_path: Path) -> None:
    empty.bury(message("7f3a000001", content=b"\xc1 no content"), message("7f3a000002"))
    assert empty.run("dead", "export", "out", "--all").stdout.startswith("2 written")
    assert (tmp_path / "out" / "7f3a000001.damaged").read_bytes() == b"\xc1 no content"
    assert (tmp_path / "out" / "7f3a000002.eml").read_bytes() == MAIL
    assert "cannot be read" in empty.run("dead", "show", "7f3a000001").stdout
    assert empty.run("dead", "show", "7f3a000001", "--content").returncode == 1


def test_export_to_where_it_cannot(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = folder.run("dead", "export", "file/out", "--all")
    assert (done.returncode, done.stderr) == (1, f"{tmp_path / 'file' / 'out'}: Not a directory\n")


# gateway show


def test_the_history_of_a_dead_letter(folder: Folder) -> None:
    done = folder.run("show", "7f3a")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "7f3a000001  email ann@example.net -> help@example.org"
    assert all(re.match(r"  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S", line) for line in lines[1:-2])
    assert lines[-2] == "now: among the dead letters after 3 attempts: KeyError: 'order'"
    assert lines[-1] == "  gateway dead show 7f3a000001 · gateway dead retry 7f3a000001"


def test_the_history_of_what_waits_and_of_what_is_gone(empty: Folder) -> None:
    async def handle(store: Store) -> None:
        await store.put(message("gone000001", attempts=0))
        await store.take(1, now=time.time())
        await store.finish("gone000001")
        await store.put(message("wait000002", attempts=0))

    empty.store(handle)
    gone = empty.json("show", "gone000001")
    assert (gone["state"], gone["message"]) == ("absent", None)
    assert [step["at"] for step in gone["history"]] == sorted(step["at"] for step in gone["history"])
    assert len(gone["history"]) >= 2
    assert empty.run("show", "GONE").stdout.splitlines()[-1] == "now: not in the store; last step: done"
    assert empty.json("show", "wait000002")["state"] == "waiting"
    assert empty.run("show", "wait").stdout.endswith("now: in the store, waiting, 0 attempts so far\n")
    done = empty.run("dead", "show", "wait000002")
    assert (done.returncode, done.stderr) == (1, "there is no dead letter 'wait000002'\n")


def test_the_history_of_nothing(folder: Folder) -> None:
    done = folder.run("show", "zzz")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "there is no message 'zzz'\n")


# the store


def test_beside_a_process_that_has_the_store_open(folder: Folder) -> None:
    """What the other has running stays its own."""

    async def work(store: Store) -> list[str]:
        await store.put(message("busy000009", attempts=0))
        assert [each.id for each in await store.take(10, now=time.time())] == ["busy000009"]
        done = await asyncio.to_thread(folder.run, "dead", "retry", "7f3a")
        assert done.stdout == "1 waits again\n", done.stderr
        return [each.id for each in await store.take(10, now=time.time() + 1)]

    assert folder.store(work) == ["7f3a000001"]


def test_a_store_that_is_not_there_is_not_made(empty: Folder) -> None:
    """Somebody else's file would lock the daemon out."""
    for command in (["dead", "list"], ["show", "7f3a"]):
        done = empty.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "there is no store yet at kept/gateway.db: no message was kept\n"
    assert not (empty.path / "kept").exists()


def test_a_store_that_cannot_be_opened(empty: Folder) -> None:
    empty.database.mkdir(parents=True)
    done = empty.run("dead", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the store cannot be used: ")


def test_a_wrong_store_is_a_mistake_in_the_file(empty: Folder) -> None:
    text = FILE.replace("sqlite:kept/gateway.db", "postgres://x")
    (empty.path / "gateway.yaml").write_text(text.replace(', tls: {certificate: "${NOT_SET}", key: x}', ""))
    for command in (["check"], ["dead", "list"]):
        done = empty.run(*command)
        assert done.returncode == 2
        assert "gateway.yaml:4:8: error: store: " in done.stderr


def test_no_file(tmp_path: Path) -> None:
    assert run(tmp_path, "dead", "list").returncode == 2


@pytest.mark.parametrize(
    "command", ["dead", "dead list", "dead show", "dead retry", "dead drop", "dead export", "show"]
)
def test_help_teaches_with_an_example(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, *command.split(), "--help")
    assert done.returncode == 0
    assert f"gateway {command} " in done.stdout
