"""A server that lives once, in one worker of several: it starts, stops and stands by again."""

from pathlib import Path
from typing import Any

import pytest
from test_replace import ended

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.running import STANDBY, RunningGateway
from protocols.access.users import hash_password
from protocols.errors import BindError

HANDLERS = "async def app(scope, receive, send): ...\n"
FILE = """
servers:
  devices: {protocol: mqtt, bind: "127.0.0.1:0", password_file: users}
routes: {mqtt: stands_by_handlers.app}
log: {level: warning}
"""
RIGHT = f"ann:{hash_password(b'right')}\n"


async def no_sockets(server: Any) -> None:
    """It binds its address itself."""


async def test_a_file_that_was_spoilt_meanwhile_does_not_keep_a_server_from_leaving(
    replaced: Any, tmp_path: Path
) -> None:
    replaced("stands_by_handlers", HANDLERS)
    users = tmp_path / "users"
    users.write_text(RIGHT)
    running = RunningGateway(build(parse(FILE.replace("users", str(users)), name="g.yaml", folder=tmp_path)))
    servers = running.gateway.servers
    servers.named("devices").status = STANDBY
    await running.start()
    await running.begin(servers.named("devices"), no_sockets)
    users.write_text("ann\n")
    await running.stand_by({"devices"})
    assert servers.named("devices").status == STANDBY
    with pytest.raises(BindError, match="password_file"):
        await running.begin(servers.named("devices"), no_sockets)
    assert servers.named("devices").status == STANDBY
    users.write_text(RIGHT)
    await running.begin(servers.named("devices"), no_sockets)
    assert servers.named("devices").status.state == "ready"
    await ended(running)
