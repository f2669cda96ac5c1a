"""Another process has put something to send into the store, and rings."""

import asyncio
from pathlib import Path

import pytest
from own_services import delivering
from waiting import until

from gateway.control.client import ControlError, Conversation, ring
from gateway.control.commands import COMMANDS
from gateway.control.server import ControlServer
from gateway.store import engine_of


async def test_the_outbox_looks_at_once(tmp_path: Path) -> None:
    rung: list[bool] = []
    with delivering(engine_of(f"sqlite:{tmp_path}/gateway.db").store()) as here:
        here.outgoing.listen(lambda: rung.append(True))
        serves = ControlServer(tmp_path / "gateway.db", COMMANDS)
        await serves.start()
        assert ring([tmp_path / "gateway.db"]) == 1
        await until(lambda: rung == [True])
        await serves.stop()


async def test_a_gateway_without_a_store_says_so(tmp_path: Path) -> None:
    def ask() -> None:
        with Conversation([tmp_path / "gateway.yaml"], {"do": "ring"}) as conversation:
            list(conversation.answers())

    serves = ControlServer(tmp_path / "gateway.yaml", COMMANDS)
    await serves.start()
    with pytest.raises(ControlError, match="this gateway has no store"):
        await asyncio.to_thread(ask)
    await serves.stop()
