"""Transfer encodings as they are found in real mail."""

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.mime import transfer
from protocols.mail.mime.transfer import DecodedStream, decoded, decoded_size


def undone(encoded: bytes, encoding: str) -> bytes:
    content = decoded(memoryview(encoded), encoding)
    assert decoded_size(memoryview(encoded), encoding) == len(content)
    assert DecodedStream(memoryview(encoded), encoding).readall() == content
    return content


@pytest.mark.parametrize(
    ("encoded", "encoding", "content"),
    [
        (b"aGVsbG8=\r\n", "base64", b"hello"),
        (b"aGV\r\n sbG8", "base64", b"hello"),
        (b"aGV!s*bG8=", "base64", b"hello"),
        (b"aGVsbG8=\r\n____\r\nlist footer with words", "base64", b"hello"),
        (b"aGVsbG8==", "base64", b"hello"),
        (b"aGVsbG8h\r\na", "base64", b"hello!"),
        (b"aGVsbG8", "base-64", b"hello"),
        (b"=", "base64", b""),
        (b"", "base64", b""),
        (b"caf=C3=A9 =3d =\r\nline", "quoted-printable", b"caf\xc3\xa9 = line"),
        (b"a = b =zz 100%=", "quoted-printable", b"a = b =zz 100%"),
        (b"soft= \t\r\nbreak", "quoted-printable", b"softbreak"),
        (b"a_b", "quoted-printable", b"a_b"),
        (b"raw \xe9", "quoted-printable", b"raw \xe9"),
        (b'begin 644 x\r\n%:&5L;&\\\r\n`\r\nend\r\n', "x-uuencode", b"hello"),
        (b'%:&5L;&\\\n', "uuencode", b"hello"),
        (b"as it is =3D", "7bit", b"as it is =3D"),
        (b"as it is", "x-what", b"as it is"),
    ],
)  # fmt: skip
def test_what_is_found_in_mail(encoded: bytes, encoding: str, content: bytes) -> None:
    assert undone(encoded, encoding) == content


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 10])
@given(st.binary(max_size=60))
def test_steps_of_any_size_give_the_same(step: int, content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "STEP", step)
        assert undone(base64.encodebytes(content), "base64") == content
        assert undone(base64.b64encode(content).rstrip(b"="), "base64") == content
        quoted = quopri.encodestring(content)
        assert undone(quoted, "quoted-printable") == quopri.decodestring(quoted)
        assert undone(content, "8bit") == content


soup = st.lists(
    st.sampled_from([b"=", b"\r\n", b"\n", b" ", b"=3D", b"=C3", b"a", b"=\r\n", b"= \r\n", b"A" * 80, b"\xff"])
)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode", "8bit"])
@given(st.one_of(st.binary(max_size=300), soup.map(b"".join)))
def test_any_bytes_decode(encoding: str, encoded: bytes) -> None:
    undone(encoded, encoding)


@given(soup.map(b"".join), st.integers(1, 9))
def test_steps_cut_no_escape_of_quoted_printable(encoded: bytes, step: int) -> None:
    expected = decoded(memoryview(encoded), "quoted-printable")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "STEP", step)
        assert undone(encoded, "quoted-printable") == expected
