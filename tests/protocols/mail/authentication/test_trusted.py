"""Authentication-Results of a mail server of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.authentication.settings import AuthenticationSettings
from protocols.mail.authentication.trusted import trusted_results
from protocols.mail.headers import parse_headers

TRUSTED = "mx.example.org"


def read(*values: str) -> dict[str, str] | None:
    lines = "".join(f"Authentication-Results: {value}\r\n" for value in values)
    return trusted_results(parse_headers(lines.encode() + b"\r\n"), TRUSTED)


def test_a_field_as_opendmarc_writes_it() -> None:
    assert read(
        "mx.example.org; dmarc=pass (p=reject dis=none) header.from=example.net;\r\n"
        "\tspf=pass (sender IP is 192.0.2.1; ok) smtp.mailfrom=ann@example.net;\r\n"
        '\tdkim=pass reason="2048-bit key" header.d=example.net header.i=@example.net header.b="AbC";'
        " dkim=fail header.d=list.example; dkim=pass header.d=esp.example"
    ) == {
        "source": TRUSTED,
        "dmarc": "pass",
        "dmarc_domain": "example.net",
        "spf": "pass",
        "spf_domain": "example.net",
        "dkim": "pass",
        "dkim_domain": "example.net esp.example",
    }


def test_only_the_topmost_field_of_the_trusted_server_counts() -> None:
    """What stands below came with the mail, and anyone can write it."""
    results = read("other.example; dmarc=pass", "mx.example.org; dmarc=fail", "mx.example.org; dmarc=pass")
    assert results == {"source": TRUSTED, "dmarc": "fail"}


@pytest.mark.parametrize(
    "value",
    ["other.example; dmarc=pass", "mx.example.org.evil.example; dmarc=pass", "", ";", "(mx.example.org); spf=pass"],
)
def test_another_servers_field_is_not_read(value: str) -> None:
    assert read(value) is None


@pytest.mark.parametrize("value", ["mx.example.org; none", "MX.example.org 1", '"mx.example.org"; x=y; spf'])
def test_a_field_that_says_nothing(value: str) -> None:
    assert read(value) == {"source": TRUSTED}


def test_a_failed_signature_does_not_hide_a_valid_one() -> None:
    one, other = "dkim=fail header.d=a.example", "dkim=pass header.d=b.example"
    for value in (f"{one}; {other}", f"{other}; {one}"):
        assert read(f"mx.example.org; {value}") == {"source": TRUSTED, "dkim": "pass", "dkim_domain": "b.example"}


@pytest.mark.parametrize(
    "value",
    [
        'spf=fail smtp.mailfrom="a; dmarc=pass header.from=bank.example"@evil.example; dmarc=fail',
        'spf=fail smtp.mailfrom="a\\"; dmarc=pass"@evil.example; dmarc=fail',
        "spf=fail (a (b (c (d) e) f; dmarc=pass) g) smtp.mailfrom=evil.example; dmarc=fail",
        "spf=fail (a \\) ; dmarc=pass) smtp.mailfrom=evil.example; dmarc=fail",
        'spf=fail (5" ; dmarc=pass) smtp.mailfrom="x)"@evil.example; dmarc=fail',
        'dmarc=fail; spf=fail reason="; dmarc=pass" smtp.mailfrom=evil.example',
        'dmarc=fail; spf=fail smtp.mailfrom=evil.example reason="; dmarc=pass',
        "dmarc=fail; spf=fail smtp.mailfrom=evil.example (; dmarc=pass",
        "dmarc=fail; spf=fail smtp.mailfrom=" + "a" * 400 + "smtp.mailfrom=a@bank.example@evil.example",
        'dmarc=fail; spf=fail smtp.mailfrom=evil.example x="smtp.mailfrom=bank.example"',
        "dmarc=fail; spf=fail smtp.mailfrom=evil.example smtp.mailfrom=bank.example",
        "dmarc/1 = fail ; spf / 1 = fail smtp.mailfrom = evil.example",
    ],
)
def test_what_a_sender_writes_is_not_a_result(value: str) -> None:
    """Servers repeat the sender's address and words of its DNS in the field, quoted or as comments."""
    results = read(f"mx.example.org; {value}")
    assert results is not None
    assert (results["dmarc"], results["spf"]) == ("fail", "fail")
    assert "bank" not in " ".join(results.values())


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_field_is_read(value: str) -> None:
    assert read(f"mx.example.org; {value}".replace("\n", " ").replace("\r", " ")) is not None


def test_a_huge_field_is_read_in_no_time() -> None:
    assert read("mx.example.org; " + "(" * 100_000 + "spf=pass; " * 10_000) is not None


def test_one_of_the_two_ways_is_chosen() -> None:
    with pytest.raises(ValueError, match="one of them"):
        AuthenticationSettings()
    with pytest.raises(ValueError, match="one of them"):
        AuthenticationSettings(verify=True, trust=TRUSTED)
