"""A mail from plain values: whatever they are, it is refused with a sentence, or it leaves valid, as it was meant."""

import contextlib
import email
import io
import re
import tracemalloc
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.mail.compose import Draft, compose
from protocols.mail.compose.content import message_part
from protocols.mail.events import send

ANN = "ann@example.org"


def made(**values: Any) -> EmailMessage:
    return read(compose(Draft(**{"from_": "desk@example.org", "to": ANN} | values)).message)


def read(message: bytes) -> EmailMessage:
    """Strictly: CRLF alone, ASCII, short lines, each field once, and no defect that the standard library finds."""
    assert message.isascii()
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert b"\0" not in message
    head = message.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert re.match(rb"[!-9;-~]+:|[ \t]+\S", line), line
    parsed = email.message_from_bytes(message, policy=default)
    assert isinstance(parsed, EmailMessage)
    for part in parsed.walk():
        assert part.defects == [] == [defect for _, value in part.items() for defect in value.defects]
        assert len(set(map(str.lower, part.keys()))) == len(part.keys())
    return parsed


def text(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_text_alone_is_one_part() -> None:
    mail = made(subject="Hello", text="Good morning\n.\nFrom here")
    assert mail.get_content_type() == "text/plain"
    assert mail["Content-Transfer-Encoding"] == "7bit"
    assert text(mail) == "Good morning\n.\nFrom here\n"


@pytest.mark.parametrize(
    ("said", "encoding"),
    [
        ("Grüße aus der alten Stadt, " * 20, "quoted-printable"),
        ("ありがとう", "base64"),
        ("x" * 999, "quoted-printable"),
        (" \t\n. ", "7bit"),
    ],
)
def test_a_text_leaves_in_seven_bits_and_short_lines(said: str, encoding: str) -> None:
    mail = made(text=said)
    assert mail["Content-Transfer-Encoding"] == encoding
    assert text(mail) == f"{said}\n"


def test_html_stands_beside_its_text_and_shows_its_images() -> None:
    mail = made(
        text="Hello",
        html='<img src="cid:logo"><img src="cid:logo2">',
        inline={"logo": b"\x89PNG....", "logo2": ("b.gif", b"GIF89a")},
        attachments=[("a.txt", "Grüße")],
    )
    shape = [part.get_content_type() for part in mail.walk()]
    assert shape == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "image/gif",
        "text/plain",
    ]
    parts = list(mail.walk())
    assert text(parts[4]) == '<img src="cid:logo@example.org"><img src="cid:logo2@example.org">\n'
    assert [part["Content-ID"] for part in parts[5:7]] == ["<logo@example.org>", "<logo2@example.org>"]
    assert parts[7].get_content() == "Grüße"


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<style>p {}</style><p>Hello <b>Ann</b></p><ul><li>one</ul>", "Hello Ann\n\n- one\n"),
        ("<img src=x>", None),
        ("<div>" * 600 + "deep", None),
    ],
)
def test_html_alone_gets_the_text_that_a_person_sees(html: str, said: str | None) -> None:
    mail = made(html=html)
    parts = {part.get_content_type(): part for part in mail.walk()}
    assert text(parts["text/html"]) == f"{html}\n"
    assert (text(parts["text/plain"]) if "text/plain" in parts else None) == said


class Stored:
    """A file of Django's storage: closed until it is opened, and it has a name with folders."""

    name = "tickets/2026/Rechnung ä.pdf"
    closed = True

    def open(self) -> "Stored":
        self._file = io.BytesIO(b"stored")
        self.closed = False
        return self

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self.closed = True


class Received:
    """An attachment of a received mail."""

    filename = "photo.jpg"
    content_type = "image/jpeg"

    def open(self) -> io.BytesIO:
        return io.BytesIO(b"received")


