"""Keys that identify a repeated message."""

import asyncio
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_guard import deliver

from gateway import AsyncEmailConsumer, Policy
from gateway.delivery.deduplication import Identity
from gateway.delivery.guard import Guard
from gateway.scope_kinds import scope_kinds
from gateway.scopes.email.identity import MAIL_WINDOW, identity_of
from gateway.scopes.sms.delivery import SMSDelivery
from gateway.store.sqlite import SQLiteStore
from protocols.mail.scope import email_scope
from protocols.mail.smtp.server import SMTPServer, SMTPSettings

NOW = 1_800_000_000.0
OWN = b"Received: from ann ([127.0.0.1])\r\n\tby us with ESMTP id %s;\r\n\t%s\r\n"
LETTER = b"Message-ID: <1@x>\r\nDate: %s\r\nSubject: hi\r\n\r\nhello" % formatdate(NOW).encode()
PLACE = {"account": "support", "folder": "INBOX", "uid": 1, "uidvalidity": 2}


def mail(letter: bytes = LETTER, *, event: str = "e1", at: float = NOW, **keys: Any) -> Identity:
    """As our server hands it on, with a trace header of its own."""
    body = OWN % (event.encode(), formatdate(at).encode()) + letter
    return identity_of(_scope(body, event, at) | keys, _events(body))


def _scope(body: bytes, event: str, at: float) -> Any:
    return email_scope(
        body,
        transport="smtp",
        listener="mail",
        mail_from="a@x",
        rcpt_to=["b@y"],
        received_at=at,
        state={},
        event=event,
    )


def _events(body: bytes) -> list[Any]:
    return [{"type": "email.receive", "body": body, "more_body": False}]


def text(message_id: str = "m1", said: str = "hi", **keys: Any) -> Identity:
    scope = {"type": "sms", "listener": "texts", "sender": "+44", "recipient": "+45", "message_id": message_id}
    return SMSDelivery().identity(scope | keys, [{"type": "sms.receive", "text": said, "media": []}])


def test_a_repeated_mail_is_known_again() -> None:
    assert mail().key
    assert mail(event="e2", at=NOW + 3600, client=("1.2.3.4", 5)) == mail()
    assert mail(rcpt_to=["b@y", "c@y"]) == mail(rcpt_to=["c@y", "b@y"])
    assert mail().window == MAIL_WINDOW


@pytest.mark.parametrize(
    "letter",
    [
        LETTER + b" ",
        LETTER.replace(b"hello", b"hallo"),
        LETTER.replace(b"Subject: hi", b"Subject: hi\r\nX-Priority: 1"),
        LETTER.replace(b"<1@x>", b"<2@x>"),
        b"Received: from a relay\r\n" + LETTER,
        b"\tid e1;\r\n" + LETTER,  # a folded line, which follows on our own header
    ],
)
def test_what_differs_in_a_byte_is_another_mail(letter: bytes) -> None:
    assert mail(letter).key != mail().key or not mail(letter).key


def test_what_differs_in_its_envelope_is_another_mail() -> None:
    others = [mail(mail_from="c@x"), mail(rcpt_to=["c@y"]), mail(rcpt_to=["b@y", "c@y"]), mail(mailbox=PLACE)]
    assert len({each.key for each in [*others, mail()]}) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Message-ID", ""),
        ("Message-ID", "<>"),
        ("Message-ID", " < > "),
        ("Message-ID", "<@>"),
        ("Date", ""),
        ("Date", "today"),
        ("Date", "Thu, 1 Jan 1970 00:00:00 +0000"),
        ("Date", formatdate(NOW - 8 * 86400)),
        ("Date", formatdate(NOW + 2 * 86400)),
        ("Date", "Thu, 99 Jan 99999999999 99:99:99 +9999"),
        ("Date", "\xff" * 5000),
    ],
)
def test_a_mail_without_both_has_no_identity(name: str, value: str) -> None:
    fields = {"Message-ID": "<1@x>", "Date": formatdate(NOW), name: value}
    letter = "".join(f"{field}: {said}\r\n" for field, said in fields.items()).encode("latin-1") + b"\r\nhello"
    assert (mail(letter).key, mail(letter).failed_as != "") == ("", True)
    without = letter.replace(f"{name}: {value}\r\n".encode("latin-1"), b"")
    assert mail(without).key == ""


