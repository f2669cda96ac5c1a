"""A store that a reload keeps is the one that every other process sees."""

import json
from pathlib import Path

import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port

FILE = """
servers: {{mail: {{protocol: smtp, bind: "127.0.0.1:{port}", max_connections: {connections}}}}}
routes: {{email: {{app: kept_store_handlers.Desk, inbox: true}}}}
store: sqlite:{store}
"""
HANDLERS = """
from gateway import AsyncEmailConsumer

class Desk(AsyncEmailConsumer):
    async def receive(self, message):
        await self.defer("later", retry_after=600)
"""


@pytest.mark.parametrize(
    ("options", "store"),
    [(["--check"], "gateway.db"), ([], "gateway.db"), (["--check"], "./gateway.db")],
    ids=["check", "reload", "another URL"],
)
def test_mail_after_a_reload_is_stored_where_others_find_it(tmp_path: Path, options: list[str], store: str) -> None:
    """Another program that closes the database removes SQLite's log, unless the gateway still has its locks."""
    file, port = tmp_path / "gateway.yaml", free_port()
    (tmp_path / "kept_store_handlers.py").write_text(HANDLERS)
    file.write_text(FILE.format(port=port, connections=10, store="gateway.db"))
    daemon = Daemon(tmp_path)
    try:
        daemon.says("try:")
        file.write_text(FILE.format(port=port, connections=20, store=store))
        assert run(tmp_path, "reload", *options).returncode == 0
        run(tmp_path, "dead", "retry", "--all")
        assert run(tmp_path, "send", "email", "help@example.org", "Hello").returncode == 0
        assert len(json.loads(run(tmp_path, "waiting", "--json").stdout)) == 1
    finally:
        daemon.close()
