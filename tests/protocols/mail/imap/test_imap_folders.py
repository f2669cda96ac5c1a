"""Several folders and accounts in one server entry, on Dovecots of all kinds."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from imap_desk import Desk, RoutedDesk, mail, new_user, reading, settings
from servers.dovecot import FULL, PASSWORD, Dovecot, dovecot
from waiting import until

from protocols.mail.imap.connection import IMAPConnection
from protocols.mail.imap.marks import Mark
from protocols.mail.imap.pending import PendingMessages
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import Account, IMAPSettings
from protocols.secret import Secret


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def user() -> str:
    return new_user()


def account(username: str, **changes: Any) -> Account:
    given: dict[str, Any] = {"username": username, "password": Secret(PASSWORD)}
    return Account(**given | changes)


def make(server: Dovecot, user: str, *folders: str) -> None:
    with server.program(user) as program:
        for folder in folders:
            program.create(folder)


def places(desk: Desk) -> list[tuple[str, str]]:
    return sorted(
        (scope["mailbox"]["folder"], subject) for scope, subject in zip(desk.scopes, desk.subjects, strict=True)
    )


@pytest.mark.parametrize("connections", [1, 2, 5])
async def test_several_folders_are_read_whatever_the_number_of_connections(
    server: Dovecot, user: str, connections: int
) -> None:
    names = ["INBOX", "Orders", "Späm"]
    make(server, user, "Orders", "Sp&AOQ-m")
    for number, name in enumerate(("INBOX", "Orders", "Sp&AOQ-m")):
        server.append(mail(f"old {number}"), user=user, folder=name)
    desk = Desk()
    async with reading(desk, server, user, folders=tuple(names), connections=connections, poll=0.1) as reader:
        await until(lambda: server.count("Processed", user) == 3)
        for number, name in enumerate(("INBOX", "Orders", "Sp&AOQ-m")):
            server.append(mail(f"new {number}"), user=user, folder=name)
        await until(lambda: server.count("Processed", user) == 6)
        alone = {1: 0, 2: 1, 5: 3}[connections]
        states = ["IDLE"] * alone + ["polled every 0.1 s"] * (3 - alone)
        await until(lambda: reader.status.state == "ready")
        assert reader.status.detail == "; ".join(f"{name}: {state}" for name, state in zip(names, states, strict=True))
        assert len(server.who(user)) == min(connections, 3)
    assert places(desk) == sorted(
        (name, f"{age} {number}") for number, name in enumerate(names) for age in ("new", "old")
    )


async def test_what_no_route_takes_in_a_shared_folder_is_fetched_once_for_each_connection(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[int] = []
    fetch = IMAPConnection.fetch

    async def noted(self: IMAPConnection, uids: Any, octets: int) -> Any:
        fetched.extend(uids)
        return await fetch(self, uids, octets)

    monkeypatch.setattr(IMAPConnection, "fetch", noted)
    server.append(mail("private", to="ann@example.org"), mail("one"), user=user)
    folders = {"folders": ("INBOX", "Nowhere"), "connections": 1, "poll": 0.05}
    async with reading(RoutedDesk("support@example.org"), server, user, **folders):
        await until(lambda: server.count("Processed", user) == 1)
        server.append(mail("two"), user=user)
        await until(lambda: server.count("Processed", user) == 2)
    assert sorted(fetched) == [1, 2, 3]


async def test_each_account_has_its_own_folders_and_is_named_in_the_scope(server: Dovecot) -> None:
    ann, ben = new_user(), new_user()
    make(server, ben, "Orders")
    server.append(mail("to ann"), user=ann)
    server.append(mail("to ben"), user=ben, folder="Orders")
    desk = Desk()
    accounts = (account(ann), account(ben, folders=("Orders",)))
    async with reading(desk, server, "", password=None, accounts=accounts) as reader:
        await until(lambda: server.count("Processed", ann) == server.count("Processed", ben) == 1)
        await until(lambda: reader.status.detail == f"{ann} INBOX: IDLE; {ben} Orders: IDLE")
    found = {(scope["mailbox"]["account"], scope["mailbox"]["folder"]) for scope in desk.scopes}
    assert found == {(ann, "INBOX"), (ben, "Orders")}
    ids = {scope["extensions"]["event"]["id"] for scope in desk.scopes}
    assert len(ids) == 2


async def test_an_account_that_is_refused_keeps_nobody_from_the_others(server: Dovecot, user: str) -> None:
    server.append(mail("one"), user=user)
    accounts = (account("ben", password=Secret("wrong")), account(user))
    async with reading(Desk(), server, "", password=None, accounts=accounts) as reader:
        await until(lambda: server.count("Processed", user) == 1)
        await until(lambda: f"{user} INBOX: IDLE" in reader.status.detail and "login refused" in reader.status.detail)
        assert reader.status.state == "connecting"


async def test_a_folder_that_is_missing_keeps_nobody_from_those_of_its_connection(server: Dovecot, user: str) -> None:
    server.append(mail("one"), user=user)
    folders = ("Nowhere", "INBOX")
    async with reading(Desk(), server, user, folders=folders, connections=1, poll=0.1) as reader:
        await until(lambda: server.count("Processed", user) == 1)
        await until(lambda: reader.status.state == "connecting" and "INBOX: polled every 0.1 s" in reader.status.detail)
        assert "Nowhere: folder Nowhere: " in reader.status.detail
        make(server, user, "Nowhere")
        server.append(mail("two"), user=user, folder="Nowhere")
        await until(lambda: server.count("Processed", user) == 2)
        await until(lambda: reader.status.state == "ready")


async def test_patterns_find_folders_that_are_made_later_and_none_that_messages_are_moved_to(user: str) -> None:
    special = "mailbox Sent {\n special_use = \\Sent\n auto = create\n }"
    capability = f"{FULL} LIST-EXTENDED SPECIAL-USE"
    with dovecot(namespace=f"separator = /\n{special}", location="mdbox:~/mdbox", capability=capability) as server:
        make(server, user, "Team", "Team/Ann")
        server.append(mail("ann"), user=user, folder="Team/Ann")
        server.append(mail("sent"), user=user, folder="Sent")
        server.append(mail("inbox"), user=user)
        desk = Desk()
        async with reading(desk, server, user, folders=("INBOX", "*"), poll=0.1) as reader:
            await until(lambda: server.count("Processed", user) == 2)
            make(server, user, "Team/Ben")
            server.append(mail("ben"), user=user, folder="Team/Ben")
            await until(lambda: server.count("Processed", user) == 3)
            await until(lambda: "Team/Ben: polled" in reader.status.detail)
            with server.program(user) as program:
                program.delete("Team/Ann")
            await until(lambda: "Team/Ann" not in reader.status.detail)
            assert "Sent" not in reader.status.detail
            assert "Processed" not in reader.status.detail
        assert places(desk) == [("INBOX", "inbox"), ("Team/Ann", "ann"), ("Team/Ben", "ben")]


async def test_a_pattern_without_a_folder_says_so(server: Dovecot, user: str) -> None:
    async with reading(Desk(), server, user, folders=("Team/*",), poll=0.1) as reader:
        await until(lambda: reader.status.detail == "Team/*, no such folder yet")
        assert reader.status.state == "ready"
        make(server, user, "Team.Ann")
        server.append(mail("one"), user=user, folder="Team.Ann")
        await until(lambda: server.count("Processed", user) == 1)


WITHOUT = FULL.replace("NAMESPACE", "")
"""Of a server that can say its delimiter, and not its prefix."""


@pytest.mark.parametrize(
    ("namespace", "orders", "processed", "capability"),
    [
        ("separator = .", "Shop.Orders", "Processed", FULL),
        ("separator = .", "Shop.Orders", "Processed", WITHOUT),
        ("separator = /", "Shop/Orders", "Processed", FULL),
        ("separator = /", "Shop/Orders", "Processed", WITHOUT),
        ("separator = .\nprefix = INBOX.", "INBOX.Shop.Orders", "INBOX.Processed", FULL),
    ],
)
async def test_names_are_written_the_same_whatever_the_server_s_delimiter_and_prefix(
    user: str, namespace: str, orders: str, processed: str, capability: str
) -> None:
    layout = ":LAYOUT=fs" if "/" in namespace else ""
    with dovecot(namespace=namespace, location=f"maildir:~/Maildir{layout}", capability=capability) as server:
        make(server, user, orders)
        server.append(mail("one"), user=user, folder=orders)
        server.append(mail("two"), user=user)
        async with reading(Desk(), server, user, folders=("inbox", "Shop/Orders")):
            await until(lambda: server.count(processed, user) == 2)


@pytest.mark.parametrize("location", ["mdbox:~/mdbox", "sdbox:~/sdbox", "maildir:~/Maildir:LAYOUT=fs"])
@pytest.mark.parametrize("missing", ["", "IDLE MOVE UIDPLUS"])
async def test_every_way_to_keep_mail(user: str, location: str, missing: str) -> None:
    capability = " ".join(word for word in FULL.split() if word not in missing.split())
    with dovecot(location=location, capability=capability) as server:
        desk = Desk(bad={"type": "email.reject"})
        server.append(*[mail(str(number)) for number in range(120)], mail("bad"), user=user)
        async with reading(desk, server, user, poll=0.1):
            await until(lambda: server.count("Processed", user) == 120 and server.count("Rejected", user) == 1)
        assert server.messages("INBOX", user, ["UNDELETED"]) == []
        assert len(desk.scopes) == 121


ACL = """
mail_plugins = acl
plugin {
  acl = vfile:{root}/acl
}
"""


async def test_a_read_only_folder_is_said_and_the_others_are_read(user: str) -> None:
    with dovecot(more=ACL) as server:
        make(server, user, "Fixed")
        server.append(mail("fixed"), user=user, folder="Fixed")
        server.append(mail("one"), user=user)
        (server.root / "acl").write_text("Fixed owner lr\n")
        desk = Desk()
        async with reading(desk, server, user, folders=("INBOX", "Fixed")) as reader:
            await until(lambda: server.count("Processed", user) == 1)
            await until(lambda: "Fixed: folder Fixed is read-only: no message could be marked" in reader.status.detail)
        assert desk.subjects == ["one"]


QUOTA = """
mail_plugins = quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=20K
}
"""


@pytest.mark.parametrize("capability", [FULL.replace("MOVE", ""), FULL])
async def test_a_full_mailbox_keeps_the_message_which_is_told_once_and_not_handled_again(
    user: str, capability: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A move needs room for a copy, where the server has no MOVE."""
    monkeypatch.setattr("protocols.mail.imap.pending.FIRST_WAIT", 0.1)
    monkeypatch.setattr("protocols.mail.imap.pending.LONGEST_WAIT", 0.1)
    tries: list[Mark] = []
    refused = PendingMessages.refused
    monkeypatch.setattr(
        PendingMessages, "refused", lambda self, mark, now: tries.append(mark) or refused(self, mark, now)
    )
    with dovecot(more=QUOTA, capability=capability) as server:
        server.append(mail("big", body="x" * 15_000), mail("small"), user=user)
        desk = Desk()
        async with reading(desk, server, user) as reader:
            await until(lambda: len(desk.scopes) == 2)
            await until(lambda: server.count("Processed", user) >= 1)
            if "MOVE" not in capability.split():
                await until(lambda: len(tries) > 2)
                assert server.messages("INBOX", user, ["UNDELETED"])[0].startswith(b"From: Ann")
                assert reader.status.state == "ready"
                assert caplog.text.count("handled messages stay where they are") == 1
                _make_room(server, user)
            await until(lambda: server.messages("INBOX", user, ["UNDELETED"]) == [])
        assert sorted(desk.subjects) == ["big", "small"]