def test_a_message_of_a_mailbox_is_its_place_and_its_content() -> None:
    """Where the file names another account now, or a server gives every mailbox one UIDVALIDITY, another mail is in
    the same place: taken for one that is done it would be moved away unhandled."""
    first = mail(mailbox=PLACE)
    assert first.key == mail(mailbox=dict(PLACE)).key
    assert mail(LETTER.replace(b"hello", b"motion"), mailbox=PLACE).key != first.key
    for change in ({"uidvalidity": 3}, {"uid": 2}, {"folder": "Work"}):
        assert mail(mailbox=PLACE | change).key != first.key
        assert mail(mailbox=PLACE | change).failed_as != first.failed_as


def test_a_message_of_a_mailbox_that_failed_is_its_place_alone() -> None:
    """A server that gives other bytes the next time does not keep it from being counted out."""
    assert mail(b"Subject: hi\r\n\r\n", mailbox=PLACE).failed_as == mail(mailbox=PLACE).failed_as != ""


def test_texts() -> None:
    assert text() == text(fields={"ErrorCode": "1"}, segments=2)
    others = [text(said="ho"), text("m2"), text(sender="+46"), text(recipient="+46"), text(listener="more")]
    assert len({each.key for each in [*others, text()]}) == 6
    assert text("").key == text(" ").key == ""
    scope = {"type": "sms", "listener": "t", "sender": "+44", "recipient": "+45", "message_id": "m1"}
    receipts = [
        SMSDelivery().identity(scope, [{"type": "sms.status", "message_id": "m1", "status": status, "error": None}])
        for status in ("sent", "delivered", "sent")
    ]
    assert receipts[0] == receipts[2]
    assert receipts[0] != receipts[1]


def test_what_keeps_its_order() -> None:
    kinds = scope_kinds()
    assert kinds["mqtt"].delivery.order_key({}, [{"topic": "a/b"}]) == "mqtt:a/b"
    assert kinds["email"].delivery.order_key({"mail_from": "a@x"}, []) == "email:a@x"
    assert kinds["sms"].delivery.order_key({"sender": "+44"}, []) == "sms:+44"


# Two messages that differ anywhere are never one; the same delivery always is.

LETTERS = st.builds(
    lambda fields, body: b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\n" + body,
    st.lists(
        st.tuples(
            st.sampled_from([b"Message-ID", b"Date", b"Received", b"Subject", b"X"]),
            st.sampled_from([b"<1@x>", b"<2@x>", b"<>", formatdate(NOW).encode(), b"from a by b id e1;", b""]),
        ),
        max_size=5,
    ),
    st.binary(max_size=3),
)
LINES = st.lists(st.sampled_from([b"", b" ", b"\tid e1;", b"Received: from x", b"hello"]), max_size=4)
ANY = LETTERS | LINES.map(b"\r\n".join)
ENVELOPES = st.fixed_dictionaries(
    {
        "mail_from": st.sampled_from(["a@x", "b@x", ""]),
        "rcpt_to": st.lists(st.sampled_from(["a@y", "b@y", "a@y, b@y"]), min_size=1, unique=True),
        "mailbox": st.sampled_from([None, None, PLACE, PLACE | {"uid": 2}]),
    }
)


@settings(max_examples=300, deadline=None)
@given(one=ANY, other=ANY, first=ENVELOPES, second=ENVELOPES)
def test_two_mails_are_one_only_where_all_is_the_same(one: bytes, other: bytes, first: Any, second: Any) -> None:
    same = one == other and _envelope(first) == _envelope(second)
    left, right = mail(one, event="e1", **first), mail(other, event="e2", at=NOW + 60, **second)
    if left.key and right.key:
        assert (left.key == right.key) == same
    elif same:
        assert left == right


