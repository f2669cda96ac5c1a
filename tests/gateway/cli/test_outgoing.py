"""`gateway outgoing`, `gateway waiting`, and `gateway show` of what has not left: as typed, on a real store."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers.command import run
from servers.site import ROOT
from test_deadletters import MAIL, NOW, Folder, message

from gateway.console.kept.selection import CANDIDATES, Filters, dead_letters
from gateway.delivery.outgoing import recipient_of
from gateway.store import Outgoing, Store, codec

MAIL_EVENT = {"type": "email.send", "mail_from": "", "rcpt_to": ["ann@example.net"], "message": MAIL}
TEXT_EVENT = {"type": "sms.send", "to": "+447700900123", "from": "+15005550006", "text": "At nine \u2603"}
LATER = NOW + 3600


def item(id: str, kind: str, event: dict[str, Any], **more: str) -> Outgoing:
    content = codec.encode({"listener": "mail"}, [event])
    return Outgoing(id, id.partition("-")[0], kind, content, recipient=recipient_of(event), **more)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A mail that was refused, a text behind it, and one that is damaged."""

    async def fill(store: Store) -> None:
        await store.put(message("7f3a000001", minutes=180, attempts=0))
        await store.put(message("7f3b000002", "sms", attempts=0))
        await store.take(9, now=time.time())
        mail = item("7f3a000001-0", "email", MAIL_EVENT, lane="email")
        text = item("7f3a000001-1", "sms", TEXT_EVENT, lane="sms mail", behind="7f3a000001-0")
        await store.finish("7f3a000001", outgoing=[mail, text])
        await store.finish("7f3b000002", outgoing=[item("7f3b000002-0", "sms", TEXT_EVENT, lane="sms other")])

    folder = Folder(tmp_path)
    folder.store(fill)
    with closing(sqlite3.connect(folder.database)) as database:
        database.execute("UPDATE outgoing SET content = x'c1' WHERE id = '7f3b000002-0'")
        database.commit()

    async def send(store: Store) -> None:
        assert [each.id for each in await store.take_outgoing(9, now=time.time())] == ["7f3a000001-0"]
        await store.retry_outgoing("7f3a000001-0", due=LATER, error="451 not now\n")

    folder.store(send)
    return folder


def outgoing(folder: Folder) -> list[str]:
    async def ids(store: Store) -> list[str]:
        return [each.id for each in await store.outgoing()]

    return folder.store(ids)


# list


def test_list(folder: Folder) -> None:
    done = folder.run("outgoing", "list")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, total = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    assert head == ["id", "age", "type", "route", "attempts", "state", "next try", "to", "error"]
    mail, text, damaged = rows
    assert mail[:6] == ["7f3a000001-0", "3h", "email", "default -> shop.EmailHandler", "1", "waiting"]
    assert re.fullmatch(r"in \d+m", mail[6])  # the suite may take its time
    assert mail[7:] == ["ann@example.net", "451 not now"]
    assert text[:7:6] == ["7f3a000001-1", "after 7f3a000001-0"]
    assert (damaged[0], damaged[5]) == ("7f3b000002-0", "damaged")
    assert total == ["3 outgoing items"]
    assert folder.run("outgoing", "list", "-n", "1").stdout.splitlines()[-1] == "1 of 3; -n 3 shows all"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ["7f3a000001-0", "7f3a000001-1", "7f3b000002-0"]),
        (["--type", "sms"], ["7f3a000001-1", "7f3b000002-0"]),
        (["--route", "smshandler"], ["7f3b000002-0"]),
        (["--since", "1h"], ["7f3b000002-0"]),
        (["--before", "1h"], ["7f3a000001-0", "7f3a000001-1"]),
        (["--recipient", "@EXAMPLE.net"], ["7f3a000001-0"]),
        (["--recipient", "+4477"], ["7f3a000001-1", "7f3b000002-0"]),
        (["--error", "Not now"], ["7f3a000001-0"]),
        (["--state", "damaged"], ["7f3b000002-0"]),
        (["--state", "waiting", "--type", "sms"], ["7f3a000001-1"]),
        (["--type", "mqtt"], []),
    ],
)
def test_list_for_programs(folder: Folder, filters: list[str], expected: list[str]) -> None:
    listed = folder.json("outgoing", "list", *filters)
    assert [each["id"] for each in listed] == expected
    if not filters:
        assert listed[0] == {
            "id": "7f3a000001-0",
            "message": "7f3a000001",
            "type": "email",
            "lane": "email",
            "behind": "",
            "route": "default -> shop.EmailHandler",
            "subject": "email ann@example.net -> help@example.org",
            "received": pytest.approx(NOW - 180 * 60),
            "size": len(item("", "email", MAIL_EVENT).content),
            "state": "waiting",
            "attempts": 1,
            "due": LATER,
            "error": "451 not now",
            "recipient": "ann@example.net",
        }


