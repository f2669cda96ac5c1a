"""The console of a daemon whose file was read again."""

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until

HANDLERS = """
from gateway import AsyncHttpConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")
"""
FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:{web}"}}}}
routes: {{http: reloaded_console_handlers.Web}}
console: {{bind: "127.0.0.1:{console}"}}
log: {{level: {level}}}
"""


def test_it_answers_for_the_generation_that_serves(tmp_path: Path) -> None:
    ports = {"web": free_port(), "console": free_port()}
    process = GatewayProcess(tmp_path, "reloaded_console_handlers", HANDLERS, FILE.format(level="info", **ports))

    def ask(path: str, data: Any = None) -> str:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{ports['console']}{path}", body)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode())

    try:
        process.start()
        until(lambda: "ready" in process.output(), process.output)
        for level in ("warning", "info"):
            (tmp_path / "gateway.yaml").write_text(FILE.format(level=level, **ports))
            assert '"result": "reloaded"' in ask("/api/reload", {})
            status = json.loads(ask("/api/status"))
            assert status["servers"][0]["state"] == "ready"
        assert status["generation"] == 3
    finally:
        assert process.stop(signal.SIGTERM) == 0