def _envelope(envelope: Any) -> Any:
    if envelope["mailbox"]:  # there the sender is what the header says
        return {**envelope, "mail_from": ""}
    return {**envelope, "rcpt_to": sorted(envelope["rcpt_to"])}


@settings(max_examples=200, deadline=None)
@given(one=st.tuples(*[st.text(max_size=2)] * 4), other=st.tuples(*[st.text(max_size=2)] * 4), twice=st.booleans())
def test_two_texts_are_one_only_where_all_is_the_same(one: Any, other: Any, twice: bool) -> None:
    other = one if twice else other
    left, right = (text(each[0], each[1], sender=each[2], recipient=each[3]) for each in (one, other))
    if left.key and right.key:
        assert (left.key == right.key) == (one == other)


# On a real server.


class Notes(AsyncEmailConsumer):
    attempts: list[int] = []
    failing = False

    async def receive(self, message: Any) -> None:
        self.attempts.append(self.scope["extensions"]["delivery"]["attempt"])
        if self.failing:
            raise RuntimeError("not now")


@pytest.fixture(autouse=True)
def _anew() -> None:
    Notes.attempts.clear()
    Notes.failing = False


def camera() -> Any:
    """A device, cron or a script: no Message-ID and no Date."""
    return deliver(*_camera())


def _camera(policy: Policy = Policy(attempts=3)) -> tuple[Any, Any, Any]:  # noqa: B008 -- it is frozen
    body = b"From: cam@x\r\nSubject: Motion detected\r\n\r\nlook\r\n"
    _camera_events.append(f"c{len(_camera_events)}")
    scope = _scope(body, _camera_events[-1], NOW)
    return Guard(Notes.as_asgi(), policy, "label"), scope, _events(body)


_camera_events: list[str] = []


async def test_each_mail_of_a_camera_is_a_message_of_its_own(store: SQLiteStore) -> None:
    for _ in range(3):
        assert await camera() == [{"type": "email.accept"}]
    assert await asyncio.gather(*(camera() for _ in range(3))) == [[{"type": "email.accept"}]] * 3
    assert Notes.attempts == [1] * 6


async def test_in_the_inbox_too(store: SQLiteStore) -> None:
    for _ in range(3):
        assert await deliver(*_camera(Policy(inbox=True))) == [{"type": "email.accept"}]
    assert (await store.counts()).waiting == 3


async def test_what_fails_and_has_no_identity_is_counted_out_all_the_same(store: SQLiteStore) -> None:
    Notes.failing = True
    answers = [(await camera())[0]["type"] for _ in range(7)]
    assert answers == ["email.defer", "email.defer", "email.accept"] * 2 + ["email.defer"]
    assert Notes.attempts == [1, 2, 3, 1, 2, 3, 1]
    assert (await store.counts()).dead == 2


async def test_two_at_once_that_fail_are_two_with_two_counts(store: SQLiteStore) -> None:
    Notes.failing = True
    for attempt in (1, 2, 3):
        await asyncio.gather(camera(), camera())
        assert Notes.attempts[-2:] == [attempt] * 2
    assert (await store.counts()).dead == 2


async def test_three_mails_that_say_the_same_over_a_socket(store: SQLiteStore) -> None:
    """And one with an identity, three times."""
    app = Guard(Notes.as_asgi(), Policy(attempts=3), "label")
    known = b"Message-ID: <1@x>\r\nDate: %s\r\n" % formatdate().encode()
    async with SMTPServer(app, SMTPSettings(bind="127.0.0.1:0"), state={}) as server:
        for head in (b"", known):
            for _ in range(3):
                await asyncio.to_thread(_send, server.address, head + b"Subject: Motion detected\r\n\r\nlook\r\n")
    assert Notes.attempts == [1] * 4


def _send(address: str, letter: bytes) -> None:
    import smtplib

    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=10) as client:
        client.sendmail("cam@example.com", ["help@example.org"], letter)