def test_attachments_come_in_many_forms(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"path")
    (tmp_path / "notes.txt").write_text("opened")
    part = EmailMessage()
    part.set_content(b"part", "application", "zip", filename="part.zip")
    stored = Stored()
    with (tmp_path / "notes.txt").open() as opened:
        opened.read()  # it is sent from its beginning all the same
        mail = made(
            attachments=[
                tmp_path / "report.pdf",
                ("two.bin", b"two"),
                ("three.csv", "a;b", "text/csv"),
                (None, io.BytesIO(b"four"), "image/png"),
                opened,
                stored,
                Received(),
                part,
            ]
        )
    found = [
        (each.get_filename(), each.get_content_type(), each.get_payload(decode=True))
        for each in mail.iter_attachments()
    ]
    assert found == [
        ("report.pdf", "application/pdf", b"path"),
        ("two.bin", "application/octet-stream", b"two"),
        ("three.csv", "text/csv", b"a;b"),
        ("image.png", "image/png", b"four"),
        ("notes.txt", "text/plain", b"opened"),
        ("Rechnung ä.pdf", "application/pdf", b"stored"),
        ("photo.jpg", "image/jpeg", b"received"),
        ("part.zip", "application/zip", b"part"),
    ]
    assert stored.closed


@pytest.mark.parametrize("wrong", [b"bytes alone", "a path as text", 7, None, ("a", None), ("a", 7), ("a",), object()])
def test_what_is_no_attachment_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="; write"):
        made(attachments=[wrong])


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.doc", "a.doc"),
        ('a"b\r\nX-Evil: 1.txt', "a_bX-Evil_ 1.txt"),
        ("exe\u202efdp.exe", "exefdp.exe"),
        ("", "attachment.bin"),
        ("/", "attachment.bin"),
    ],
)
def test_the_names_of_files_are_safe(name: str, sent: str) -> None:
    [attached] = made(attachments=[(name, b"x", "application/octet-stream")]).iter_attachments()
    assert attached.get_filename() == sent


def test_a_long_name_keeps_its_suffix() -> None:
    [attached] = made(attachments=[("ü" * 300 + ".pdf", b"x")]).iter_attachments()
    name = attached.get_filename()
    assert name is not None
    assert name.endswith("ü.pdf")
    assert len(name.encode()) <= 200


def test_everybody_is_in_the_envelope_once_and_bcc_in_no_field() -> None:
    mail = compose(
        Draft(
            from_="Desk <desk@example.org>",
            to=["Ann Lee <ann@example.org>", "ANN@example.org"],
            cc="bob@example.org",
            bcc=["eve@example.org", "bob@example.org"],
            text="x",
        )
    )
    assert mail.rcpt_to == ["ann@example.org", "bob@example.org", "eve@example.org"]
    parsed = read(mail.message)
    assert (str(parsed["To"]), str(parsed["Cc"]), parsed["Bcc"]) == (
        "Ann Lee <ann@example.org>",
        "bob@example.org",
        None,
    )
    assert b"eve" not in mail.message


