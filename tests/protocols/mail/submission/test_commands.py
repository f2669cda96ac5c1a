"""What a mail asks of the server: parameters of MAIL and RCPT."""

from typing import Any

import pytest
from servers.submission import EHLO, peer, sending

from protocols.errors import LocalProtocolError, PermanentFailure
from protocols.events import checked
from protocols.mail.events import CHECKS
from protocols.mail.submission.commands import xtext

ASCII = b"From: gateway@x.org\r\nMessage-ID: <m+1@x.org>\r\n\r\nbody\r\n"
EVERYTHING = EHLO.replace("250 SIZE", "250-SMTPUTF8\r\n250-DSN\r\n250-PIPELINING\r\n250 SIZE")


async def said(message: bytes, *recipients: str, ehlo: str = EVERYTHING, **options: Any) -> list[str]:
    """MAIL and RCPT, as the server got them."""
    async with peer({"EHLO": ehlo}) as there, sending(f"smtp://{there.address}") as submission:
        await submission.submit(options.pop("sender", "me@x.org"), recipients or ["b@x.org"], message, **options)
    return [line for line in there.lines if line.startswith(("MAIL", "RCPT"))]


async def test_a_plain_mail() -> None:
    assert await said(ASCII) == [f"MAIL FROM:<me@x.org> SIZE={len(ASCII)}", "RCPT TO:<b@x.org>"]
    assert await said(ASCII, ehlo="250 peer.example") == ["MAIL FROM:<me@x.org>", "RCPT TO:<b@x.org>"]


async def test_8_bit_text_is_declared() -> None:
    message = ASCII + "Grüße\r\n".encode()
    assert (await said(message))[0] == f"MAIL FROM:<me@x.org> SIZE={len(message)} BODY=8BITMIME"


async def test_header_fields_in_utf_8_are_declared() -> None:
    message = "From: Jörg <g@x.org>\r\n".encode() + ASCII[ASCII.index(b"Message-ID") :]
    assert (await said(message))[0].endswith(" BODY=8BITMIME SMTPUTF8")
    latin = message.decode().encode("latin-1")
    assert (await said(latin))[0].endswith(" BODY=8BITMIME"), "what is not UTF-8 is not RFC 6532"


@pytest.mark.parametrize(("sender", "recipient"), [("jörg@x.org", "b@x.org"), ("me@x.org", "jörg@x.org")])
async def test_addresses_that_are_not_ascii(sender: str, recipient: str) -> None:
    assert (await said(ASCII, recipient, sender=sender))[0].endswith(" SMTPUTF8")
    with pytest.raises(PermanentFailure, match="not ASCII"):
        await said(ASCII, recipient, sender=sender, ehlo=EHLO)


async def test_notifications_are_asked_for_with_a_name_for_each_recipient() -> None:
    asked = {"notify": ["success", "failure"], "ret": "hdrs"}
    assert await said(ASCII, "b+c@x.org", "jö@x.org", dsn=asked) == [
        f"MAIL FROM:<me@x.org> SIZE={len(ASCII)} SMTPUTF8 RET=HDRS ENVID=m+2B1@x.org",
        "RCPT TO:<b+c@x.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bc@x.org",
        "RCPT TO:<jö@x.org> NOTIFY=SUCCESS,FAILURE",
    ]
    assert (await said(ASCII, dsn={"envid": "id=1"}))[0].endswith(" ENVID=id+3D1")
    assert await said(ASCII, dsn=asked, ehlo=EHLO) == await said(ASCII, ehlo=EHLO)


async def test_a_message_id_that_is_too_long_for_an_envelope_id_is_left_out() -> None:
    message = ASCII.replace(b"m+1", b"m" * 101)
    assert (await said(message, dsn={}))[0].endswith(f" SIZE={len(message)}")


def test_xtext() -> None:
    assert xtext("a b+c=é~!") == "a+20b+2Bc+3D+C3+A9~!"


@pytest.mark.parametrize("address", ["a@x.org\r\nRCPT TO:<evil@x.org", "a\0@x.org", "a\n@x.org"])
async def test_no_address_becomes_a_command(address: str) -> None:
    with pytest.raises(PermanentFailure, match="control character"):
        await said(ASCII, address)


@pytest.mark.parametrize(
    "dsn",
    [
        "never",
        {"x": 1},
        {"notify": []},
        {"notify": "never"},
        {"notify": ["never", "delay"]},
        {"notify": ["bounce"]},
        {"ret": "body"},
        {"envid": 5},
        {"envid": "a\nb"},
        {"envid": "é"},
    ],
)
def test_a_request_that_is_not_valid_is_an_error_at_the_handlers_line(dsn: Any) -> None:
    event = {"type": "email.send", "mail_from": "", "rcpt_to": ["b@x.org"], "message": ASCII, "dsn": dsn}
    with pytest.raises(LocalProtocolError, match="dsn"):
        checked(CHECKS, event)


def test_a_request_is_kept_as_plain_values() -> None:
    event = {"type": "email.send", "mail_from": "", "rcpt_to": ["b@x.org"], "message": ASCII}
    asked = {"notify": ("delay", "failure", "delay"), "ret": "full", "envid": None}
    assert checked(CHECKS, event | {"dsn": asked})["dsn"] == {"notify": ["delay", "failure"], "ret": "full"}
    assert "dsn" not in checked(CHECKS, event | {"dsn": None})
