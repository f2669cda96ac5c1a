"""A mailbox whose server dies, lacks things, refuses, or lies."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from imap_desk import LIMIT, Desk, mail, new_user, reading, settings
from psutil import Process
from servers.dovecot import FULL, PASSWORD, Dovecot, dovecot
from servers.ports import free_port
from waiting import until

from protocols.errors import BindError
from protocols.mail.imap import pending
from protocols.mail.imap.idle_health import IDLE_AGAIN, IDLE_FAILURES, IdleHealth
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.session import BATCH
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def shared() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def server() -> Iterator[Dovecot]:
    """One that a test may kill."""
    with dovecot() as running:
        yield running


@pytest.fixture
def user() -> str:
    return new_user()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_server_killed_in_idle_is_noticed_and_nothing_is_lost(
    server: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk()
    server.append(mail("before"), user=user)
    async with reading(desk, server, user) as reader:
        await until(lambda: server.count("Processed", user) == 1)
        await asyncio.sleep(0.2)  # in IDLE
        server.kill()
        await until(lambda: reader.status.state == "connecting" and "connection refused" in reader.status.detail)
        assert "next try in" in reader.status.detail
        server.start()
        server.append(mail("meanwhile"), user=user)
        await until(lambda: server.count("Processed", user) == 2)
        assert reader.status.state == "ready"
    assert desk.subjects == ["before", "meanwhile"]
    assert errors(caplog) == []
    tries = [record.getMessage() for record in caplog.records if "next try in" in record.getMessage()]
    assert 1 <= len(tries) <= 3, "one line for each trouble"
    assert "connected again" in caplog.text


async def test_a_server_killed_in_mid_handler_gets_its_mark_later_and_the_handler_runs_once(
    server: Dovecot, user: str
) -> None:
    release = asyncio.Event()
    desk = Desk(slow=release)
    server.append(mail("slow"), mail("next"), user=user)
    async with reading(desk, server, user):
        await until(lambda: desk.subjects == ["slow"])
        server.kill()
        release.set()
        await asyncio.sleep(0.3)
        server.start()
        await until(lambda: server.count("Processed", user) == 2)
    assert sorted(desk.subjects) in (["next", "slow"], ["next", "next", "slow"])
    assert desk.subjects.count("slow") == 1


async def test_a_session_that_is_kicked_comes_back(shared: Dovecot, user: str) -> None:
    desk = Desk()
    async with reading(desk, shared, user) as reader:
        for round_ in range(3):
            await until(lambda: reader.status.state == "ready")
            await asyncio.sleep(0.2)
            shared.kick(user)
            await until(lambda: reader.status.state == "connecting")
            assert "goodbye" in reader.status.detail or "connection lost" in reader.status.detail
            shared.append(mail(str(round_)), user=user)
            await until(lambda: shared.count("Processed", user) == round_ + 1)  # noqa: B023 -- called at once
    assert desk.subjects == ["0", "1", "2"]


@pytest.mark.parametrize("missing", [["IDLE"], ["MOVE"], ["MOVE", "UIDPLUS"], ["SASL-IR", "LITERAL+", "IDLE", "MOVE"]])
async def test_a_server_that_lacks_things(user: str, missing: list[str]) -> None:
    with dovecot(capability=" ".join(word for word in FULL.split() if word not in missing)) as server:
        desk = Desk(bad={"type": "email.reject"})
        server.append(*[mail(str(number)) for number in range(30)], mail("bad"), user=user)
        async with reading(desk, server, user, poll=0.2) as reader:
            await until(lambda: server.count("Processed", user) == 30)
            expected = "INBOX, polled every 0.2 s" if "IDLE" in missing else "INBOX, IDLE"
            assert reader.status.detail == expected
            server.append(mail("news"), user=user)
            await until(lambda: server.count("Processed", user) == 31)
            await until(lambda: server.count("Rejected", user) == 1)
        left = server.messages("INBOX", user, ["UNDELETED"])
        assert left == []
        assert server.count("INBOX", user) == (31 + 1 if "UIDPLUS" in missing else 0), "no plain EXPUNGE"
        assert len(desk.scopes) == 32


async def test_without_uidplus_what_is_only_flagged_is_not_read_again(user: str) -> None:
    with dovecot(capability="IMAP4rev1 IDLE") as server:
        desk = Desk()
        server.append(mail("one"), user=user)
        for _ in range(2):
            async with reading(desk, server, user) as reader:
                await until(lambda: reader.status.state == "ready" and not reader.active())
                await until(lambda: server.count("Processed", user) == 1)
        assert desk.subjects == ["one"]


async def test_wrong_credentials_are_said_and_tried_slowly(
    shared: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for password in ("hunter2-wrong", "hünter2 wröng", 'hunter2"\\'):
        async with reading(Desk(), shared, user, password=Secret(password)) as reader:
            await until(lambda: "login refused" in reader.status.detail)
            assert reader.status.state == "connecting"
            assert reader.status.detail.endswith("next try in 300 s")
    assert "hunter2" not in caplog.text
    assert "hünter2" not in caplog.text


async def test_a_token_from_a_file(shared: Dovecot, user: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    changes: dict[str, Any] = {"password": None, "token_file": str(token), "retry_refused": 0.1}
    shared.append(mail("one"), user=user)
    async with reading(Desk(), shared, user, **changes) as reader:
        await until(lambda: "No such file" in reader.status.detail)
        token.write_text("expired\n")
        await until(lambda: "login refused" in reader.status.detail)
        token.write_text(f"{PASSWORD}\n")
        await until(lambda: shared.count("Processed", user) == 1)


async def test_a_folder_that_is_missing_or_cannot_be_made_is_said(shared: Dovecot, user: str) -> None:
    async with reading(Desk(), shared, user, folder="Nowhere") as reader:
        await until(lambda: "folder Nowhere: " in reader.status.detail)
    shared.append(mail("one"), user=user)
    desk = Desk()
    async with reading(desk, shared, user, on_accept="move a//b") as reader:
        await until(lambda: "cannot make folder a//b" in reader.status.detail)
    assert desk.scopes == [], "found out before any handler ran"


async def test_nobody_there(user: str) -> None:
    """Its end does not wait for the next try."""
    port = free_port()
    settings = IMAPSettings(
        host="127.0.0.1", port=port, tls=False, username="a", password=Secret("b"), reconnect=10 * LIMIT
    )
    reader = IMAPReader(Desk(), settings, state={})
    await reader.start()
    await until(lambda: reader.status.detail.startswith("connection refused; next try in"))
    assert reader.address == f"127.0.0.1:{port}"
    async with asyncio.timeout(LIMIT):
        await reader.stop(10 * LIMIT)
    assert reader.status.state == "stopped"


async def test_tls_and_a_certificate_that_nobody_trusts(user: str) -> None:
    with dovecot(tls=True) as server:
        server.append(mail("one"), user=user)
        secure: dict[str, Any] = {"host": "localhost", "port": server.tls_port, "tls": True}
        async with reading(Desk(), server, user, **secure) as reader:
            await until(lambda: "certificate is not trusted" in reader.status.detail)
        async with reading(Desk(), server, user, **secure, ca=server.ca):
            await until(lambda: server.count("Processed", user) == 1)
            server.append(mail("two"), user=user)
            await until(lambda: server.count("Processed", user) == 2)
        with pytest.raises(BindError, match="No such file"):
            await IMAPReader(Desk(), settings(server, user, **secure, ca="/no/such.pem"), state={}).start()


async def test_tls_to_a_server_without_it(shared: Dovecot, user: str) -> None:
    async with reading(Desk(), shared, user, tls=True) as reader:
        await until(lambda: "TLS failed" in reader.status.detail)


async def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "protocols.mail.imap.connection", raising=False)
    monkeypatch.setitem(sys.modules, "aioimaplib", None)
    with pytest.raises(BindError, match=r"pip install 'asgi-gateway\[imap\]'"):
        await IMAPReader(Desk(), IMAPSettings(host="h", username="a", password=Secret("b")), state={}).start()


# Servers that no package has.

GREETING = b"* OK ready\r\n"
CAPABILITY = b"* CAPABILITY IMAP4rev1 IDLE MOVE UIDPLUS\r\n"
SELECT = b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n"


class Liar:
    """Answers each command by its name: bytes to send before the tagged OK, None to say nothing, or ``b"!"`` and what
    to say instead of it."""

    def __init__(self, greeting: bytes, **answers: bytes | None) -> None:
        self.greeting = greeting
        self.answers = {"CAPABILITY": CAPABILITY, "SELECT": SELECT} | answers
        self.commands: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self.greeting)
            while line := await reader.readline():
                tag, _, command = line.decode().strip().partition(" ")
                self.commands.append(command)
                writer.write(self.reply(tag, command))
                await writer.drain()
        writer.close()

    def reply(self, tag: str, command: str) -> bytes:
        name = " ".join(command.split()[: 2 if command.startswith("UID") else 1]).replace(" ", "_")
        answer = self.answers.get(name, b"")
        if answer is None:
            return b""
        if answer.startswith(b"!"):
            return answer[1:]
        return answer + f"{tag} OK done\r\n".encode()


@contextlib.asynccontextmanager
async def lied_to(liar: Liar, app: Any = None, **changes: Any) -> AsyncIterator[IMAPReader]:
    listener = await asyncio.start_server(liar, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    given = IMAPSettings(host="127.0.0.1", port=port, tls=False, username="a", password=Secret("b"), timeout=0.3)
    given = IMAPSettings(**{**vars(given), **changes})
    try:
        async with IMAPReader(app or Desk(), given, name="support", state={}) as reader:
            yield reader
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("liar", "words"),
    [
        (Liar(b"* BYE too busy\r\n"), "it answered: * BYE too busy"),
        (Liar(b""), "no answer for 0.3 s"),
        (Liar(b"SSH-2.0-OpenSSH_9.2\r\n"), "it answered: SSH-2.0"),
        (Liar(b"\x16\x03\x01\x00" * 500), "no answer for 0.3 s"),
        (Liar(GREETING, CAPABILITY=b"!"), "no answer"),
        (Liar(GREETING, CAPABILITY=b"* CAPABILITY \xff\xfe\r\n"), "answered"),
        (Liar(GREETING, LOGIN=None), "no answer for 0.3 s"),
        (Liar(GREETING, LOGIN=b"!* BYE\r\n"), "said goodbye"),
        (Liar(GREETING, LOGIN=b"!ZZZZ9 OK done\r\n"), "not understood"),
        (Liar(GREETING, SELECT=b"* 1 EXISTS\r\n"), "folder INBOX: no UIDVALIDITY"),
        (Liar(GREETING, UID_SEARCH=b"* SEARCH " + b"1 " * 12_000_000 + b"\r\n"), "no end"),
        (Liar(GREETING, UID_SEARCH=b"!* SEARCH 1"), "no answer"),
        (Liar(GREETING, UID_SEARCH=b"\r\n" * 50_000 + b"!"), "no answer"),
        (Liar(GREETING, UID_SEARCH=b"* SEARCH\r\n", IDLE=None), "no answer for 0.3 s"),
        (Liar(GREETING, CAPABILITY=CAPABILITY.replace(b"IMAP4rev1", b"LOGINDISABLED IMAP4rev1")), "set tls: true"),
    ],
)
async def test_a_server_that_lies(liar: Liar, words: str, caplog: pytest.LogCaptureFixture) -> None:
    async with lied_to(liar) as reader:
        await until(lambda: words in reader.status.detail)
    assert errors(caplog) == []


async def test_a_message_that_vanishes_and_one_that_nobody_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    fetched = b"* 1 FETCH (FLAGS ())\r\n* 9 FETCH (UID 9 BODY[] {5}\r\nab\r\nc)\r\n"
    liar = Liar(GREETING, UID_SEARCH=b"* SEARCH 1 9\r\n", UID_FETCH=fetched, IDLE=b"!+ idling\r\n")
    desk = Desk()
    liar.answers["UID_FETCH"] = fetched.replace(b"BODY[] {5}\r\nab\r\nc", b"RFC822.SIZE 5 BODY[] {5}\r\nab\r\nc")
    async with lied_to(liar, desk):
        await until(lambda: any(command.startswith("UID MOVE") for command in liar.commands))
    assert desk.bodies == [b"ab\r\nc"]
    assert 'UID MOVE 9 "Processed"' in liar.commands
    assert errors(caplog) == []


async def test_a_message_that_the_server_cannot_read_keeps_nobody_from_the_others(
    shared: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Dovecot hangs up where it cannot read a file. To fetch all that is there in one command would fail for ever."""
    shared.append(*[mail(str(number)) for number in range(5)], user=user)
    with shared.program(user) as program:
        program.select()
        program.store("3", "+FLAGS", "(x)")
    folder = shared.root / "mail" / user / "Maildir" / "cur"  # names of one second do not sort as their messages do
    damaged = next(file for file in folder.iterdir() if "Subject: 2\n" in file.read_text())  # universal newlines
    damaged.chmod(0)
    desk = Desk()
    async with reading(desk, shared, user) as reader:
        await until(lambda: desk.subjects == ["0", "1", "3", "4"])
        await until(lambda: reader.status.state == "ready")
        shared.append(mail("news"), user=user)
        await until(lambda: shared.count("Processed", user) == 5)
    assert "message 3 deferred (the server did not give it: " in caplog.text
    damaged.chmod(0o600)
    async with reading(desk, shared, user):
        await until(lambda: desk.subjects[-1] == "2")


