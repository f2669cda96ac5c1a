"""Two gateways with different routes and one store: side by side, and one in the place of the other."""

import asyncio
import collections
import contextlib
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from test_replace import LIMIT, ended, port, until

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from protocols.errors import BindError

HANDLERS = """
import asyncio, collections
from gateway import AsyncEmailConsumer, EmailConsumer
from gateway.threads import run_in_thread, thread_pool

seen = collections.defaultdict(collections.Counter)
pools = collections.defaultdict(set)

class First(EmailConsumer):
    def receive(self, message):
        pools["first"].add(thread_pool.get().size)
        seen["first"][message["subject"]] += 1

class Second(AsyncEmailConsumer):
    async def receive(self, message):
        await run_in_thread(lambda: pools["second"].add(thread_pool.get().size))
        seen["second"][message["subject"]] += 1
"""
FILE = """
servers:
  mail: {{protocol: smtp, bind: "127.0.0.1:0"}}
routes:
  email:
    - {{address: {name}@example.org, app: one_store_handlers.{app}, {policy}}}
    - {{domain: both.example.org, app: one_store_handlers.{app}, {policy}}}
store: sqlite:one.db
threads: {threads}
log: {{level: warning}}
"""


@pytest.fixture
def handlers(replaced: Any) -> Any:
    return replaced("one_store_handlers", HANDLERS)


def made(name: str, policy: str = "inbox: true") -> RunningGateway:
    text = FILE.format(name=name, app=name.title(), policy=policy, threads=3 if name == "first" else 4)
    return RunningGateway(build(parse(text, name=f"{name}.yaml", folder=Path())))


async def send(running: RunningGateway, to: str, subject: str) -> bool:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.net", to, subject
    mail["Message-ID"] = f"<{subject}@example.net>"
    with contextlib.suppress(aiosmtplib.SMTPException):
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=port(running, "mail"), timeout=LIMIT)
        return True
    return False


@pytest.mark.parametrize("policy", ["inbox: true", "attempts: 3"])
async def test_side_by_side_each_message_is_handled_once(policy: str, handlers: Any) -> None:
    """What is stored, any of the two takes; what its sender waits for is handled where it arrived."""
    one, two = made("first", policy), made("second", policy)
    await install(one)
    await install(two)
    subjects = [f"{number}" for number in range(40)]
    senders = [send(one if int(each) % 2 else two, "x@both.example.org", each) for each in subjects]
    assert all(await asyncio.gather(*senders))
    await until(lambda: set(subjects) <= {*handlers.seen["first"], *handlers.seen["second"]})
    await ended(two)
    await ended(one)
    assert handlers.seen["first"] + handlers.seen["second"] == collections.Counter(subjects)
    assert handlers.pools["first"] <= {3}
    assert handlers.pools["second"] <= {4}


async def test_a_message_for_a_new_route_is_not_taken_by_the_predecessor(
    handlers: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both gateways serve for a moment, and the predecessor has no route for what only the successor accepts."""
    monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", 0.02)
    one, two = made("first"), made("second")
    one.lend = lambda made: None  # as where the successor is in another process
    await install(one)
    accepted, working = collections.Counter[str](), True

    async def talk(to: str) -> None:
        number = 0
        while working:
            number += 1
            if await send(
                two if two.gateway.servers.named("mail").status.state == "ready" else one, to, f"{to} {number}"
            ):
                accepted[f"{to} {number}"] += 1
            await asyncio.sleep(0.001)

    talking = [asyncio.ensure_future(talk(to)) for to in ("x@both.example.org", "second@example.org")]
    await until(lambda: len(accepted) > 10)
    release = one.release_exclusive

    async def late() -> None:
        """Between what the successor has begun to accept and the end of the predecessor."""
        await until(lambda: sum(subject.startswith("second") for subject in accepted) > 20)
        await release()

    one.release_exclusive = late
    await install(two, one)
    await until(lambda: sum(subject.startswith("second") for subject in accepted) > 40)
    working = False
    await asyncio.gather(*talking)
    await ended(two)
    assert handlers.seen["first"] + handlers.seen["second"] == accepted
    assert "dead letters" not in capsys.readouterr().err


async def test_a_successor_that_does_not_start_has_taken_nothing(
    handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no route for what the other one has stored."""
    monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", 0.02)
    one, two = made("first"), made("second")
    one.lend = lambda made: None
    await install(one)

    async def fail() -> None:
        assert await send(one, "first@example.org", "stored meanwhile")
        await asyncio.sleep(0.3)
        raise BindError("no luck")

    two.gateway.servers.named("mail").start = fail
    with pytest.raises(BindError):
        await install(two, one)
    await two.abort()
    await until(lambda: handlers.seen["first"]["stored meanwhile"])
    await ended(one)
