"""Durations, sizes, addresses and secrets, by table."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.secret import Secret
from protocols.units import TCP, Inherited, Unix, parse_address, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("200ms", 0.2),
        ("10m", 600),
        ("1h", 3600),
        ("2d", 172800),
        (5, 5),
        (0.5, 0.5),
        ("1.5 s", 1.5),
        ("7", 7),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("10MiB", 10 * 2**20), ("64kB", 64000), (512, 512), ("512", 512), ("1 GiB", 2**30), ("0", 0)]
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "endpoint", "written"),
    [
        ("127.0.0.1:8000", TCP("127.0.0.1", 8000), "127.0.0.1:8000"),
        ("[::1]:8000", TCP("::1", 8000), "[::1]:8000"),
        (":8000", TCP("0.0.0.0", 8000), "0.0.0.0:8000"),
        ("localhost:0", TCP("localhost", 0), "localhost:0"),
        ("unix:/run/g.sock", Unix("/run/g.sock"), "unix:/run/g.sock"),
        ("fd:3", Inherited(3), "fd:3"),
        ("fd:web", Inherited("web"), "fd:web"),
        ("fd:gateway-mail.socket", Inherited("gateway-mail.socket"), "fd:gateway-mail.socket"),
    ],
)
def test_addresses(text: str, endpoint: object, written: str) -> None:
    assert parse_address(text) == endpoint
    assert str(parse_address(text)) == written


@pytest.mark.parametrize("parse", [parse_duration, parse_size, parse_address])
@pytest.mark.parametrize(
    "wrong", ["", "x", "5 parsecs", "-1", "1:2:3", "host:99999", "::1:80", "unix:", True, None, -5]
)
def test_what_is_wrong_is_one_sentence(parse: object, wrong: object) -> None:
    with pytest.raises(ValueError, match=r"write|is not an address"):
        parse(wrong)


@given(st.text())
def test_any_text_is_understood_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_address):
        with contextlib.suppress(ValueError):
            parse(text)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} %s" % secret
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2") != Secret("hunter3")