async def test_messages_that_somebody_deletes_while_they_are_handled_stop_nothing(shared: Dovecot, user: str) -> None:
    """A server may refuse a MOVE of which one message is gone."""
    release = asyncio.Event()
    desk = Desk(slow=release)
    shared.append(mail("slow"), *[mail(str(number)) for number in range(BATCH + 20)], user=user)
    async with reading(desk, shared, user) as reader:
        await until(lambda: desk.subjects == ["slow"])
        with shared.program(user) as program:
            program.select()
            program.store(f"1,{BATCH + 5}:{BATCH + 21}", "+FLAGS", "\\Deleted")
            program.expunge()
        release.set()
        await until(lambda: shared.count("Processed", user) == BATCH + 3)
        assert reader.status.state == "ready"
        assert shared.count("INBOX", user) == 0
    assert desk.subjects == ["slow", *map(str, range(BATCH + 3))]


async def test_a_target_that_somebody_deletes_is_made_again(shared: Dovecot, user: str) -> None:
    release = asyncio.Event()
    desk = Desk(slow=release)
    shared.append(mail("slow"), user=user)
    async with reading(desk, shared, user) as reader:
        await until(lambda: desk.subjects == ["slow"])
        with shared.program(user) as program:
            assert program.delete("Processed")[0] == "OK"
        release.set()
        await until(lambda: shared.count("Processed", user) == 1)
        assert reader.status.state == "ready"
    assert desk.subjects == ["slow"]