def test_a_mail_to_bcc_alone_has_a_field_that_says_so() -> None:
    assert made(to=(), bcc=ANN)["To"].addresses == ()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"to": ()}, "no recipient"),
        ({"to": "ann"}, "'ann' is not a mail address: there is no @ in it"),
        ({"to": "ann@x.org, bob@x.org"}, "is not a mail address"),
        ({"to": "ann@x.org\r\nBcc: eve@x.org"}, "is not a mail address"),
        ({"to": "a\nb <ann@x.org>\r\nBcc: <eve@x.org"}, "is not a mail address"),
        ({"reply_to": ["ok@x.org", "<>"]}, "is not a mail address"),
        ({"from_": ""}, "is not a mail address"),
        ({"headers": {"Subject": "x"}}, "write subject="),
        ({"headers": {"bcc": "eve@x.org"}}, "write bcc="),
        ({"headers": {"Content-Type": "text/html"}}, "write text=, html= or attachments="),
        ({"headers": {"X-A: b\r\nBcc": "eve@x.org"}}, "is not the name of a header field"),
        ({"headers": {"": "x"}}, "is not the name of a header field"),
        ({"html": "x", "inline": {"a b": b"x"}}, "is not a name for an image"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        made(**values)


def test_an_address_has_to_be_text() -> None:
    with pytest.raises(TypeError, match="an address is a NoneType; write text"):
        made(to=[None])


@pytest.mark.parametrize(
    "name",
    [
        "Ann Lee",
        "Lee, Ann",
        'Ann "Q" Lee',
        "Ännchen Ølsen",
        "=?utf-8?q?x?=",
        "a\\b",
        "ann@x.org",
        "x" * 199,
        "名前" * 50,
        "\r\nBcc: e@x.org",
    ],
)
def test_display_names_come_back(name: str) -> None:
    [address] = made(to=f"{name} <ann@example.org>")["To"].addresses
    assert address.addr_spec == ANN
    shown = address.display_name.replace(" ", "")  # the standard library puts one between two encoded words
    assert shown == "".join(name.split())[:200] or "=?" in name


def test_further_fields_are_folded_and_encoded() -> None:
    url = "<https://example.org/" + "u" * 300 + ">"
    mail = made(headers={"List-Unsubscribe": url, "X-Ticket": "Grüße\r\nBcc: eve@x.org", "X-Empty": ""})
    assert (mail["List-Unsubscribe"], mail["X-Ticket"]) == (url, "Grüße Bcc: eve@x.org")
    assert mail["Bcc"] is mail["X-Empty"] is None


def test_an_address_that_is_not_ascii_makes_the_fields_utf_8() -> None:
    message = compose(
        Draft(from_="desk@example.org", to="Änn <änn@example.org>", subject="Grüße", text="Grüße")
    ).message
    head, _, body = message.partition(b"\r\n\r\n")
    assert 'To: "Änn" <änn@example.org>\r\n'.encode() in head
    assert "Subject: Grüße\r\n".encode() in head
    assert body.isascii()


def test_a_received_mail_is_attached_as_it_is() -> None:
    raw = b"Subject: =?gb2312?b?xOM=?=\r\nContent-Type: text/plain\r\n\r\n\xff \xfe\r\n"
    message = compose(Draft(from_="desk@example.org", to=ANN, parts=[message_part(raw, "mail.eml")])).message
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\n" + raw in message
    assert b"message/rfc822" in message


@pytest.mark.parametrize(
    "raw", [b"a: b\n\nbare\n", b"a: b\r\n\r\nNUL\0\r\n", b"a: b\r\n\r\n" + b"x" * 999, b"\r\r\n\n"]
)
def test_one_that_is_not_made_of_lines_is_attached_as_a_file(raw: bytes) -> None:
    [attached] = made(parts=[message_part(raw, "mail.eml")]).iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == ("application/octet-stream", "mail.eml")
    assert attached.get_payload(decode=True) == raw


def test_a_large_attachment_is_in_memory_once_as_it_leaves() -> None:
    """Base64 takes 1.37 bytes for each; the buffer grows by an eighth at a time."""
    content = bytes(8 * 1024 * 1024)
    tracemalloc.start()
    mail = compose(Draft(from_="desk@example.org", to=ANN, attachments=[("a", content)]))
    event = send({"type": "email.send", "mail_from": "", "rcpt_to": mail.rcpt_to, "message": mail.message})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert event["message"] is mail.message
    assert peak < 1.7 * len(content)


line = st.text(st.characters(codec=None, max_codepoint=0x2FFF), max_size=40) | st.sampled_from(
    [
        "\r\n",
        "\nBcc: eve@x.org",
        "=?utf-8?q?a?=",
        "\r",
        "\0",
        "\ud800",
        "x" * 1200,
        "\u2028",
        '"',
        "\\",
        "<a@b>",
        " " * 200,
    ]
)
several = st.lists(line, max_size=4).map("".join)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    subject=several,
    name=several,
    body=several,
    html=st.none() | several,
    value=several,
    filename=several,
    kind=st.none() | several,
    content=st.binary(max_size=300) | several,
)
def test_whatever_the_values(
    subject: str, name: str, body: str, html: str | None, value: str, filename: str, kind: Any, content: Any
) -> None:
    with contextlib.suppress(ValueError):  # a display name that hides an address
        mail = compose(
            Draft(
                from_=f"{name} <desk@example.org>",
                to=f"{value} <ann@example.org>",
                subject=subject,
                text=body,
                html=html,
                headers={"X-Value": value},
                attachments=[(filename, content, kind)],
            )
        )
        assert mail.rcpt_to == [ANN]
        parsed = read(mail.message)
        assert parsed["Bcc"] is None
        [attached] = [part for part in parsed.walk() if part.get_content_disposition() == "attachment"]
        sent = (
            content
            if isinstance(content, bytes)
            else content.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        )
        if attached.get_content_type() != "message/rfc822":
            assert attached.get_payload(decode=True) == sent