# show


def test_show(folder: Folder) -> None:
    done = folder.run("outgoing", "show", "7f3a000001-0")
    assert (done.returncode, done.stderr) == (0, "")
    facts, _, error = done.stdout.partition("\n\n")
    shown = dict(line.strip().split(maxsplit=1) for line in facts.splitlines())
    assert (shown["message"], shown["type"], shown["attempts"]) == ("7f3a000001", "email", "1")
    assert (shown["rcpt_to"], shown["message_length"], shown["listener"]) == ("ann@example.net", str(len(MAIL)), "mail")
    assert error == "451 not now\n"
    assert "Printer" not in done.stdout


def test_show_for_programs(folder: Folder) -> None:
    shown = folder.json("outgoing", "show", "7F3A000001-1")
    assert (shown["id"], shown["behind"], shown["lane"]) == ("7f3a000001-1", "7f3a000001-0", "sms mail")
    assert shown["events"][0]["to"] == "+447700900123"
    assert "At nine" not in str(shown)
    assert "cannot be read" in folder.json("outgoing", "show", "7f3b")["damaged"]


@pytest.mark.parametrize(("given", "content"), [("7f3a000001-0", MAIL), ("7f3a000001-1", "At nine \u2603".encode())])
def test_the_content_is_raw(folder: Folder, given: str, content: bytes) -> None:
    command = [sys.executable, "-m", "gateway", "outgoing", "show", given, "--content"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder.path, env=environ, capture_output=True, timeout=40)
    assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        (["show"], "zzz", "there is no outgoing item 'zzz'\n"),
        (["drop", "--yes"], "7f3a", "'7f3a' is the beginning of 2 ids: 7f3a000001-0, 7f3a000001-1; write more\n"),
        (["retry"], "7f3a000001", "'7f3a000001' is the beginning of 2 ids: 7f3a000001-0, 7f3a000001-1; write more\n"),
    ],
)
def test_ids_that_name_none_or_many(folder: Folder, command: list[str], given: str, said: str) -> None:
    done = folder.run("outgoing", *command, given)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert len(outgoing(folder)) == 3


# retry, drop


def test_retry(folder: Folder) -> None:
    done = folder.run("outgoing", "retry", "--all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 to be tried now\n", ""), "what is damaged stays so"

    async def due(store: Store) -> list[str]:
        return [each.id for each in await store.take_outgoing(9, now=time.time())]

    assert folder.store(due) == ["7f3a000001-0"]


