"""What was built, cut off from the outside: for tests, and for `gateway replay`."""

from pathlib import Path
from typing import Any

from gateway import aio
from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.isolated import SomeServers, isolated
from gateway.runtime.running import RunningGateway
from gateway.services import entered

FILE = """
console: {bind: "127.0.0.1:0"}
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}
application: isolated_handlers.silent
submission: "smtp://127.0.0.1:1"
"""
HANDLERS = """
async def silent(scope, receive, send):
    pass
"""


async def test_what_is_sent_goes_to_the_given_outlets_and_no_server_starts_but_those_given(
    tmp_path: Path, replaced: Any
) -> None:
    replaced("isolated_handlers", HANDLERS)
    made = build(parse(FILE, name="gateway.yaml", folder=tmp_path))
    left: list[tuple[str, str]] = []

    async def outlet(server: str, event: Any) -> None:
        left.append((server, event["type"]))

    running = RunningGateway(isolated(made, {"email": outlet}, servers=SomeServers([made.servers.named("web")])))
    await running.start()
    try:
        with entered(running.gateway.services):
            await aio.send_mail("ann@example.net", subject="Hi", text="Hi", from_="shop@example.org")
        assert left == [("", "email.send")]
        assert [server.name for server in running.gateway.servers] == ["web"]
        assert made.servers.named("web").address.startswith("127.0.0.1:")
        assert running.gateway.console is None
        assert running.active() == {}
    finally:
        await running.abort()
    assert len(made.servers) == 2, "what was built is as it was"
    assert made.console is not None
