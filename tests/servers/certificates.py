"""Certificates made for a test."""

import datetime
import subprocess
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from protocols.net.tls import TLS


def make(folder: Path, name: str = "localhost", *, host: str = "localhost") -> TLS:
    """A pair that signs itself, for ``host``; ``name`` is its common name, and that of its files. It lasts for two
    days."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return TLS(str(certificate), str(key))


def ended(folder: Path) -> TLS:
    """A pair as :func:`make` makes it, which has ended yesterday."""
    pair = make(folder)
    made = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
    key: Any = load_pem_private_key(Path(pair.key).read_bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    again = (
        x509.CertificateBuilder(made.issuer, made.subject, key.public_key(), made.serial_number)
        .not_valid_before(now - datetime.timedelta(days=3))
        .not_valid_after(now - datetime.timedelta(days=1))
    )
    for each in made.extensions:
        again = again.add_extension(each.value, each.critical)
    Path(pair.certificate).write_bytes(again.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return pair