def _make_room(server: Dovecot, user: str) -> None:
    """Raise the limit, as an administrator does."""
    config = server.root / "dovecot.conf"
    config.write_text(config.read_text().replace("storage=20K", "storage=200K"))
    server.reload()
    with contextlib.suppress(Exception):
        server.kick(user)


async def test_a_connection_is_left_at_the_end_of_each_reader(server: Dovecot, user: str) -> None:
    reader = IMAPReader(Desk(), settings(server, user, folders=("INBOX", "A", "B"), connections=2), state={})
    await reader.start()
    await until(lambda: len(server.who(user)) == 2)
    async with asyncio.timeout(10):
        await reader.stop(10)
    await until(lambda: server.who(user) == [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folder": "Work", "folders": ("INBOX",)}, "write folder or folders, one of them"),
        ({"folders": ("INBOX", "INBOX")}, "the folder INBOX is there twice"),
        ({"folders": ("INBOX", "Failed")}, "'Failed' is a folder that is read; messages moved to it"),
        ({"accounts": (account("ann"),)}, "write username with its password, or accounts, one of them"),
        ({"username": "", "password": None}, "username is missing"),
        (
            {"username": "", "password": None, "accounts": (account("ann"), account("ann"))},
            "the account ann is there twice",
        ),
        ({"token_file": "t"}, "write password, token_file or auth, one of them"),
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"host": "h", "username": "ann", "password": Secret("b")}
    with pytest.raises(ValueError, match=words):
        IMAPSettings(**given | changes)


async def test_of_many_folders_in_the_same_state_a_few_are_named(server: Dovecot, user: str) -> None:
    with server.program(user) as program:
        for number in range(40):
            program.create(f"Team.{number}")
    async with reading(Desk(), server, user, folders=("INBOX", "Team/*"), poll=0.2) as reader:
        said = r"INBOX: IDLE; (Team\.\d+, ){2}Team\.\d+ and 37 more: polled every 0\.2 s"
        await until(lambda: re.fullmatch(said, reader.status.detail) is not None)