async def test_two_readers_of_one_folder_lose_nothing(shared: Dovecot, user: str) -> None:
    """It is not meant to be, and it happens: each may handle each message, and neither stops."""
    one, other = Desk(), Desk()
    shared.append(*[mail(str(number)) for number in range(60)], user=user)
    async with reading(one, shared, user) as first, reading(other, shared, user) as second:
        await until(lambda: shared.count("INBOX", user) == 0)
        await until(lambda: not (first.active() or second.active()))
        # One may have taken them all before the other has logged in.
        await until(lambda: (first.status.state, second.status.state) == ("ready", "ready"))
    assert {*one.subjects, *other.subjects} == {str(number) for number in range(60)}


async def test_a_mark_is_tried_again_while_another_reader_takes_messages_away() -> None:
    class Race(Liar):
        def reply(self, tag: str, command: str) -> bytes:
            if command.startswith("UID MOVE"):
                there.pop()
                return f"{tag} NO [EXPUNGEISSUED] Some of the requested messages no longer exist\r\n".encode()
            if command.startswith("UID SEARCH"):
                return f"* SEARCH {' '.join(map(str, there))}\r\n{tag} OK done\r\n".encode()
            return super().reply(tag, command)

    there = [7, 8, 9]
    fetched = b"".join(b"* %d FETCH (UID %d RFC822.SIZE 2 BODY[] {2}\r\n\r\n)\r\n" % (uid, uid) for uid in there)
    liar = Race(GREETING, UID_FETCH=fetched, IDLE=b"!+ idling\r\n")
    async with lied_to(liar, retry_refused=LIMIT) as reader:
        await until(lambda: liar.commands[-1:] == ["IDLE"])
        assert reader.status.state == "ready"
    moves = [command for command in liar.commands if command.startswith("UID MOVE")]
    assert moves == ['UID MOVE 7:9 "Processed"', 'UID MOVE 7:8 "Processed"', 'UID MOVE 7 "Processed"']


