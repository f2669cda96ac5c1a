"""A mail for several routes whose sender gets one answer: what accepted does not run again when it comes again."""

import asyncio
from typing import Any

import pytest
from conversation import Conversation
from conversation import scope as any_scope
from waiting import until

from gateway import AsyncEmailConsumer, EmailToRouter, Policy, default, regex
from gateway.delivery.service import deliveries
from gateway.routing.router import PLAIN
from gateway.scopes.email.kept_verdicts import KeptVerdicts
from gateway.store.sqlite import SQLiteStore
from protocols.mail.events import CHECKS
from protocols.mail.verdict import Verdicts

BOTH = ["a@x.org", "b@x.org"]
IDENTITY = [(b"message-id", b"<1@x>"), (b"date", b"Thu, 1 Jan 1970 00:00:01 +0000")]
MAIL = [
    {"type": "email.receive", "body": b"Subject: hi\r\n\r\n", "more_body": True},
    {"type": "email.receive", "body": b"hello", "more_body": False},
]


def mail(**keys: Any) -> dict[str, Any]:
    return any_scope("email", **({"rcpt_to": BOTH, "headers": IDENTITY, "received_at": 1.0} | keys))


class Desk:
    """Two routes, of which the second does what it is told, one thing after the other; and who ran."""

    def __init__(self, *does: str, policy: Policy = PLAIN, first: str = "accept") -> None:
        self.ran: list[str] = []
        left = list(does)
        ran = self.ran

        class First(AsyncEmailConsumer):
            async def receive(self, message: Any) -> None:
                ran.append("a")
                if first != "nothing":
                    await getattr(self, first)()

        class Second(AsyncEmailConsumer):
            async def receive(self, message: Any) -> None:
                ran.append("b")
                does = left.pop(0)
                if does == "crash":
                    raise RuntimeError("fell")
                if does == "wait":
                    await asyncio.get_running_loop().create_future()
                await getattr(self, does)()

        self.router = EmailToRouter([regex("^a@", First, policy), default(Second, policy)])

    async def answer(self, **keys: Any) -> str:
        """The one answer to the sender."""
        verdicts, heard = Verdicts(BOTH), []
        try:
            async with Conversation(self.router, mail(**keys)) as server:
                server.say(*MAIL)
                try:
                    await server.end()
                finally:
                    heard = server.heard()
        except RuntimeError:
            verdicts.fail()
            return "defer"
        for event in heard:
            verdicts.add(CHECKS[event["type"]](event))
        kind: str = verdicts.combined_event["type"]
        return kind.removeprefix("email.")


@pytest.mark.parametrize("first", ["accept", "reject", "nothing"])
@pytest.mark.parametrize("policy", [PLAIN, Policy(attempts=9)])
async def test_a_retry_runs_only_what_deferred_with_a_store(first: str, policy: Policy, store: SQLiteStore) -> None:
    desk = Desk("defer", "defer", "accept", first=first, policy=policy)
    assert [await desk.answer() for _ in range(3)] == ["defer", "defer", "accept"]
    assert desk.ran == ["a", "b", "b", "b"]


@pytest.mark.parametrize("first", ["accept", "reject", "nothing"])
async def test_a_retry_runs_only_what_deferred_without_a_store(first: str) -> None:
    desk = Desk("defer", "defer", "accept", first=first)
    assert [await desk.answer() for _ in range(3)] == ["defer", "defer", "accept"]
    assert desk.ran == ["a", "b", "b", "b"]
    assert not desk.router._kept


async def test_a_retry_after_a_crash_runs_only_what_crashed() -> None:
    desk = Desk("crash", "accept")
    assert [await desk.answer() for _ in range(2)] == ["defer", "accept"]
    assert desk.ran == ["a", "b", "b"]


async def test_what_accepted_is_known_after_a_restart_where_there_is_a_store(store: SQLiteStore) -> None:
    before, after = Desk("defer"), Desk("accept")
    assert (await before.answer(), await after.answer()) == ("defer", "accept")
    assert (before.ran, after.ran) == (["a", "b"], ["b"])


@pytest.mark.parametrize("keys", [{"headers": []}, {"mail_from": "other@x.org"}, {"transport": "lmtp"}])
async def test_what_is_another_message_runs_for_all(keys: dict[str, Any]) -> None:
    """One without an identity is a new one each time; over LMTP the sender repeats it for those alone that wait."""
    desk = Desk("defer", "accept")
    first = {} if "mail_from" in keys else keys
    assert [await desk.answer(**first), await desk.answer(**keys)] == ["defer", "accept"]
    assert desk.ran == ["a", "b", "a", "b"]


