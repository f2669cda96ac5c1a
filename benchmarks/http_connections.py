"""Row 1f: HTTP hello-world over 1,000 and 4,000 connections, over TLS, and how late answers are at half of uvicorn's
load."""

import resource
import subprocess
import tempfile
from pathlib import Path

from benchmarks.http_hello import APPS, GRANIAN, UVICORN, peers
from benchmarks.side_by_side import Load, Peer, client, compare, python

MANY = ("--backlog=8192", "--backpressure=8192")
"""Options of granian, which by itself serves 1,024 connections at once. Ours and uvicorn have no such limit."""


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


def many_files() -> None:
    """Let this process and those that it starts have as many open files as they may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def paced(rate: float) -> Load:
    return lambda port, seconds: client("-m", "benchmarks.paced", str(port), "64", str(rate), str(seconds))


if __name__ == "__main__":
    many_files()
    for number in (1000, 4000):  # to accept them is part of the CPU time: rounds are long enough that it is little
        title = f"HTTP hello-world, {number:,} connections"
        compare(title, peers("hello", *MANY), load("http", number), unit="requests/s", least=number / 1000)
    with tempfile.TemporaryDirectory() as folder:
        compare(
            "HTTP hello-world over TLS, 64 connections", tls_peers(Path(folder)), load("https", 64), unit="requests/s"
        )
    most = compare("HTTP hello-world, 64 connections", peers("hello"), load("http", 64), unit="requests/s")
    half = most["uvicorn"] / 2
    print(f"At half of uvicorn's load, {half:,.0f} requests/s")
    compare("HTTP hello-world, 99th percentile", peers("hello"), paced(half), unit="us late, less is better")