async def test_a_mark_that_is_refused_is_said_once_and_tried_again_and_others_are_handled_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pending, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(pending, "LONGEST_WAIT", 0.05)
    caplog.set_level(logging.INFO, logger="protocols.mail")

    class Full(Liar):
        def reply(self, tag: str, command: str) -> bytes:
            if command.startswith("UID MOVE") and self.full:
                return f"{tag} NO [OVERQUOTA] no room\r\n".encode()
            if command == "IDLE":
                self.idle = tag
                return b"+ idling\r\n"
            return f"{self.idle} OK\r\n".encode() if tag == "DONE" else super().reply(tag, command)

        full = True
        idle = ""

    fetched = b"* 1 FETCH (UID 9 RFC822.SIZE 2 BODY[] {2}\r\n\r\n)\r\n"
    liar = Full(GREETING, UID_SEARCH=b"* SEARCH 9\r\n", UID_FETCH=fetched)
    desk = Desk()
    async with lied_to(liar, desk, timeout=5.0) as reader:
        await until(lambda: liar.commands.count('UID MOVE 9 "Processed"') > 5)
        assert reader.status.state == "ready"
        liar.full = False
        await until(lambda: "the server takes move Processed again" in caplog.text)
    assert len(desk.scopes) == 1
    assert "UID SEARCH UID 9" in liar.commands
    assert len(errors(caplog)) == 1
    assert "handled messages stay where they are: move to Processed: [OVERQUOTA] no room" in errors(caplog)[0]


