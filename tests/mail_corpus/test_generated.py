"""The reader gives back what went into a mail, whatever its shape, and no damage to the bytes makes it raise."""

import datetime
import itertools
import random
import re
from typing import Any

import pytest
from corpus import mails as corpus_mails
from corpus import tidy
from generated import Written, mails
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tnef import tnef

from protocols.mail.message import InboundEmail

QUICK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@QUICK
@given(mails(), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_texts_files_and_subject_come_back(mail: Written, line_end: bytes) -> None:
    message = InboundEmail(mail.raw.replace(b"\r\n", line_end))
    assert message.subject == mail.subject
    assert tidy(message.text) == "\n\n".join(tidy(text) for text in mail.content.texts)
    assert [each.read() for each in message.attachments] == [data for _, data in mail.content.files]
    assert [each.size for each in message.attachments] == [len(data) for _, data in mail.content.files]
    assert not any(each.inline for each in message.attachments)


@QUICK
@given(mails())
def test_file_names_come_back_each_once(mail: Written) -> None:
    names = [each.filename for each in InboundEmail(mail.raw).attachments]
    wanted = [name for name, _ in mail.content.files]
    assert len({name.casefold() for name in names}) == len(names)
    first = {name.casefold(): number for number, name in reversed(list(enumerate(wanted)))}
    assert [names[number] for number in first.values()] == [wanted[number] for number in first.values()]


@QUICK
@given(
    st.lists(st.tuples(st.text("abz09éЖ世", min_size=1, max_size=20), st.binary(max_size=200)), max_size=4),
    st.sampled_from([1252, 1251, 65001]),
)
def test_files_in_winmail_dat_come_back(files: Any, code_page: int) -> None:
    raw = b"Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    message = InboundEmail(
        raw + tnef(body=b"Words", attachments=files, code_page=1252 if code_page == 65001 else code_page)
    )
    assert message.text.strip() == "Words"
    assert [each.read() for each in message.attachments] == [data for _, data in files]


def read_all(raw: bytes) -> InboundEmail:
    """Ask for everything that a handler may ask for."""
    message = InboundEmail(raw, mail_from="ada@example.org", rcpt_to=["support@shop.example"])
    text = [message.subject, message.text, message.html, message.reply_text, message.safe_html(), message.message_id]
    text += [
        message.kind,
        message.encrypted,
        message.signed,
        *message.defects,
        *message.references,
        *message.in_reply_to,
    ]
    addresses = [message.sender, *message.from_, *message.to, *message.cc, *message.reply_to]
    text += itertools.chain.from_iterable(
        (each, each.name, each.local, each.domain, each.formatted) for each in addresses
    )
    text += [each.filename for each in message.attachments] + [each.content_type for each in message.attachments]
    for each in message.attachments:
        assert len(each.read()) == each.size
        assert each.filename
        assert re.fullmatch(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", each.content_type)
        assert not set(each.filename) & set('/\\:\0\r\n"')
    for value in text:
        value.encode()  # no lone surrogates, and no NUL: each can be stored and shown
        assert "\0" not in value
    for value in (message.bounce, message.spam, message.calendar, dict(message.headers)):
        repr(value)
    times = [message.date, *(time for event in message.calendar for time in (event.start, event.end))]
    for time in times:
        if isinstance(time, datetime.datetime):
            time.astimezone(datetime.timezone(datetime.timedelta(hours=14)))
    assert message.raw == raw
    return message


PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"--",
    b"=",
    b"=?",
    b"?=",
    b'"',
    b"(",
    b"<",
    b"\x1b$B",
    b"\xff\xfe",
    b";",
    b"begin 644 a\n",
]


def mutated(raw: bytes, chance: random.Random, other: bytes) -> bytes:
    """Damage ``raw`` in a few places."""
    for _ in range(chance.randint(1, 6)):
        start, end = sorted(chance.choices(range(len(raw) + 1), k=2))
        end = min(end, start + chance.choice([1, 10, 1000]))
        piece = chance.choice(
            [b"", raw[start:end] * 2, chance.choice(PIECES), chance.randbytes(3), _cut(other, chance)]
        )
        raw = raw[:start] + piece + raw[end:]
    return raw


def _cut(raw: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.choices(range(len(raw) + 1), k=2))
    return raw[start:end]


CORPUS = corpus_mails()


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_mail_is_read_without_an_error(seed: int) -> None:
    chance = random.Random(seed)
    for mail in CORPUS:
        if len(mail.raw) < 20_000:
            raw = mutated(mail.raw, chance, chance.choice(CORPUS).raw)
            message = read_all(raw)
            assert len(message.text) <= 4 * len(raw) + 1000


@settings(QUICK, max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(raw: bytes) -> None:
    read_all(raw)


@settings(QUICK, max_examples=100)
@given(
    st.lists(
        st.sampled_from(
            [
                *PIECES,
                b"Content-Type: ",
                b"multipart/mixed; boundary=x",
                b"text/html",
                b"\r\n\r\n",
                b"\r\n--x\r\n",
                b"a",
                b":",
                b" ",
            ]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_any_pieces_of_mails_are_read_without_an_error(raw: bytes) -> None:
    read_all(raw)
