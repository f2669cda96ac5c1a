"""A route with files in gateway.yaml: explained, listed, served by the daemon, changed by a reload."""

import signal
from pathlib import Path

import httpx
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until
from static_site import OPEN, made

FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes:
  http:
    - {{path: "^static/", files: static, cache_control: "{cache_control}"}}
"""


def test_the_daemon_serves_a_folder_as_its_file_says(tmp_path: Path) -> None:
    made(tmp_path)
    port = free_port()
    file = tmp_path / "gateway.yaml"
    file.write_text(FILE.format(port=port, cache_control="max-age=1"))
    explained = run(tmp_path, "explain", "/static/a.css").stdout
    assert explained.startswith("http:/static/a.css -> files static: the first route of routes.http that matches is")
    assert run(tmp_path, "routes").stdout.split() == ["http", "^static/", "->", "files", "static"]
    daemon = Daemon(tmp_path)
    try:
        daemon.says("^static/  ->  files static")
        where = f"http://127.0.0.1:{port}/static/a.css"
        until(lambda: "try:" in daemon.text, "the daemon is ready")
        answer = httpx.get(where)
        assert (answer.content, answer.headers["cache-control"]) == (OPEN, "max-age=1")
        assert httpx.get(f"http://127.0.0.1:{port}/static/%2e%2e/gateway.yaml").status_code == 404
        file.write_text(FILE.format(port=port, cache_control="max-age=2"))
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: httpx.get(where).headers["cache-control"] == "max-age=2", "the file was read again")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0
    finally:
        daemon.close()
    assert "ERROR" not in daemon.text