async def test_a_trouble_that_lasts_is_one_line_though_its_words_hold_a_clock(caplog: pytest.LogCaptureFixture) -> None:
    class Clock(Liar):
        def reply(self, tag: str, command: str) -> bytes:
            if command.startswith("LOGIN"):
                return f"{tag} NO [AUTHENTICATIONFAILED] no (0.00{len(self.commands)} secs)\r\n".encode()
            return super().reply(tag, command)

    liar = Clock(GREETING)
    async with lied_to(liar, retry_refused=0.01):
        await until(lambda: sum(command.startswith("LOGIN") for command in liar.commands) > 5)
    assert caplog.text.count("AUTHENTICATIONFAILED") == 1


@pytest.mark.parametrize("answer", [b"!{tag} NO [SERVERBUG] cannot\r\n", b"!* BYE cannot\r\n"])
async def test_sizes_that_are_not_given_are_asked_for_one_by_one(answer: bytes) -> None:
    class Damaged(Liar):
        def reply(self, tag: str, command: str) -> bytes:
            if not command.startswith("UID FETCH"):
                return super().reply(tag, command)
            uids = command.split()[2]
            if uids not in ("8", "9"):
                return answer[1:].replace(b"{tag}", tag.encode())
            fetched = f"* 1 FETCH (UID {uids} RFC822.SIZE 2 BODY[] {{2}}\r\n\r\n)\r\n"
            return (fetched + f"{tag} OK done\r\n").encode()

    liar = Damaged(GREETING, UID_SEARCH=b"* SEARCH 7 8 9\r\n", IDLE=b"!+ idling\r\n")
    desk = Desk()
    async with lied_to(liar, desk, reconnect=0.01) as reader:
        await until(lambda: reader.status.state == "ready" and len(desk.scopes) == 2)
        await until(lambda: liar.commands[-1] == "IDLE")
    assert [scope["mailbox"]["uid"] for scope in desk.scopes] == [8, 9]


async def test_a_message_without_content_is_said_and_not_asked_for_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    liar = Liar(
        GREETING,
        UID_SEARCH=b"* SEARCH 9\r\n",
        UID_FETCH=b"* 1 FETCH (UID 9 RFC822.SIZE 2 BODY[] NIL)\r\n",
        IDLE=b"!+ idling\r\n",
    )
    async with lied_to(liar):
        await until(lambda: "IDLE" in liar.commands)
    assert "message 9 deferred (the server gives no content), next in 30 s" in caplog.text


async def test_news_that_comes_outside_idle_is_not_slept_over() -> None:
    liar = Liar(
        GREETING,
        UID_SEARCH=b"* SEARCH 9\r\n",
        UID_FETCH=b"* 1 FETCH (UID 9 RFC822.SIZE 2 BODY[] {2}\r\n\r\n)\r\n",
        UID_MOVE=b"* 1 EXPUNGE\r\n* 1 EXISTS\r\n",
        IDLE=b"!+ idling\r\n",
    )
    async with lied_to(liar):
        await until(lambda: liar.commands.count("UID SEARCH UNDELETED") > 1)
    assert "IDLE" not in liar.commands