async def test_a_mail_in_a_mailbox_is_known_by_its_place() -> None:
    place = {"account": "box", "folder": "INBOX", "uid": 1, "uidvalidity": 2}
    desk = Desk("defer", "accept", "accept")
    letter = {"transport": "imap", "mailbox": place, "headers": []}
    assert [await desk.answer(**letter) for _ in range(2)] == ["defer", "accept"]
    assert desk.ran == ["a", "b", "b"]
    await desk.answer(**letter | {"mailbox": place | {"uid": 2}})
    assert desk.ran == ["a", "b", "b", "a", "b"]


async def test_what_accepted_before_the_time_was_over_does_not_run_again() -> None:
    desk = Desk("wait", "accept")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await desk.answer()
    assert await desk.answer() == "accept"
    assert desk.ran == ["a", "b", "b"]


def test_the_memory_is_bounded() -> None:
    kept = KeptVerdicts(most=3)
    for number in range(5):
        kept.keep(str(number), {"type": "email.reject", "code": 550, "reason": "no" * 10_000})
    assert [str(number) for number in range(5) if kept.get(str(number))] == ["2", "3", "4"]
    assert len((kept.get("4") or {})["reason"]) == 400
    kept.forget("4")
    assert kept.get("4") is None


def test_a_verdict_is_forgotten_when_senders_have_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("gateway.scopes.email.kept_verdicts.time.monotonic", lambda: now[0])
    kept = KeptVerdicts()
    kept.keep("1", {"type": "email.accept"})
    now[0] = 5 * 86400.0 + 1
    assert kept.get("1") is None


async def test_what_accepted_before_the_end_does_not_run_again_after_a_restart(store: SQLiteStore) -> None:
    """Its verdict is in the store before the next route begins."""
    before, after = Desk("wait"), Desk("accept")
    answer = asyncio.ensure_future(before.answer())
    await until(lambda: before.ran == ["a", "b"])
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    await until(lambda: len(deliveries.get().attempts) == 0)
    assert await after.answer() == "accept"
    assert after.ran == ["b"]


@pytest.mark.parametrize("headers", [IDENTITY, []], ids=["identity", "none"])
@pytest.mark.parametrize("policy", [Policy(attempts=3), PLAIN], ids=["attempts", "plain"])
async def test_each_route_runs_also_for_a_mail_without_an_identity(
    store: SQLiteStore, headers: list[Any], policy: Policy
) -> None:
    """Groups of one delivery are never taken for repetitions of each other."""
    desk = Desk("accept", policy=policy)
    assert await desk.answer(headers=headers, extensions={"event": {"id": "lgogp92v4sft"}}) == "accept"
    assert desk.ran == ["a", "b"]


@pytest.mark.parametrize("headers", [IDENTITY, []], ids=["identity", "none"])
async def test_each_route_with_an_inbox_has_the_message_under_an_id_of_its_own(
    store: SQLiteStore, headers: list[Any]
) -> None:
    desk = Desk("accept", policy=Policy(inbox=True))
    assert await desk.answer(headers=headers, extensions={"event": {"id": "lgogp92v4sft"}}) == "accept"
    ids = [message.id for message in await store.waiting()]
    assert (len(set(ids)), ids[0]) == (2, "lgogp92v4sft")
    assert {each[:6] for each in ids} == {"lgogp9"}


@pytest.mark.parametrize("transport", ["smtp", "lmtp"])
async def test_a_route_that_does_not_end_does_not_keep_the_others_from_their_turn_for_ever(transport: str) -> None:
    ran: list[str] = []

    class Stuck(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            ran.append("a")
            await asyncio.get_running_loop().create_future()

    class Second(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            ran.append("b")

    router = EmailToRouter([regex("^a@", Stuck), default(Second)])
    for _ in range(3):
        begun = len(ran)
        async with Conversation(router, mail(transport=transport)) as server:
            server.say(*MAIL)
            await until(lambda begun=begun: "a" in ran[begun:])
    assert ran[:3] == ["a", "b", "a"]
    assert ran[3:] == (["b", "a"] if transport == "lmtp" else ["a"])
