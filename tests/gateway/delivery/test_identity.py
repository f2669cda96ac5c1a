"""By what a message is known again."""

from typing import Any

import pytest

from gateway.delivery.identity import claim_key, order_key


def email(**keys: Any) -> dict[str, Any]:
    headers = [(b"message-id", b"<1@x>"), (b"date", b"today")]
    scope = {"type": "email", "listener": "mail", "mail_from": "a@x", "rcpt_to": ["b@y"], "mailbox": None}
    return scope | {"headers": headers} | keys


def sms(**keys: Any) -> dict[str, Any]:
    return {"type": "sms", "listener": "texts", "sender": "+44", "recipient": "+45", "message_id": "m1"} | keys


def body(text: bytes) -> list[Any]:
    return [{"type": "email.receive", "body": text, "more_body": False}]


TEXT: list[Any] = [{"type": "sms.receive", "text": "hi", "media": []}]
MAIL = body(b"Received: by us at 1\r\nMessage-ID: <1@x>\r\n\r\nhello")


@pytest.mark.parametrize(
    ("scope", "events"),
    [
        (email(), body(b"Received: by us at 2\r\nMessage-ID: <1@x>\r\n\r\nhello")),
        (email(received_at=5, client=("1.2.3.4", 5)), MAIL),
    ],
)
def test_a_repeated_mail_is_known_again(scope: Any, events: Any) -> None:
    assert claim_key(scope, events) == claim_key(email(), MAIL)


@pytest.mark.parametrize(
    ("scope", "events"),
    [
        (email(), body(b"Message-ID: <1@x>\r\n\r\nother")),
        (email(mail_from="c@x"), MAIL),
        (email(rcpt_to=["c@y"]), MAIL),
        (email(headers=[(b"message-id", b"<1@x>"), (b"date", b"tomorrow")]), MAIL),
        (email(mailbox={"folder": "INBOX", "uid": 1, "uidvalidity": 2}), MAIL),
    ],
)
def test_another_mail_with_the_same_message_id_is_another(scope: Any, events: Any) -> None:
    assert claim_key(scope, events) != claim_key(email(), MAIL)


def test_a_message_of_a_mailbox_is_its_place_in_it() -> None:
    place = {"folder": "INBOX", "uid": 1, "uidvalidity": 2}
    first = claim_key(email(mailbox=place), MAIL)
    assert first == claim_key(email(mailbox=dict(place)), body(b"x\r\n\r\nchanged headers"))
    assert first != claim_key(email(mailbox=place | {"uidvalidity": 3}), MAIL)
    assert first != claim_key(email(mailbox=place | {"uid": 2}), MAIL)
    assert first != claim_key(email(mailbox=place | {"folder": "Work"}), MAIL)


def test_the_same_place_in_another_account_s_mailbox_is_another_message() -> None:
    """The file names another account now: a message taken for one that is done would be moved away unhandled."""
    place = {"folder": "INBOX", "uid": 1, "uidvalidity": 1}
    other = email(mailbox=place, headers=[(b"message-id", b"<2@x>"), (b"date", b"today")])
    assert claim_key(email(mailbox=place), MAIL) != claim_key(other, MAIL)


def test_texts() -> None:
    status = [{"type": "sms.status", "status": "delivered"}]
    assert claim_key(sms(), TEXT) == claim_key(sms(sender="+46"), TEXT)
    assert len({claim_key(sms(), TEXT), claim_key(sms(message_id="m2"), TEXT), claim_key(sms(), status)}) == 3
    assert claim_key(sms(message_id=""), TEXT) is None
    assert claim_key({"type": "mqtt"}, []) is None


def test_what_keeps_its_order() -> None:
    assert order_key({"type": "mqtt"}, [{"topic": "a/b"}]) == "mqtt:a/b"
    assert order_key(email(), MAIL) == "email:a@x"
    assert order_key(sms(), TEXT) == "sms:+44"
