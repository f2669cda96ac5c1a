"""Connections to the submission server end with the gateway that has opened them, or with its replacement."""

from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from servers.submission import peer
from test_replace import LIMIT, ended, port, until

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway

HANDLERS = """
from gateway import AsyncEmailConsumer

class Answers(AsyncEmailConsumer):
    async def receive(self, message):
        await self.send_message(b"From: desk@example.org\\r\\n\\r\\nhello\\r\\n", ["ann@example.net"])
"""
FILE = """
servers: {{mail: {{protocol: smtp, bind: "127.0.0.1:0"}}}}
routes: {{email: {{app: ending_handlers.Answers, {policy}}}}}
submission: "smtp://{address}"
store: sqlite:ends.db
log: {{level: warning}}
"""


def made(policy: str, address: str) -> RunningGateway:
    text = FILE.format(policy=policy, address=address)
    return RunningGateway(build(parse(text, name="gateway.yaml", folder=Path())))


async def deliver(running: RunningGateway) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port(running, "mail"), timeout=LIMIT) as client:
        await client.sendmail("a@example.net", ["b@example.org"], b"Subject: hi\r\n\r\nhello\r\n")


@pytest.mark.parametrize("policy", ["attempts: 3", "default: true"])
async def test_at_a_stop_the_server_hears_quit(policy: str, replaced: Any) -> None:
    replaced("ending_handlers", HANDLERS)
    async with peer() as there:
        running = made(policy, there.address)
        await install(running)
        await deliver(running)
        await until(lambda: len(there.taken) == 1)
        assert there.conversations, "it is kept open"
        await ended(running)
        assert there.commands[-1] == "QUIT"
        await until(lambda: not there.conversations)


async def test_a_silent_server_does_not_delay_a_stop(replaced: Any) -> None:
    replaced("ending_handlers", HANDLERS)
    async with peer({"QUIT": "hold"}) as there:
        running = made("attempts: 3", there.address)
        await install(running)
        await deliver(running)
        await until(lambda: len(there.taken) == 1)
        await ended(running)
        await until(lambda: not there.conversations)


async def test_of_two_gateways_each_has_its_own(replaced: Any) -> None:
    replaced("ending_handlers", HANDLERS)
    async with peer() as there:
        first, second = made("attempts: 3", there.address), made("attempts: 3", there.address)
        await install(first)
        await deliver(first)
        await until(lambda: len(there.taken) == 1)
        await install(second, first)
        await deliver(second)
        await until(lambda: len(there.taken) == 2)
        await second.predecessor_ended()
        await until(lambda: there.commands.count("QUIT") == 1)
        await ended(second)
        assert (there.connections, there.commands.count("QUIT")) == (2, 2)
