"""A mailbox on a real Dovecot: what is read, when it is marked, and what becomes of each verdict."""

import asyncio
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from imap_desk import Desk, RoutedDesk, mail, new_user, reading, settings
from servers.dovecot import FULL, PASSWORD, Dovecot, dovecot
from waiting import until

from protocols.mail.authentication.settings import AuthenticationSettings
from protocols.mail.imap import pending, session
from protocols.mail.imap.connection import IMAPConnection
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.waiting import LONGEST_IDLE


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def user() -> str:
    return new_user()


async def test_news_is_delivered_in_idle_and_moved_when_handled(server: Dovecot, user: str) -> None:
    desk = Desk()
    async with reading(desk, server, user) as reader:
        await until(lambda: reader.status.state == "ready")
        assert reader.status.detail == "INBOX, IDLE"
        sent = mail("first")
        server.append(sent, user=user)
        await until(lambda: server.count("Processed", user) == 1)
        assert desk.bodies == [sent]
        assert server.messages("INBOX", user) == []
        assert server.messages("Processed", user) == [sent]
        await until(lambda: reader.active() == {})  # once the answer to its MOVE is read, too
    assert reader.status.state == "stopped"
    scope = desk.scopes[0]
    assert scope["transport"] == "imap"
    assert scope["mail_from"] == "ann@example.net"
    assert scope["rcpt_to"] == ["support@example.org"]
    assert scope["mailbox"]["folder"] == "INBOX"
    assert scope["mailbox"]["uid"] == 1
    assert scope["mailbox"]["uidvalidity"] > 1_000_000_000
    assert scope["server"] == ("127.0.0.1", server.port)
    assert abs(scope["received_at"] - time.time()) < 3600
    assert scope["size"] == len(sent)


async def test_a_message_is_marked_only_after_its_handler(server: Dovecot, user: str) -> None:
    release = asyncio.Event()
    desk = Desk(quick=None, slow=release)
    server.append(mail("quick"), mail("slow"), mail("next"), user=user)
    async with reading(desk, server, user) as reader:
        await until(lambda: desk.subjects == ["quick", "slow"])
        await until(lambda: server.count("Processed", user) == 1)  # a slow handler does not keep its neighbour
        assert server.messages("INBOX", user) == [mail("slow"), mail("next")]
        assert reader.active() == {"email": 1}
        release.set()
        await until(lambda: server.count("Processed", user) == 3)
    assert desk.subjects == ["quick", "slow", "next"]
    assert [flags for flags in server.flags("Processed", user) if b"Seen" in flags] == []


async def test_what_is_measured_of_a_mailbox(server: Dovecot, user: str) -> None:
    release = asyncio.Event()
    server.append(mail("slow"), mail("next"), mail("later"), user=user)
    async with reading(Desk(slow=release, later=RuntimeError("not now")), server, user) as reader:
        started = reader.figures()["mailbox_checked_timestamp_seconds"]
        assert abs(time.time() - started) < 60
        await until(lambda: reader.figures()["mailbox_backlog_messages"] == 2)  # one is at its turn
        assert reader.figures()["mailbox_checked_timestamp_seconds"] > started
        release.set()
        await until(lambda: server.count("Processed", user) == 2)
        await until(lambda: reader.figures()["mailbox_backlog_messages"] == 0)
        figures = reader.figures()
        assert (figures["mailbox_folders"], figures["mailbox_folders_ready"]) == (1, 1)
        assert figures["mailbox_deferred_messages"] == 1


async def test_marks_do_not_wait_for_the_end_of_a_batch(server: Dovecot, user: str) -> None:
    """Handlers that are quick each, and many, must not leave a whole batch to be read again after a crash."""
    desk = Desk()

    async def unhurried(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.04)
        if len(desk.scopes) == 8:
            assert server.count("Processed", user) >= 4
        await desk(scope, receive, send)

    server.append(*[mail(str(number)) for number in range(10)], user=user)
    async with reading(unhurried, server, user):
        await until(lambda: server.count("Processed", user) == 10)


