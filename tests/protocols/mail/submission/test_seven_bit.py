"""A message for servers that have no 8BITMIME, or no SMTPUTF8: a person reads the same."""

import email
import email.policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.submission import EHLO, peer, sending

from protocols.errors import PermanentFailure
from protocols.mail.submission.seven_bit import seven_bit

OLD = EHLO.replace("250-8BITMIME\r\n", "")
MIXED = """\
From: Jörg Müller <jm@example.org>\r
To: ann@example.net,\r
 "Bäcker, Bob" <bob@example.net>\r
Subject: Grüße aus\r
 Köln\r
X-Plain: as it\r
\twas\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
Content-Transfer-Encoding: 8bit\r
\r
--b\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
Schöne Grüße\r
--b\r
Content-Type: text/plain\r
\r
plain   \r
--b\r
Content-Type: message/rfc822\r
\r
Subject: inner\r
Content-Type: text/plain; charset=latin-1\r
\r
é\r
--b--\r
"""


def read(message: bytes) -> Any:
    return email.message_from_bytes(message, policy=email.policy.default)


def test_fields_and_parts() -> None:
    made = seven_bit(MIXED.encode())
    assert made.isascii()
    assert b"X-Plain: as it\r\n\twas\r\n" in made
    assert b"\r\n\r\nplain   \r\n" in made
    message = read(made)
    assert message["From"].addresses[0].display_name == "Jörg Müller"
    assert [(each.display_name, each.addr_spec) for each in message["To"].addresses] == [
        ("", "ann@example.net"),
        ("Bäcker, Bob", "bob@example.net"),
    ]
    assert message["Subject"] == "Grüße aus Köln"
    first, second, third = message.iter_parts()
    assert (first.get_content(), second.get_content()) == ("Schöne Grüße", "plain   ")
    assert third.get_content().get_payload(decode=True).decode() == "é"


async def delivered(message: bytes, ehlo: str) -> bytes:
    async with peer({"EHLO": ehlo}) as there, sending(f"smtp://{there.address}") as submission:
        await submission.submit("jm@example.org", ["ann@example.net"], message)
    ((_, content),) = there.taken
    return content


async def test_what_leaves_depends_on_the_server() -> None:
    message = MIXED.encode()
    assert await delivered(message, EHLO.replace("250 SIZE", "250-SMTPUTF8\r\n250 SIZE")) == message
    assert (await delivered(message, OLD)).isascii()
    fields, body = message.split(b"\r\n\r\n", 1)
    for_8_bit = (await delivered(message, EHLO)).split(b"\r\n\r\n", 1)
    assert (for_8_bit[0].isascii(), for_8_bit[1]) == (True, body)
    assert not fields.isascii()


@pytest.mark.parametrize(
    "message",
    [
        "From: Jörg <jörg@example.org>\r\n\r\nhello\r\n",
        "From: a@x.org\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\né\r\n--b--\r\n",
    ],
)
async def test_what_has_no_such_form_is_refused_for_good(message: str) -> None:
    with pytest.raises(PermanentFailure, match=r"not ASCII|signed part"):
        await delivered(message.encode(), OLD)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_become_ascii_or_an_error_of_one_sentence(fields: bytes, body: bytes) -> None:
    message = b"Subject: x\r\n" + fields + b"\r\n\r\n" + body
    try:
        made = seven_bit(message)
    except UnicodeError:
        raise
    except ValueError:
        return
    assert made.isascii()