async def test_idle_that_fails_again_and_again_is_given_up_for_polling() -> None:
    liar = Liar(GREETING, UID_SEARCH=b"* SEARCH\r\n", IDLE=None)
    async with lied_to(liar, reconnect=0.01, poll=0.1) as reader:
        await until(lambda: liar.commands.count("NOOP") >= 2)
        assert reader.status.state == "ready"
        assert "polled every 0.1 s" in reader.status.detail
    assert liar.commands.count("IDLE") == IDLE_FAILURES


def test_idle_gets_another_chance() -> None:
    health = IdleHealth()
    for _ in range(IDLE_FAILURES):
        assert health.usable(0)
        health.failed(0)
    assert not health.usable(IDLE_AGAIN - 1)
    assert health.usable(IDLE_AGAIN)
    health.worked()
    assert health.usable(0)


async def test_idle_is_renewed(shared: Dovecot, user: str) -> None:
    desk = Desk()
    async with reading(desk, shared, user, idle_check=0.1) as reader:
        await until(lambda: reader.status.state == "ready")
        ready = reader.status
        await asyncio.sleep(1)
        shared.append(mail("one"), user=user)
        await until(lambda: desk.subjects == ["one"])
        assert reader.status is ready


async def test_a_server_that_hangs_during_idle_is_not_ready_for_long(server: Dovecot, user: str) -> None:
    """Its kernel still acknowledges what we send, so the connection looks alive."""
    desk = Desk()
    async with reading(desk, server, user, idle_check=0.5, timeout=0.5, reconnect=0.1) as reader:
        await until(lambda: reader.status.detail == "INBOX, IDLE")
        (before,) = reader.mailboxes()
        assert (before["state"], before["last_trouble"], before["last_trouble_at"]) == ("ready", "", None)
        processes = [Process(server.process.pid), *Process(server.process.pid).children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            await until(lambda: reader.status.state == "connecting")
            assert "no answer for 0.5 s; next try in" in reader.status.detail
            (hanging,) = reader.mailboxes()
            assert (hanging["account"], hanging["folder"], hanging["state"]) == (user, "INBOX", "connecting")
            assert hanging["last_trouble"] == "no answer for 0.5 s"
            await until(lambda: reader.mailboxes()[0]["lag"] > 1)
        finally:
            for process in processes:
                process.resume()
        server.append(mail("meanwhile"), user=user)
        await until(lambda: desk.subjects == ["meanwhile"] and reader.status.state == "ready")
        (after,) = reader.mailboxes()
        assert after["checked"] > hanging["checked"]
        assert after["last_trouble"].startswith(("no answer", "no connection"))
        assert after["last_trouble_at"] >= hanging["last_trouble_at"] > before["checked"]


async def test_each_mailbox_has_its_own_facts(shared: Dovecot, user: str) -> None:
    shared.append(mail("one"), user=user)
    async with reading(Desk(), shared, user, folders=("INBOX", "Missing"), connections=2, retry_refused=20) as reader:
        await until(lambda: {each["state"] for each in reader.mailboxes()} == {"ready", "connecting"})
        await until(lambda: all(each["last_trouble"] or each["state"] == "ready" for each in reader.mailboxes()))
        inbox, missing = reader.mailboxes()
        assert (inbox["folder"], inbox["last_trouble"]) == ("INBOX", "")
        assert missing["last_trouble"].startswith("folder Missing: ")
        assert missing["detail"].startswith("folder Missing: ")


async def test_an_application_that_breaks_while_it_is_asked_for_a_route(
    shared: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Desk):
        def routable(self, scope: Any) -> bool:
            if scope["rcpt_to"] == ["bad@example.org"]:
                raise RuntimeError("a router's bug")
            return True

    desk = Broken()
    shared.append(mail("bad", to="bad@example.org"), mail("good"), user=user)
    async with reading(desk, shared, user):
        await until(lambda: shared.count("Processed", user) == 1)
    assert desk.subjects == ["good"]
    assert shared.messages("INBOX", user) == [mail("bad", to="bad@example.org")]
    assert "a router's bug" in caplog.text


def _fetched(uid: int) -> bytes:
    return b"* %d FETCH (UID %d RFC822.SIZE 5 BODY[] {5}\r\nab\r\nc)\r\n" % (uid, uid)


async def test_only_what_was_asked_for_is_handled() -> None:
    """A message that waits for its next attempt, or is left, stays so, whatever the server sends."""
    fetched = _fetched(9) + _fetched(77)
    liar = Liar(GREETING, UID_SEARCH=b"* SEARCH 9\r\n", UID_FETCH=fetched, IDLE=b"!+ idling\r\n")
    desk = Desk()
    async with lied_to(liar, desk):
        await until(lambda: any(command.startswith("UID MOVE") for command in liar.commands))
    assert [scope["mailbox"]["uid"] for scope in desk.scopes] == [9]
    assert 'UID MOVE 9 "Processed"' in liar.commands


async def test_flags_may_stand_in_any_order() -> None:
    """The client library takes every ``* `` out of a line, also where it is a part of ``\\*``."""
    select = b"* 1 EXISTS\r\n* OK [PERMANENTFLAGS (\\Answered \\* \\Seen)] ok\r\n* OK [UIDVALIDITY 7] ok\r\n"
    liar = Liar(GREETING, SELECT=select, UID_SEARCH=b"* SEARCH\r\n", IDLE=b"!+ idling\r\n")
    async with lied_to(liar, on_accept="keyword Done") as reader:
        await until(lambda: reader.status.state == "ready")


async def test_folders_that_no_file_can_name_are_left_out() -> None:
    """With control characters, or with ``/`` where that is not the delimiter."""
    names = [b'"a* b"', b'"a&AAo-b"', b'"a/b"', b'"ok"']
    listed = b"".join(b'* LIST () "." ' + name + b"\r\n" for name in names)
    liar = Liar(GREETING, LIST=listed, STATUS=b'* STATUS "x" (UIDNEXT 1 UIDVALIDITY 7)\r\n', UID_SEARCH=b"* SEARCH\r\n")
    async with lied_to(liar, folders=("*",), poll=0.1) as reader:
        await until(lambda: reader.status.state == "ready" and "ok:" in reader.status.detail)
        assert reader.status.detail == "a* b: polled every 0.1 s; ok: polled every 0.1 s"


async def test_a_folder_that_is_moved_to_under_another_name_is_not_read() -> None:
    """Its messages would be handled, and answered, again and again."""
    liar = Liar(
        GREETING,
        CAPABILITY=b"* CAPABILITY IMAP4rev1 IDLE MOVE NAMESPACE\r\n",
        NAMESPACE=b'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n',
        UID_SEARCH=b"* SEARCH 9\r\n",
        UID_FETCH=_fetched(9),
    )
    desk = Desk()
    words = "folder INBOX.Processed is read, and messages are moved to it, as Processed"
    async with lied_to(liar, desk, folder="INBOX.Processed") as reader:
        await until(lambda: words in reader.status.detail)
    assert desk.scopes == []


async def test_what_was_copied_is_not_copied_again_after_the_connection_was_lost() -> None:
    """Without MOVE: a server that hangs up at the second of its commands would fill the folder with copies."""
    liar = Liar(
        GREETING,
        CAPABILITY=b"* CAPABILITY IMAP4rev1 IDLE UIDPLUS\r\n",
        UID_SEARCH=b"* SEARCH 9\r\n",
        UID_FETCH=_fetched(9),
        UID_STORE=b"!* BYE no\r\n",
    )
    desk = Desk()

    def sent(command: str) -> int:
        return sum(line.startswith(command) for line in liar.commands)

    async with lied_to(liar, desk, reconnect=0.05):
        await until(lambda: sent("UID STORE") == 3)
    assert len(desk.scopes) == 1
    assert sent("UID COPY") == 1


async def test_a_message_without_a_size_is_said(caplog: pytest.LogCaptureFixture) -> None:
    fetched = _fetched(9).replace(b"RFC822.SIZE 5 ", b"")
    liar = Liar(GREETING, UID_SEARCH=b"* SEARCH 9\r\n", UID_FETCH=fetched, IDLE=b"!+ idling\r\n")
    async with lied_to(liar):
        await until(lambda: "message 9 deferred (the server gives no size), next in 30 s" in caplog.text)
