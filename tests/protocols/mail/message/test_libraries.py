"""What libraries do with a mail and its attachments: open archives, store files, copy and pickle."""

import base64
import copy
import io
import pickle
import zipfile
from typing import Any

import pytest
from django.core.files.base import File
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.message import InboundEmail

HEAD = b"From: ada@example.org\r\nSubject: Archive\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"


def carrying(content: bytes, name: str = "archive.zip") -> InboundEmail:
    part = b"--x\r\nContent-Disposition: attachment; filename=" + name.encode()
    part += b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content) + b"\r\n--x--\r\n"
    return InboundEmail(
        HEAD + b"--x\r\n\r\nSee the archive.\r\n" + part, mail_from="bounce@example.org", rcpt_to=["a@b.example"]
    )


def test_an_archive_is_opened_from_the_attachment() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for number in range(20):
            made.writestr(f"{number}.txt", f"number {number}" * 1000)
    (attachment,) = carrying(archive.getvalue()).attachments
    with zipfile.ZipFile(attachment.open()) as opened:
        assert opened.testzip() is None
        assert opened.read("7.txt") == b"number 7" * 1000


def test_django_reads_an_attachment_in_chunks() -> None:
    (attachment,) = carrying(b"content" * 100_000).attachments
    assert b"".join(File(attachment.open(), attachment.filename).chunks()) == b"content" * 100_000


WHENCE = {"set": io.SEEK_SET, "current": io.SEEK_CUR, "end": io.SEEK_END}
MOVES = st.lists(
    st.tuples(st.sampled_from(["read", "set", "current", "end", "tell"]), st.integers(0, 300)), max_size=12
)


@given(st.binary(max_size=250), MOVES)
def test_an_open_attachment_is_a_file_like_any_other(content: bytes, moves: list[tuple[str, int]]) -> None:
    (attachment,) = carrying(content).attachments
    with attachment.open() as ours, io.BytesIO(content) as other:
        for move, number in moves:
            assert _moved(ours, move, number) == _moved(other, move, number)


def _moved(file: io.BufferedIOBase, move: str, number: int) -> object:
    if move == "read":
        return file.read(number)
    if move == "tell":
        return file.tell()
    return file.seek(number if move == "set" else 0, WHENCE[move])


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda message: pickle.loads(pickle.dumps(message))])  # noqa: S301 # our own bytes
def test_a_message_is_copied_and_pickled(again: Any) -> None:
    message = carrying(b"content")
    message.read()
    other = again(message)
    assert (other.raw, other.subject, other.text) == (message.raw, "Archive", message.text)
    assert [each.read() for each in other.attachments] == [b"content"]
    assert again(InboundEmail(b"", mail_from="a@b.example")).sender == "a@b.example"


def test_a_message_is_a_series_of_the_names_of_its_fields() -> None:
    assert list(carrying(b"")) == ["from", "subject", "content-type"]
