"""Row 1e: HTTP hello-world over 1,000 connections, over TLS, and how late answers are at half of uvicorn's load."""

import subprocess
import tempfile
from pathlib import Path

from benchmarks.http_hello import APPS, GRANIAN, UVICORN, peers
from benchmarks.side_by_side import Load, Peer, client, compare, python


def tls_peers(folder: Path) -> list[Peer]:
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    uvicorn = (*UVICORN, "--lifespan=off", f"--ssl-certfile={certificate}", f"--ssl-keyfile={key}")
    granian = (*GRANIAN, f"--ssl-certificate={certificate}", f"--ssl-keyfile={key}")
    return [
        Peer("ours", lambda port: python("-m", APPS, "hello", str(port), certificate, key)),
        Peer("uvicorn", lambda port: python(*uvicorn, f"--port={port}", f"{APPS}:hello")),
        Peer("granian", lambda port: python(*granian, f"--port={port}", f"{APPS}:hello")),
    ]


def load(kind: str, connections: int) -> Load:
    return lambda port, seconds: client(
        "-m", "benchmarks.windowed", kind, str(port), str(connections), "1", str(seconds)
    )


def paced(rate: float) -> Load:
    return lambda port, seconds: client("-m", "benchmarks.paced", str(port), "64", str(rate), str(seconds))


if __name__ == "__main__":
    compare("HTTP hello-world, 1,000 connections", peers("hello"), load("http", 1000), unit="requests/s")
    with tempfile.TemporaryDirectory() as folder:
        compare(
            "HTTP hello-world over TLS, 64 connections", tls_peers(Path(folder)), load("https", 64), unit="requests/s"
        )
    most = compare("HTTP hello-world, 64 connections", peers("hello"), load("http", 64), unit="requests/s")
    half = most["uvicorn"] / 2
    print(f"At half of uvicorn's load, {half:,.0f} requests/s")
    compare("HTTP hello-world, 99th percentile", peers("hello"), paced(half), unit="us late, less is better")
