"""Certificates made for a test."""

import subprocess
from pathlib import Path

from protocols.net.tls import TLS


def make(folder: Path, name: str = "localhost") -> TLS:
    """A pair that signs itself, for ``localhost``; ``name`` is its common name, and that of its files."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return TLS(str(certificate), str(key))
