"""What may be inside a text: format=flowed and uuencoded files. And opaque signed data."""

import binascii
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.mime import extract, parse, unflowed
from protocols.mail.mime.signed_data import signed_content


@pytest.mark.parametrize(
    ("flowed", "text"),
    [
        ("a \nb\nc", "a b\nc"),
        (" From me\n >no quote", "From me\n>no quote"),
        ("> a \n> b\n>> c \n>> d\ne", "> a b\n>> c d\ne"),
        (">a \nb", "> a \nb"),
        ("words \n-- \nAnn", "words \n-- \nAnn"),
        ("-- \nAnn \nsays", "-- \nAnn says"),
        (">\n> a", ">\n> a"),
        ("", ""),
        ("a \n", "a "),
    ],
)
def test_flowed_lines_are_joined(flowed: str, text: str) -> None:
    assert unflowed(flowed) == text


def test_delsp_deletes_the_space_of_a_break() -> None:
    assert unflowed("日本 \n語。 \n-- \nx", delsp=True) == "日本語。\n-- \nx"


def test_only_declared_text_is_joined() -> None:
    body = b"\r\n\r\na \r\nb"
    assert parse(b"Content-Type: text/plain; Format=Flowed; DelSp=Yes" + body).text() == "ab"
    assert parse(b"Content-Type: text/plain; format=fixed" + body).text() == "a \nb"
    assert parse(b"Content-Type: text/html; format=flowed" + body).text() == "a \nb"


def uuencoded(name: bytes, content: bytes, end: bytes = b"\n") -> bytes:
    lines = [binascii.b2a_uu(content[place : place + 45]).rstrip(b"\n") for place in range(0, len(content), 45)]
    return end.join([b"begin 644 " + name, *lines, b"`", b"end", b""])


@given(st.binary(max_size=300), st.sampled_from([b"\n", b"\r\n"]))
def test_uuencoded_files_are_taken_out_of_text(content: bytes, end: bytes) -> None:
    text, files = extract(b"before\n" + uuencoded(b"a b.bin", content, end) + b"after\n")
    assert text == b"before\nafter\n"
    assert [(file.name, file.content) for file in files] == [(b"a b.bin", content)]


@pytest.mark.parametrize(
    "text",
    [
        b"begin 644 the story\nand it never decodes: \xff\nend\n",
        b"begin 644 a\n%:&5L;&\\\n`\n",
        b"to begin 644 a\nend\n",
        b"begin working\nend\n",
    ],
)
def test_text_that_is_not_uuencoded_stays(text: bytes) -> None:
    assert extract(text) == (text, [])


def der(tag: int, *content: bytes, indefinite: bool = False) -> bytes:
    whole = b"".join(content)
    if indefinite:
        return bytes((tag, 0x80)) + whole + b"\0\0"
    length = len(whole)
    size = bytes((length,)) if length < 128 else bytes((0x82, length >> 8, length & 255))
    return bytes((tag,)) + size + whole


SIGNED_DATA, DATA = (bytes.fromhex(f"06092a864886f70d0107{kind}") for kind in ("02", "01"))
ENTITY = b"Content-Type: text/plain\r\n\r\nsigned words\r\n" + b"x" * 200


@pytest.mark.parametrize("indefinite", [False, True])
@pytest.mark.parametrize("pieces", [False, True])
def test_opaque_signed_data_shows_its_content(indefinite: bool, pieces: bool) -> None:
    octets = der(0x24, der(4, ENTITY[:50]), der(4, ENTITY[50:]), indefinite=indefinite) if pieces else der(4, ENTITY)
    content = der(0x30, DATA, der(0xA0, octets, indefinite=indefinite), indefinite=indefinite)
    signed = der(0x30, der(2, b"\1"), der(0x31), content, der(0x31), indefinite=indefinite)
    data = der(0x30, SIGNED_DATA, der(0xA0, signed, indefinite=indefinite), indefinite=indefinite)
    assert signed_content(data) == ENTITY
    head = b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
    inner = parse(head + b"Content-Transfer-Encoding: base64\r\n\r\n" + binascii.b2a_base64(data)).inner
    assert inner is not None
    assert inner.text().startswith("signed words\n")


def test_what_a_library_signs_is_opened() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ann")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1)
        )
    ).sign(key, SHA256())
    signer = PKCS7SignatureBuilder().set_data(ENTITY).add_signer(certificate, key, SHA256())
    data = signer.sign(Encoding.DER, [PKCS7Options.Binary])
    inner = parse(b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\n" + data).inner
    assert inner is not None
    assert inner.raw == ENTITY


def test_encrypted_data_has_no_content_to_show() -> None:
    enveloped = der(0x30, SIGNED_DATA[:-1] + b"\3", der(0xA0, der(0x30)))
    assert signed_content(enveloped) is None
    assert parse(b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n" + enveloped).inner is None


elements = st.sampled_from(
    [SIGNED_DATA, DATA, b"0\x80", b"\xa0\x80", b"$\x80", b"\0\0", b"\4\1x", b"\xa0\x84\xff\xff\xff\xff"]
)


@given(st.one_of(st.binary(max_size=99), st.lists(elements).map(b"".join)))
def test_any_bytes_may_be_asked_for_signed_content(data: bytes) -> None:
    signed_content(data)
