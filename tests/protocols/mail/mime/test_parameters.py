"""Parameters and file names: what mail programs write, and whatever else."""

from email.message import EmailMessage
from email.utils import encode_rfc2231

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.mime import parse
from protocols.mail.mime.file_names import name_by_type, safe_name, unique_names
from protocols.mail.mime.parameters import boundary, first_word, parameters


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"attachment; filename=a.txt", "a.txt"),
        (b'attachment; filename="a b;c.txt"', "a b;c.txt"),
        (b'attachment; FileName = "a \\"b\\".txt" ; size=3', 'a "b".txt'),
        (b'attachment; filename="C:\\temp\\new.txt"', "C:\\temp\\new.txt"),
        (b"attachment; filename=a b.txt", "a b.txt"),
        (b'attachment; filename="not closed.txt', "not closed.txt"),
        (b"attachment; filename*=utf-8''%E2%82%AC%20rates.txt", "€ rates.txt"),
        (b"attachment; filename*=iso-8859-1'en'%A3%20rates", "£ rates"),
        (b"attachment; filename*=%E2%82%AC.txt", "€.txt"),
        (b"attachment; filename=\"utf-8''%E2%82%AC.txt\"", "€.txt"),
        (b"attachment; filename*0*=utf-8''%E2%82; filename*1*=%AC; filename*2=.txt", "€.txt"),
        (b"attachment; filename*1=b.txt; filename*0=a", "ab.txt"),
        (b"attachment; filename*0=\"=?utf-8?q?=E2=82?=\"; filename*1=\" =?utf-8?q?=AC.txt?=\"", "€.txt"),
        (b"attachment; filename=old.txt; filename*=utf-8''new.txt", "new.txt"),
        (b'attachment; filename="=?iso-8859-1?Q?gr=FCn.txt?="', "grün.txt"),
        (b"attachment; filename==?utf-8?B?4oKsLnR4dA==?=", "€.txt"),
        ("attachment; filename=€.txt".encode(), "€.txt"),
        ("attachment; filename=grün.txt".encode("latin-1"), "grün.txt"),
        (b"attachment; filename*=gb2312''%D6%EC%E9F.txt", "朱镕.txt"),
        (b'attachment; filename="my \\(new\\).txt"', "my (new).txt"),
        (b"attachment filename=a.txt; size=3", "a.txt"),
        (b"attachment\r\n filename=a.txt", "a.txt"),
        (b"attachment", ""),
        (b"attachment; filename=", ""),
        (b"; filename=a", "a"),
    ],
)  # fmt: skip
def test_file_names_as_they_are_written(value: bytes, name: str) -> None:
    assert parse(b"Content-Disposition: " + value + b"\r\n\r\n").filename == name


def test_the_name_of_the_type_counts_if_the_disposition_has_none() -> None:
    assert parse(b"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: inline\r\n\r\n").filename == "a.txt"
    assert parse(b"Content-Disposition: inline; name=a.txt\r\n\r\n").filename == "a.txt"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=80))
def test_what_the_standard_library_writes_is_read(name: str) -> None:
    value = f"attachment; filename*={encode_rfc2231(name, 'utf-8')}".encode()
    assert parameters(value)["filename"] == name
    message = EmailMessage()
    message.add_attachment(b"x", "a", "b", filename=name)
    assert parse(message.as_bytes()).children[0].filename == name


@given(st.one_of(st.binary(max_size=200), st.text(alphabet=";=*\"\\'%0a b", max_size=99).map(str.encode)))
def test_any_bytes_have_parameters(value: bytes) -> None:
    for text in parameters(value).values():
        text.encode()
    boundary(value)
    first_word(value)


@pytest.mark.parametrize(
    ("written", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\report.pdf", "report.pdf"),
        ("a/b\\c.txt", "c.txt"),
        ("folder/", "folder"),
        ("..", ""),
        (" . ", ""),
        ("a\r\nb\0.txt", "ab.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("a\u200bb\ufeff.txt", "ab.txt"),
        ('what?<is>:"this"|*.txt', "what__is___this___.txt"),
        (".htaccess", "htaccess"),
        ("-rf.txt", "rf.txt"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("console.txt", "console.txt"),
        ("name. . ", "name"),
        ("ä" * 200 + ".jpeg", "ä" * 97 + ".jpeg"),
        ("x." + "y" * 300, "x." + "y" * 198),
        ("\ud800.txt", "\ufffd.txt"),
    ],
)
def test_safe_names(written: str, safe: str) -> None:
    assert safe_name(written) == safe


@given(st.text(max_size=400))
def test_any_name_becomes_safe(written: str) -> None:
    name = safe_name(written)
    assert len(name.encode()) <= 200
    assert name.isprintable()
    assert not set(name) & set('/\\<>:"|?*')
    assert name == name.strip()
    assert not name.startswith((".", "-"))
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("content_type", "subject", "name"),
    [
        ("application/pdf", "", "attachment.pdf"),
        ("image/jpeg", "", "image.jpg"),
        ("text/calendar", "", "text.ics"),
        ("message/rfc822", "", "message.eml"),
        ("message/rfc822", "Re: a/b", "Re_ a_b.eml"),
        ("x/y", "", "attachment.bin"),
        ("", "", "attachment.bin"),
    ],
)
def test_names_by_type(content_type: str, subject: str, name: str) -> None:
    assert name_by_type(content_type, subject) == name


def test_unique_names_differ_whatever_the_case() -> None:
    names = ["a.txt", "A.TXT", "a.txt", "a-2.txt", "b", "b"]
    assert list(unique_names(names)) == ["a.txt", "A-2.TXT", "a-3.txt", "a-2-2.txt", "b", "b-2"]


@given(st.lists(st.sampled_from(["a", "a-2", "A", "x" * 200, "é" * 100]), max_size=20))
def test_unique_names_are_unique_and_short(names: list[str]) -> None:
    unique = list(unique_names(names))
    assert len({name.casefold() for name in unique}) == len(names)
    assert all(len(name.encode()) <= 200 for name in unique)
