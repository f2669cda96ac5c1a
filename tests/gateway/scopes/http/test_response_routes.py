"""Routes with `compress` and `etag` in gateway.yaml."""

import signal
from pathlib import Path

import httpx
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}", compress: {{min_size: 10}}}}}}
routes:
  http:
    - {{path: "^plain/", app: pages.page, compress: false}}
    - {{path: "^long/", app: pages.page, compress: {{min_size: 1MiB}}}}
    - {{path: "^tagged/", app: pages.page, etag: true, compress: {{codings: [gzip]}}}}
    - {{path: "^", app: pages.page}}
"""
PAGES = """
started = 0


async def page(scope, receive, send):
    global started
    if scope["type"] == "lifespan":
        started += 1
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"some text " * 200 + b"%d" % started})
"""


def test_a_routes_settings_count_in_place_of_its_servers(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "pages.py").write_text(PAGES)
    (tmp_path / "gateway.yaml").write_text(FILE.format(port=port))
    daemon = Daemon(tmp_path)
    try:
        until(lambda: "try:" in daemon.text, "the daemon is ready")
        where = f"http://127.0.0.1:{port}"
        accepts = {"accept-encoding": "gzip, zstd"}
        found = {name: httpx.get(f"{where}/{name}/", headers=accepts) for name in ("plain", "long", "tagged", "other")}
        codings = {name: answer.headers.get("content-encoding") for name, answer in found.items()}
        assert codings == {"plain": None, "long": None, "tagged": "gzip", "other": "zstd"}
        assert {answer.text for answer in found.values()} == {"some text " * 200 + "1"}  # one lifespan for one app
        tag = {"if-none-match": found["tagged"].headers["etag"]}
        assert httpx.get(f"{where}/tagged/", headers=tag).status_code == 304
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0
    finally:
        daemon.close()
    assert "ERROR" not in daemon.text


KEYS = """
workers: 2
store: sqlite:gateway.db
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes:
  http: {{path: "^", app: payments.pay, idempotency: true, compress: true, etag: true}}
"""
PAYMENTS = """
import os


async def pay(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError  # ASGI's way to say that an application does not take a scope
    with open("payments", "a") as payments:
        payments.write("paid\\n")
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"paid by %d " % os.getpid() * 200})
"""


def test_workers_and_the_next_start_know_the_keys(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "payments.py").write_text(PAYMENTS)
    (tmp_path / "gateway.yaml").write_text(KEYS.format(port=port))
    answers = []
    for _ in range(2):
        daemon = Daemon(tmp_path)
        try:
            until(lambda daemon=daemon: "try:" in daemon.text, "the daemon is ready")
            for coding in ("gzip", "identity") * 3:  # each on a connection of its own, which either worker may take
                headers = {"idempotency-key": "k1", "accept-encoding": coding}
                answers.append(httpx.post(f"http://127.0.0.1:{port}/", headers=headers))
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.wait() == 0
        finally:
            daemon.close()
    assert {(answer.status_code, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert [answer.headers.get("content-encoding") for answer in answers[:2]] == ["gzip", None]
    assert (tmp_path / "payments").read_text() == "paid\n"