async def test_a_crash_keeps_the_message_which_is_tried_again_and_again(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pending, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(pending, "LONGEST_WAIT", 0.1)
    caplog.set_level(logging.INFO, logger="protocols.mail")
    desk = Desk(bad=RuntimeError("no"))
    server.append(mail("bad"), mail("good"), user=user)
    async with reading(desk, server, user):
        await until(lambda: desk.subjects.count("bad") > 5)
        assert server.messages("INBOX", user) == [mail("bad")]
        del desk.answers["bad"]  # the handler is mended
        await until(lambda: server.count("Processed", user) == 2)
    assert desk.subjects[:2] == ["bad", "good"], "one bad message never blocks the next"
    assert desk.subjects.count("good") == 1
    assert server.count("INBOX", user) == 0
    assert "support INBOX: message 1 deferred, next in 0.05 s" in caplog.text
    for number in (1, 2):
        assert re.search(rf"support INBOX: message {number} accepted, \d+ ms; move Processed", caplog.text)


async def test_until_its_next_attempt_a_failed_message_stays_untouched(server: Dovecot, user: str) -> None:
    desk = Desk(bad=RuntimeError("no"))
    server.append(mail("bad"), user=user)
    async with reading(desk, server, user):
        await until(lambda: len(desk.scopes) == 1)
        server.append(mail("good"), user=user)
        await until(lambda: server.count("Processed", user) == 1)
        assert server.messages("INBOX", user) == [mail("bad")]
        assert server.flags("INBOX", user) == [b"1 (FLAGS ())"]
    assert desk.subjects == ["bad", "good"]


@pytest.mark.parametrize("wish", [0.05, -1, 0])
async def test_a_deferred_message_is_tried_again_when_the_handler_wished_and_as_often(
    server: Dovecot, user: str, wish: float
) -> None:
    desk = Desk(later={"type": "email.defer", "retry_after": wish})
    server.append(mail("later"), user=user)
    async with reading(desk, server, user):
        await until(lambda: len(desk.scopes) > 3)
    assert server.count("INBOX", user) == 1


@pytest.mark.parametrize("missing", ["", "IDLE"])
async def test_what_is_due_ends_the_waiting(user: str, missing: str) -> None:
    """Neither an IDLE of nine minutes nor an hour between two looks is waited out."""
    with dovecot(capability=FULL.replace(missing, "")) as other:
        desk = Desk(later={"type": "email.defer", "retry_after": 1})
        other.append(mail("later"), user=user)
        async with reading(desk, other, user, poll=3600) as reader:
            await until(lambda: len(desk.scopes) == 3)
            assert reader.status.detail == ("INBOX, polled every 3600 s" if missing else "INBOX, IDLE")


@pytest.mark.parametrize("wish", ["soon", float("nan")])
async def test_a_wish_that_is_no_number_is_a_crash_and_an_ordinary_deferral(
    server: Dovecot, user: str, caplog: pytest.LogCaptureFixture, wish: object
) -> None:
    desk = Desk(later={"type": "email.defer", "retry_after": wish})
    server.append(mail("later"), mail("good"), user=user)
    async with reading(desk, server, user):
        await until(lambda: server.count("Processed", user) == 1)
    assert server.messages("INBOX", user) == [mail("later")]
    assert "message 1 deferred, next in 30 s" in caplog.text


async def test_a_rejected_message_is_moved(server: Dovecot, user: str) -> None:
    desk = Desk(spam={"type": "email.reject", "reason": "no"})
    server.append(mail("spam"), mail("good"), user=user)
    async with reading(desk, server, user):
        await until(lambda: server.count("Rejected", user) == 1)
        await until(lambda: server.count("Processed", user) == 1)
    assert server.messages("Rejected", user) == [mail("spam")]


async def test_a_handler_that_hangs_is_cancelled_and_its_message_kept(server: Dovecot, user: str) -> None:
    desk = Desk(slow=asyncio.Event())
    server.append(mail("slow"), mail("good"), user=user)
    async with reading(desk, server, user, handler_timeout=0.2):
        await until(lambda: server.count("Processed", user) == 1)
    assert desk.subjects == ["slow", "good"]
    assert server.messages("INBOX", user) == [mail("slow")]


@pytest.mark.parametrize(
    ("mark", "left", "flag"), [("seen", 1, b"\\Seen"), ("keyword $Handled", 1, b"$Handled"), ("delete", 0, b"")]
)
async def test_other_marks(server: Dovecot, user: str, mark: str, left: int, flag: bytes) -> None:
    desk = Desk()
    server.append(mail("one"), user=user)
    for number in (1, 2):  # the second reader finds nothing to do
        async with reading(desk, server, user, on_accept=mark) as reader:
            await until(lambda: reader.status.state == "ready" and not reader.active())
            await until(lambda: len(desk.scopes) == 1)
        assert server.count("INBOX", user) == left, number
        assert all(flag in line for line in server.flags("INBOX", user))
    assert len(desk.scopes) == 1


async def test_folders_may_have_any_name(server: Dovecot, user: str) -> None:
    server.append(mail("one"), user=user)
    async with reading(Desk(), server, user, on_accept='move Späm & "Ham"'):
        await until(lambda: server.count("INBOX", user) == 0)
    assert server.count('Sp&AOQ-m &- \\"Ham\\"', user) == 1


async def test_what_no_route_takes_is_left_and_looked_at_once(server: Dovecot, user: str) -> None:
    desk = RoutedDesk("support@example.org")
    server.append(mail("private", to="ann@example.org"), mail("ticket"), user=user)
    async with reading(desk, server, user) as reader:
        asked: list[Any] = []
        [folder_reader] = reader._readers
        deliver = folder_reader._deliver
        folder_reader._deliver = lambda message, *more: asked.append(message.uid) or deliver(message, *more)
        await until(lambda: server.count("Processed", user) == 1)
        server.append(mail("ticket two"), user=user)
        await until(lambda: server.count("Processed", user) == 2)
    assert asked == [1, 2, 3]
    assert desk.subjects == ["ticket", "ticket two"]
    assert server.messages("INBOX", user) == [mail("private", to="ann@example.org")]
    assert server.flags("INBOX", user) == [b"1 (FLAGS ())"]


async def test_what_no_route_takes_may_be_moved(server: Dovecot, user: str) -> None:
    server.append(mail("private", to="ann@example.org"), user=user)
    async with reading(RoutedDesk("support@example.org"), server, user, on_unrouted="move Unrouted"):
        await until(lambda: server.count("Unrouted", user) == 1)


async def test_the_recipients_are_those_that_a_route_takes(server: Dovecot, user: str) -> None:
    desk = RoutedDesk("help@example.org", "support@example.org", user)
    named = b"Delivered-To: other@example.org\r\n" + mail("one", to="x@example.org, help@example.org")
    server.append(named, b"Subject: two\r\n\r\n", user=user)
    async with reading(desk, server, user):
        await until(lambda: server.count("Processed", user) == 2)
    assert [scope["rcpt_to"] for scope in desk.scopes] == [["help@example.org"], [user]]


async def test_a_message_over_the_limit_is_set_aside_unread(
    server: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    big, small = mail("big", body="x" * 9000), mail("small")
    server.append(big, small, small, small, user=user)
    async with reading(desk, server, user, max_message=2 * len(small)):
        await until(lambda: server.count("Processed", user) == 3)
        await until(lambda: server.count("Rejected", user) == 1)
    assert desk.bodies == [small] * 3
    told = f"support INBOX: message 1 has {len(big)} bytes, the limit is {2 * len(small)}; move Rejected"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [told]


BROKEN = [
    b"\r\n",
    b"no header at all",
    b"\x00\xff\xfe" * 50 + b"\r\n\r\nbody",
    b"Subject: x" + b"\r\n y" * 3000 + b"\r\n\r\n",
    b"Message-ID: <a@[\r\nFrom: =?utf-8?q?a=0D=0A..?=\r\n\r\n",
    b"To: " + b"(" * 3000 + b"\r\nFrom: " + b"<" * 3000 + b"\r\n\r\n",
    b"From: a@b@c\r\nTo: @, <>, ;;,\r\nReturn-Path: x\r\nReceived: for for <\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\nContent-Type: multipart/mixed\r\n\r\n" * 900,
    b"Subject: )\r\n\r\n)\r\nA1 OK done\r\n* 1 EXPUNGE\r\n* BYE\r\n+ go on\r\n{99999999}\r\n",
    b"To: " + b"a@example.org, " * 20000 + b"\r\n\r\n",
]


async def test_mail_whose_headers_break_parsers_is_delivered(
    server: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    server.append(*BROKEN, user=user)
    async with reading(desk, server, user):
        await until(lambda: server.count("Processed", user) == len(BROKEN))
    assert [len(body) for body in desk.bodies] == [len(raw) for raw in server.messages("Processed", user)]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_fifteen_hundred_messages(server: Dovecot, user: str) -> None:
    """The client library's own parser gives up at a thousand lines in one answer."""
    desk = RoutedDesk("support@example.org")
    server.append(*[mail(str(number), to="ann@example.org") for number in range(1500)], mail("ticket"), user=user)
    async with reading(desk, server, user) as reader:
        await until(lambda: server.count("Processed", user) == 1)
        connected = reader.status
        with server.program(user) as program:  # fifteen hundred EXPUNGE lines for the reader
            program.select("INBOX")
            program.store("1:*", "+FLAGS.SILENT", "\\Deleted")
            program.expunge()
        server.append(*[mail(str(number)) for number in range(30)], user=user)
        await until(lambda: server.count("Processed", user) == 31)
        assert reader.status is connected, "the connection was lost"
    assert desk.subjects == ["ticket", *map(str, range(30))]


async def test_order_is_the_order_of_arrival_over_many_batches(server: Dovecot, user: str) -> None:
    desk = Desk()
    server.append(*[mail(str(number)) for number in range(120)], user=user)
    async with reading(desk, server, user):
        await until(lambda: server.count("Processed", user) == 120)
    assert desk.subjects == [str(number) for number in range(120)]


async def test_a_folder_that_is_made_anew_has_new_messages(server: Dovecot, user: str) -> None:
    desk = Desk(later={"type": "email.defer", "retry_after": 3600})
    with server.program(user) as program:
        program.create("Work")
    server.append(mail("later"), user=user, folder="Work")
    async with reading(desk, server, user, folder="Work", retry_refused=0.1):
        await until(lambda: desk.subjects == ["later"])
        await asyncio.sleep(1.1)  # UIDVALIDITY is a time in seconds
        with server.program(user) as program:
            program.delete("Work")
            program.create("Work")
        server.append(mail("new"), user=user, folder="Work")
        server.kick(user)  # Dovecot itself notices at the end of the IDLE
        await until(lambda: desk.subjects == ["later", "new"])
        await until(lambda: server.count("Processed", user) == 1)
    first, second = (scope["mailbox"] for scope in desk.scopes)
    assert first["uid"] == second["uid"] == 1
    assert first["uidvalidity"] != second["uidvalidity"]


async def test_stop_waits_for_the_handler_and_its_mark_and_begins_nothing_new(server: Dovecot, user: str) -> None:
    release = asyncio.Event()
    desk = Desk(slow=release)
    server.append(mail("slow"), mail("next"), user=user)
    reader = IMAPReader(desk, settings(server, user), state={})
    await reader.start()
    await until(lambda: desk.subjects == ["slow"])
    stopping = asyncio.ensure_future(reader.stop(10))
    await asyncio.sleep(0.2)
    assert reader.status.state == "draining"
    release.set()
    await stopping
    assert server.messages("Processed", user) == [mail("slow")]
    assert server.messages("INBOX", user) == [mail("next")]


async def test_a_reader_that_stops_says_goodbye(server: Dovecot, user: str) -> None:
    async with reading(Desk(), server, user) as reader:
        await until(lambda: reader.status.state == "ready" and not reader.active())
        await asyncio.sleep(0.1)
    pattern = rf"imap\({re.escape(user)}\).*Logged out"
    await until(lambda: re.search(pattern, (server.root / "log").read_text()))


KILLED = """
import asyncio, sys
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

async def app(scope, receive, send):
    print("handling", flush=True)
    await asyncio.sleep(1000)

async def main():
    port, user, password = sys.argv[1:]
    settings = IMAPSettings(host="127.0.0.1", port=int(port), tls=False, username=user, password=Secret(password))
    async with IMAPReader(app, settings, state={}):
        await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.fault
async def test_a_message_whose_reader_was_killed_is_read_again(server: Dovecot, user: str) -> None:
    server.append(mail("one"), user=user)
    arguments = [sys.executable, "-c", KILLED, str(server.port), user, PASSWORD]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"handling\n"
    process.kill()
    await process.wait()
    assert server.messages("INBOX", user) == [mail("one")]
    desk = Desk()
    async with reading(desk, server, user):
        await until(lambda: server.count("Processed", user) == 1)
    assert desk.bodies == [mail("one")]


def test_idle_is_renewed_before_servers_cut_it() -> None:
    assert LONGEST_IDLE <= 540


async def test_of_a_long_folder_the_first_messages_are_handled_before_all_are_listed(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MANY", 20)
    monkeypatch.setattr(session, "FIRST", 10)
    searches: list[str] = []
    search = IMAPConnection.search

    async def noted(self: IMAPConnection, criteria: str) -> list[int]:
        searches.append(f"{len(desk.scopes)}: {criteria}")
        return await search(self, criteria)

    monkeypatch.setattr(IMAPConnection, "search", noted)
    desk = Desk()
    server.append(*[mail(str(number)) for number in range(30)], user=user)
    async with reading(desk, server, user):
        await until(lambda: server.count("Processed", user) == 30)
    assert searches[:2] == ["0: 1:10 UNDELETED", "10: UNDELETED"]
    assert desk.subjects == [str(number) for number in range(30)]


async def test_a_long_folder_says_how_far_it_is(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "BATCH", 10)
    monkeypatch.setattr(session, "PROGRESS", 0.0)
    caplog.set_level(logging.INFO, "protocols.mail.imap.session")
    server.append(*[mail(str(number)) for number in range(25)], user=user)
    async with reading(Desk(), server, user):
        await until(lambda: server.count("Processed", user) == 25)
    said = [record.getMessage() for record in caplog.records if "messages done" in record.getMessage()]
    assert [line.partition(": ")[2] for line in said] == ["10 of 25 messages done", "20 of 25 messages done"]


async def test_the_results_of_the_mailbox_s_own_server_are_in_the_scope(server: Dovecot, user: str) -> None:
    results = b"Authentication-Results: mx.example.org; dmarc=pass header.from=example.net\r\n"
    server.append(results + mail("one"), user=user)
    desk = Desk()
    async with reading(desk, server, user, authentication=AuthenticationSettings(trust="mx.example.org")):
        await until(lambda: len(desk.scopes) == 1)
    assert desk.scopes[0]["authentication"]["dmarc"] == "pass"
