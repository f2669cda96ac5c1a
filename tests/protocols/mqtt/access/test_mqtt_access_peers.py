"""Mosquitto's clients at our door: with a password, with a certificate, with rules."""

import asyncio
import contextlib
import subprocess
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from mqtt_bytes import connect, string
from mqtt_peer import LIMIT, Kept, Recorder, serving
from servers.programs import program
from waiting import until

from protocols.access import logins
from protocols.access.users import Users
from protocols.mqtt import MQTTServer
from protocols.mqtt.access.acl import Rule
from protocols.net.listener import TLS
from protocols.secret import Secret

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
USERS = {name: Secret(HASHER.hash(f"{name}'s")) for name in ("ann", "bob")}
ANN = ("-u", "ann", "-P", "ann's")


async def run(name: str, server: MQTTServer, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        program(name),
        *("-h", "localhost", "-p", server.address.rpartition(":")[2], *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(2 * LIMIT):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize(("version", "anonymous", "wrong"), [("311", 5, 4), ("5", 0x87, 0x86)])
async def test_a_password(version: str, anonymous: int, wrong: int, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app := Recorder(), users=USERS) as server:
        publish = ("-V", version, "-t", "a", "-m", "x", "-q", "1")
        assert await run("mosquitto_pub", server, *publish, *ANN) == (0, "")
        assert app.scopes[0]["username"] == "ann"
        assert (await run("mosquitto_pub", server, *publish))[0] == anonymous
        assert (await run("mosquitto_pub", server, *publish, "-u", "ann", "-P", "hunter2"))[0] == wrong
        assert (await run("mosquitto_pub", server, *publish, "-u", "eve", "-P", "hunter2"))[0] == wrong
    assert len(app.scopes) == 1  # the application never hears of the others
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(("version", "refused"), [("311", 2), ("5", 0x85)])
async def test_a_session_is_its_users_alone(version: str, refused: int) -> None:
    """A client that uses another's client identifier gets nothing of what waits for that one, and ends nothing."""
    session = ("-V", version, "-i", "meter", "-t", "private", "-q", "1", "-W", "3", "-C", "1")
    keep = ("-x", "3600", "-c") if version == "5" else ("-c",)
    bob = ("-u", "bob", "-P", "bob's")
    async with serving(Recorder(), users=USERS) as server:
        assert await run("mosquitto_sub", server, *session, *keep, *ANN, "-E") == (0, "")
        assert (await run("mosquitto_pub", server, "-t", "private", "-m", "for ann", "-q", "1", *bob))[0] == 0
        for how in (keep, ()):
            assert (await run("mosquitto_sub", server, *session, *how, *bob))[0] == refused
        assert await run("mosquitto_sub", server, *session, *keep, *ANN) == (0, "for ann\n")


async def test_a_kept_subscription_that_is_no_longer_allowed_is_dropped(tmp_path: Path) -> None:
    kept = Kept()
    session = ("-V", "5", "-i", "meter", "-t", "a", "-q", "1", "-x", "3600", "-c", *ANN)
    async with serving(Recorder(), users=USERS, persistence=kept) as server:
        assert await run("mosquitto_sub", server, *session, "-E") == (0, "")
    acl = (Rule(deny="subscribe", topic="a"), Rule(allow="all", topic="#"))
    async with serving(Recorder(), users=USERS, acl=acl, persistence=kept) as server:
        assert server.broker.subscriptions == 0, "nothing is kept for a client that is away"
        assert "denied" in (await run("mosquitto_sub", server, *session, "-W", "3"))[1]
        assert server.broker.subscriptions == 0


async def test_the_will_of_a_client_that_may_come_back_is_forgotten_when_it_is_no_longer_allowed() -> None:
    kept = Kept()
    command = (
        program("mosquitto_sub"),
        "-V",
        "5",
        "-t",
        "a",
        "--will-topic",
        "private",
        "--will-payload",
        "gone",
        *ANN,
    )
    async with serving(Recorder(), users=USERS, persistence=kept) as server:
        device = await asyncio.create_subprocess_exec(*command, "-p", server.address.rpartition(":")[2])
        try:
            await until(lambda: server.broker.subscriptions == 1)
            await server.retire()
            await server.stop(LIMIT)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has given up by itself
                device.kill()
            await device.wait()
    async with serving(Recorder(), users=USERS, persistence=kept) as server:
        assert len(server.broker.left_wills) == 1
    acl = (Rule(deny="publish", topic="private"), Rule(allow="all", topic="#"))
    async with serving(Recorder(), users=USERS, acl=acl, persistence=kept) as server:
        assert len(server.broker.left_wills) == 0


async def test_a_device_waits_for_its_turn_longer_than_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    verify = logins.verify
    monkeypatch.setattr(logins, "verify", lambda *who: opened.wait(LIMIT) and verify(*who))
    async with serving(Recorder(), users=USERS, connect_timeout=0.2) as server:
        asyncio.get_running_loop().call_later(0.5, opened.set)
        assert await run("mosquitto_pub", server, "-t", "a", "-m", "x", "-q", "1", *ANN) == (0, "")


async def test_devices_that_leave_while_they_wait_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    checked: list[bytes] = []
    verify = logins.verify

    def wait(users: Users, name: str, password: bytes) -> bool:
        checked.append(password)
        return opened.wait(LIMIT) and verify(users, name, password)

    monkeypatch.setattr(logins, "verify", wait)
    async with serving(Recorder(), users=USERS) as server:
        port = int(server.address.rpartition(":")[2])
        for number in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(connect(4, 0xC2, string(f"d{number}"), string("ann"), string(f"wrong {number}")))
            await writer.drain()
            writer.close()
        await until(lambda: checked and not server.active())
        opened.set()
        assert await run("mosquitto_pub", server, "-t", "a", "-m", "x", "-q", "1", *ANN) == (0, "")
    assert len(checked) < 10


async def test_logins_are_remembered_over_a_restart_with_persistence(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, checked = Kept(), list[str]()
    verify = logins.verify
    monkeypatch.setattr(logins, "verify", lambda users, name, word: checked.append(name) or verify(users, name, word))
    publish = ("-t", "a", "-m", "x", "-q", "1")
    for _ in range(2):
        async with serving(Recorder(), users=USERS, persistence=kept) as server:
            assert await run("mosquitto_pub", server, *publish, *ANN) == (0, "")
            assert await run("mosquitto_pub", server, *publish, *ANN) == (0, "")
    assert checked == ["ann"]
    async with serving(Recorder(), users=USERS, persistence=kept, remember_logins="memory") as server:
        assert await run("mosquitto_pub", server, *publish, *ANN) == (0, "")
    assert checked == ["ann", "ann"]
    assert not [key for key in kept.values if key.startswith("login ")]  # and what was kept is removed
    async with serving(Recorder(), users={"bob": USERS["ann"]}, persistence=kept) as server:
        assert (await run("mosquitto_pub", server, *publish, *ANN))[0] != 0


async def test_rules(caplog: pytest.LogCaptureFixture) -> None:
    acl = (
        Rule(deny="subscribe", topic="private/#"),
        Rule(allow="publish", topic="devices/%u/#", user="*"),
        Rule(allow="subscribe", topic="#"),
    )
    async with serving(app := Recorder(), users=USERS, acl=acl) as server:
        publish = ("-V", "5", "-m", "x", "-q", "1", *ANN)
        assert await run("mosquitto_pub", server, *publish, "-t", "devices/ann/a") == (0, "")
        assert "Not authorized" in (await run("mosquitto_pub", server, *publish, "-t", "devices/bob/a"))[1]
        for asked in ("private/x", "#", "$share/group/private/#"):
            assert "denied" in (await run("mosquitto_sub", server, "-V", "5", "-t", asked, "-W", "3", *ANN))[1]
        will = ("--will-topic", "devices/bob/will", "-t", "devices/#", "-W", "3", "-V", "5")
        assert (await run("mosquitto_sub", server, *will, *ANN))[0] == 0x87
    assert [event["topic"] for event in await app.seen("mqtt.receive")] == ["devices/ann/a"]
    assert "the acl did not allow 1 of its messages" in caplog.text


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's ca.pem, the server's own certificate, and a client's."""
    folder = tmp_path_factory.mktemp("authority")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    commands = [f"openssl req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem"]
    for name, subject in (("server", "/CN=localhost"), ("client", "/O=Works/CN=valve-1")):
        signed = f"-CA ca.pem -CAkey ca.key -addext subjectAltName=DNS:localhost -keyout {name}.key -out {name}.pem"
        commands.append(f"openssl req -x509 {key} -subj {subject} {signed}")
    for command in commands:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


async def test_a_certificates_user(authority: Path) -> None:
    tls = TLS(f"{authority}/server.pem", f"{authority}/server.key", f"{authority}/ca.pem")
    acl = (Rule(allow="publish", topic="valves/%u"),)
    async with serving(app := Recorder(), tls=tls, certificate_user=True, acl=acl) as server:
        shown = ("--cafile", f"{authority}/ca.pem", "-V", "5", "-m", "x", "-q", "1")
        mine = ("--cert", f"{authority}/client.pem", "--key", f"{authority}/client.key")
        assert await run("mosquitto_pub", server, *shown, *mine, "-t", "valves/valve-1") == (0, "")
        assert app.scopes[0]["username"] == "valve-1"
        assert await run("mosquitto_pub", server, *shown, *mine, "-u", "root", "-t", "valves/valve-1") == (0, "")
        assert app.scopes[1]["username"] == "valve-1"
        assert "Not authorized" in (await run("mosquitto_pub", server, *shown, *mine, "-t", "valves/other"))[1]
        assert (await run("mosquitto_pub", server, *shown, "-t", "valves/valve-1"))[0] != 0
    assert len(app.scopes) == 3
