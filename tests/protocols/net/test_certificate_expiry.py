"""When certificates expire, by OpenSSL's word."""

import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.certificates import make

from protocols.net.certificate_expiry import earliest_expiry
from protocols.net.tls import TLS, Certificate

FAR = 36500
"""Days until after 2049, from where on a certificate has another form of time."""


def made(folder: Path, days: int) -> Path:
    path = folder / f"{days}.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "key.pem")]
    said = ["openssl", "req", "-x509", "-days", str(days), "-subj", "/CN=localhost", *key, "-out", str(path)]
    subprocess.run(said, check=True, capture_output=True)
    return path


def openssl_says(path: Path) -> float:
    told = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-in", str(path)], check=True, capture_output=True, text=True
    )
    return ssl.cert_time_to_seconds(told.stdout.strip().partition("=")[2])


@pytest.mark.parametrize("days", [1, 800, FAR])
def test_a_certificate(tmp_path: Path, days: int) -> None:
    path = made(tmp_path, days)
    assert earliest_expiry(path.read_text()) == openssl_says(path)


def test_of_a_chain_the_one_that_expires_first_counts(tmp_path: Path) -> None:
    late, soon = made(tmp_path, FAR), made(tmp_path, 3)
    assert earliest_expiry(f"a comment\n{late.read_text()}{soon.read_text()}") == openssl_says(soon)


@given(st.binary(max_size=100))
def test_what_is_no_certificate(content: bytes) -> None:
    for text in (ssl.DER_cert_to_PEM_cert(content), content.decode("latin-1")):
        with pytest.raises(ValueError, match=r".*"):
            earliest_expiry(text)


def test_a_listeners_files(tmp_path: Path) -> None:
    pair, authority = make(tmp_path), made(tmp_path, 30)
    expected = {"server": openssl_says(Path(pair.certificate)), "client_ca": openssl_says(authority)}
    assert Certificate(TLS(pair.certificate, pair.key, str(authority))).expiries() == expected


def test_a_file_that_is_gone_is_left_out(tmp_path: Path) -> None:
    pair = make(tmp_path)
    Path(pair.certificate).unlink()
    assert pair.expiries() == {}