def test_drop(folder: Folder) -> None:
    command = [sys.executable, "-m", "gateway", "outgoing", "drop", "7f3a000001-0"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    asked: dict[str, Any] = {"cwd": folder.path, "env": environ, "capture_output": True, "text": True, "timeout": 40}
    refused = subprocess.run(command, input="n\n", **asked)
    assert (refused.returncode, len(outgoing(folder))) == (1, 3)
    assert "Drop 1 outgoing item for good? [y/N]" in refused.stderr
    assert subprocess.run(command, input="y\n", **asked).stdout.strip() == "1 dropped"
    assert folder.run("outgoing", "drop", "--route", "smshandler", "--yes").stdout == "1 dropped\n", "also damaged"
    assert outgoing(folder) == ["7f3a000001-1"]


def test_which_must_be_said_once(folder: Folder) -> None:
    for command in (["retry"], ["drop", "7f3b", "--all", "--yes"]):
        done = folder.run("outgoing", *command)
        assert done.returncode == 2
        assert "write ids, or --all, or filters" in done.stderr
        assert "--state" in done.stderr
    assert len(outgoing(folder)) == 3


# What is dead: in gateway outgoing, and in gateway dead beside what arrived


@pytest.fixture
def dead(folder: Folder) -> Folder:
    """The mail is refused for good; beside it is a message whose handler failed."""

    async def bury(store: Store) -> None:
        await store.dead_letter_outgoing("7f3a000001-0", error="mx refused ann@example.net: 550 5.1.1 no such user")
        await store.dead_letter(message("8a1c000003", "sms"), error="Traceback:\nKeyError: 'order'")

    folder.store(bury)
    return folder


def test_what_will_not_leave_is_listed_with_what_failed(dead: Folder) -> None:
    lines = dead.run("dead", "list").stdout.splitlines()
    rows = {row[0]: row for row in (re.split(r"\s{2,}", line.strip()) for line in lines)}
    assert rows["7f3a000001-0"][2:] == [
        "email",
        "default -> shop.EmailHandler",
        "1",
        "sent to ann@example.net",
        "mx refused ann@example.net: 550 5.1.1 no such user",
    ]
    assert rows["8a1c000003"][-1] == "KeyError: 'order'"
    assert lines[-1] == "4 dead letters", "with what was behind it"
    assert [each["id"] for each in dead.json("dead", "list", "--recipient", "ann@")] == ["7f3a000001-0"]
    texts = ["8a1c000003", "7f3a000001-1", "7f3b000002-0"]
    assert [each["id"] for each in dead.json("dead", "list", "--type", "sms")] == texts
    found = dead.json("outgoing", "list", "--state", "dead", "--error", "NO SUCH user")
    assert [each["id"] for each in found] == ["7f3a000001-0", "7f3a000001-1"]


def test_what_will_not_leave_is_shown_and_exported(dead: Folder, tmp_path: Path) -> None:
    shown = dead.json("dead", "show", "7f3a000001-0")
    assert (shown["state"], shown["type"], shown["recipient"]) == ("dead", "email", "ann@example.net")
    assert dead.run("dead", "show", "7f3a000001-0").stdout == dead.run("outgoing", "show", "7f3a000001-0").stdout
    story = dead.run("show", "7f3a000001").stdout
    said = "not sent: 7f3a000001-0, dead after 1 attempt: mx refused ann@example.net: 550 5.1.1 no such user"
    assert f"{said}\n  gateway dead show 7f3a000001-0 · gateway dead retry 7f3a000001-0" in story
    assert dead.run("dead", "export", "letters", "--before", "1s").stdout.startswith("4 written to ")
    assert dead.run("outgoing", "export", "unsent", "--type", "sms").stdout.startswith("2 written to ")
    files = {
        path.relative_to(tmp_path).as_posix() for path in (*tmp_path.glob("letters/*"), *tmp_path.glob("unsent/*"))
    }
    assert files == {
        *("letters/7f3a000001-0.eml", "letters/7f3a000001-1.json"),
        *("letters/7f3b000002-0.damaged", "letters/8a1c000003.json"),
        *("unsent/7f3a000001-1.json", "unsent/7f3b000002-0.damaged"),
    }
    assert (tmp_path / "letters" / "7f3a000001-0.eml").read_bytes() == MAIL
    kept = json.loads((tmp_path / "unsent" / "7f3a000001-1.json").read_text())
    assert (kept["state"], kept["events"][0]["text"]) == ("dead", TEXT_EVENT["text"])


def test_what_will_not_leave_is_tried_again_with_what_was_behind_it(dead: Folder) -> None:
    assert dead.run("dead", "retry", "--error", "no such user").stdout == "2 wait again\n"
    states = {each["id"]: each["state"] for each in dead.json("outgoing", "list")}
    assert states == {"7f3a000001-0": "waiting", "7f3a000001-1": "waiting", "7f3b000002-0": "damaged"}
    assert dead.run("dead", "drop", "--all", "--yes").stdout == "2 dropped\n", "the message, and what is damaged"
    assert outgoing(dead) == ["7f3a000001-0", "7f3a000001-1"]


def test_what_another_operator_has_retried_is_no_dead_letter_to_drop(dead: Folder) -> None:
    """The question whether to drop it may wait for its answer for long."""

    async def drop(store: Store) -> int:
        selection = dead_letters(store)
        chosen = await selection.ids(Filters(error="no such user"))
        assert await store.requeue_outgoing(chosen) == 2
        return await selection.forget(chosen)

    assert dead.store(drop) == 0
    assert "7f3a000001-0" in outgoing(dead)


def test_show_tells_the_state_that_the_list_tells(dead: Folder) -> None:
    """What is damaged cannot be tried again, and what rests says why, though it was never tried itself."""

    async def rest(store: Store) -> None:
        await store.put(message("9c00000004", attempts=0))
        await store.take(9, now=time.time())
        mails = [item(f"9c00000004-{number}", "email", MAIL_EVENT, lane="email") for number in range(2)]
        await store.finish("9c00000004", outgoing=mails)
        await store.take_outgoing(1, now=time.time())
        await store.retry_outgoing("9c00000004-0", due=LATER, error="535 wrong login", rests=True)

    dead.store(rest)
    said = {each["id"]: (each["state"], each["error"], each["due"]) for each in dead.json("outgoing", "list")}
    for id_ in said:
        shown = dead.json("outgoing", "show", id_)
        assert (shown["state"], shown["error"], shown["due"]) == said[id_]
    assert said["7f3b000002-0"][0] == "damaged"
    assert said["9c00000004-1"] == ("resting", "535 wrong login", LATER)
    assert dead.run("outgoing", "show", "9c00000004-1").stdout.endswith("\n\n535 wrong login\n")


# gateway show, gateway waiting


def test_a_story_with_what_has_not_left(folder: Folder) -> None:
    for given in ("7f3a", "7f3a000001-1"):
        lines = folder.run("show", given).stdout.splitlines()
        assert lines[0] == "7f3a000001"
        assert "now: not in the store; last step: failed: not sent 7f3a000001-0: 451 not now" in "\n".join(lines)
        assert re.fullmatch(r"to be sent: 7f3a000001-0, waiting, 1 attempt so far, next try .*: 451 not now", lines[-4])
        assert lines[-3:] == [
            "  gateway outgoing show 7f3a000001-0",
            "to be sent: 7f3a000001-1, waiting, 0 attempts so far",
            "  gateway outgoing show 7f3a000001-1",
        ]
    assert [each["id"] for each in folder.json("show", "7f3b")["outgoing"]] == ["7f3b000002-0"]


def test_a_beginning_of_many(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    ids = [f"7f{number:02}" for number in range(CANDIDATES + 1)]
    folder.bury(*map(message, ids))
    done = folder.run("show", "7f")
    assert (done.returncode, done.stdout) == (1, "")
    told = ", ".join(ids[:CANDIDATES])
    assert done.stderr == f"'7f' is the beginning of more than {CANDIDATES} ids: {told}; write more\n"
    assert folder.run("show", "7f1").stdout.startswith("7f10  ")


def test_what_waits_and_why(tmp_path: Path) -> None:
    async def fill(store: Store) -> None:
        await store.put(message("7f3a000001", minutes=180, attempts=0))
        await store.take(1, now=time.time())
        await store.retry("7f3a000001", due=LATER, error="Traceback:\nKeyError: 'order'")
        await store.put(message("7f3b000002", "sms", attempts=0))

    folder = Folder(tmp_path)
    folder.store(fill)
    head, mail, text, total = [re.split(r"\s{2,}", line.strip()) for line in folder.run("waiting").stdout.splitlines()]
    assert head[4:7] == ["attempts", "state", "next try"]
    assert (mail[0], *mail[4:6], mail[8]) == ("7f3a000001", "1", "waiting", "KeyError: 'order'")
    assert re.fullmatch(r"in \d+m", mail[6])
    assert (text[0], *text[4:7]) == ("7f3b000002", "0", "waiting", "now")
    assert total == ["2 messages"]
    assert folder.run("waiting", "-n", "1").stdout.splitlines()[-1] == "1 of 2; -n 2 shows all"
    (listed,) = folder.json("waiting", "--type", "email")
    assert (listed["state"], listed["due"], listed["attempts"]) == ("waiting", LATER, 1)
    assert folder.json("waiting", "--route", "elsewhere") == []
    shown = folder.run("show", "7f3a").stdout
    assert re.search(
        r"now: in the store, waiting, 1 attempt so far, next try not before .*: KeyError: 'order'\n", shown
    )


@pytest.mark.parametrize(
    "command",
    ["outgoing", *(f"outgoing {name}" for name in ("list", "show", "retry", "drop", "export")), "waiting"],
)
def test_help_teaches_with_an_example(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, *command.split(), "--help")
    assert done.returncode == 0
    assert f"gateway {command} " in done.stdout
