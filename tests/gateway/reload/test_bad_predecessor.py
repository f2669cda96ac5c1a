"""What the old process may do wrong while another one takes over from it: the next one says so in a sentence, and ends.

The old process is the test, and the next one is a real gateway.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from servers.ports import free_port
from servers.site import ROOT, until

from gateway.reload.channel import Channel
from gateway.reload.errors import HandOverFailed
from gateway.reload.predecessor import RemotePredecessor
from gateway.reload.state import read
from gateway.reload.successor import ENVIRONMENT, PROTOCOL

FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}
routes:
  http: bad_predecessor_handlers.page
  mqtt: []
"""
HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
HANGS = "import time\nopen('importing', 'w').close()\ntime.sleep(3600)\n"
HANGS_IN_START = """
import asyncio, time

async def application(scope, receive, send):
    await receive()
    open("starting", "w").close()
    HANG
"""


class Next:
    """A gateway that takes over from this process."""

    def __init__(
        self, folder: Path, handlers: str = HANDLERS, file: str = FILE, version: int = PROTOCOL, user: int | None = None
    ) -> None:
        (folder / "gateway.yaml").write_text(file.replace("PORT", str(free_port())))
        (folder / "bad_predecessor_handlers.py").write_text(handlers)
        self.end, theirs = pair_of(user)
        self._read = b""
        self._log = folder / "said.log"
        with theirs, self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), ENVIRONMENT: f"{version} {theirs.fileno()}"},
                pass_fds=[theirs.fileno()],
                stdout=log,
                stderr=log,
            )
        self.end.settimeout(30)

    def hear(self) -> dict[str, Any]:
        while b"\n" not in self._read:
            chunk = self.end.recv(65536)
            assert chunk, self.log()
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def answer_until(self, wanted: str) -> dict[str, Any]:
        """Answer as a process that has nothing to hand over. Return the message ``wanted``."""
        while (heard := self.hear())["do"] != wanted:
            if "request" in heard:
                self.answer(heard)
        return heard

    def answer(self, heard: dict[str, Any], descriptors: list[int] = [], **more: object) -> None:  # noqa: B006 -- read only
        message = {"do": "answer", "answers": heard["request"], **more}
        with contextlib.suppress(BrokenPipeError):  # a test that has ended this side
            socket.send_fds(self.end, [json.dumps(message).encode() + b"\n"], descriptors)

    def fails(self) -> str:
        """Return why it does not serve; it has ended then."""
        why = str(self.answer_until("failed")["why"])
        assert self.process.wait(30) == 3
        assert "Traceback" not in self.log()
        return why

    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)
        self.end.close()


def pair_of(user: int | None) -> tuple[socket.socket, socket.socket]:
    was = os.geteuid()
    if user is not None:
        os.seteuid(user)
    try:
        return socket.socketpair()
    finally:
        os.seteuid(was)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Next]]:
    with contextlib.ExitStack() as started:

        def run(**options: Any) -> Next:
            made = Next(tmp_path, **options)
            started.callback(made.close)
            return made

        yield run


PEER = "the process to be replaced"
BAD_ANSWERS: dict[str, tuple[Callable[[Next, dict[str, Any]], object], str]] = {
    "no message": (lambda next_, _: next_.end.sendall(b"?\n"), f"{PEER} sent what is no message: b'?'"),
    "too long": (
        lambda next_, _: next_.end.sendall(b"x" * (5 << 20)),
        f"{PEER} sent a message of more than 4194304 bytes",
    ),
    "sockets missing": (lambda next_, heard: next_.answer(heard, sockets=1), "0 sockets came with it"),
    "not announced": (
        lambda next_, heard: next_.answer(heard, [next_.end.fileno()]),
        f"{PEER} sent sockets that no message announces",
    ),
    "no socket": (
        lambda next_, heard: next_.answer(heard, [1], sockets=1),
        f"{PEER} sent a file descriptor that is no socket",
    ),
    "ended": (lambda next_, _: next_.end.shutdown(socket.SHUT_WR), f"{PEER} has ended"),
}


@pytest.mark.parametrize(("act", "told"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_is_none(
    start: Callable[..., Next], act: Callable[[Next, dict[str, Any]], object], told: str
) -> None:
    next_ = start()
    act(next_, next_.answer_until("sockets"))
    assert told in next_.fails()


def records(*parts: object) -> bytes:
    packed = [part if isinstance(part, bytes) else msgpack.packb(part) for part in parts]
    return b"".join(len(each).to_bytes(4, "big") + each for each in packed)


STATES = {
    "no socket": (None, f"{PEER} sent 0 sockets for the state of devices, and not 1"),
    "cut off": (records([])[:-1], f"{PEER} has ended while it handed over its sessions"),
    "no MessagePack": (records(b"\xc1"), f"{PEER} sent what is no record while it handed over its sessions"),
    "no list": (records(5), f"{PEER} sent what is no record while it handed over its sessions"),
    "no pairs": (records([["one"]]), f"{PEER} sent what is no record while it handed over its sessions"),
    "other types": (records([[1, b""]]), f"{PEER} sent a record of other types while it handed over its sessions"),
    "too long": (b"\xff" * 9, f"{PEER} announced 4294967295 bytes while it handed over its sessions"),
}


@pytest.mark.parametrize(("state", "told"), STATES.values(), ids=STATES)
def test_a_state_that_is_none(start: Callable[..., Next], state: bytes | None, told: str) -> None:
    next_ = start()
    heard = next_.answer_until("state")
    if state is None:
        next_.answer(heard)
    else:
        ours, theirs = socket.socketpair()
        with ours:
            next_.answer(heard, [theirs.fileno()], sockets=1)
            theirs.close()
            ours.sendall(state)
    assert told in next_.fails()


@pytest.mark.parametrize("message", [{"do": "no"}, {"do": "promote"}, {"do": "promote", "alone": 1, "adopts": False}])
def test_a_promotion_that_is_none(start: Callable[..., Next], message: dict[str, Any]) -> None:
    next_ = start(file=FILE.replace("  devices", "  #").replace("  mqtt", "  #"))
    next_.answer_until("ready")
    next_.end.sendall(json.dumps(message).encode() + b"\n")
    assert f"{PEER} said '{message['do']}' where it had to say 'promote'" in next_.fails()


@pytest.mark.parametrize("hang", ["await asyncio.sleep(3600)", "time.sleep(3600)"], ids=["async", "sync"])
def test_it_ends_with_the_old_process_while_the_application_starts(
    start: Callable[..., Next], tmp_path: Path, hang: str
) -> None:
    file = (
        'servers: {web: {protocol: http, bind: "127.0.0.1:PORT"}}\napplication: bad_predecessor_handlers.application\n'
    )
    next_ = start(file=file, handlers=HANGS_IN_START.replace("HANG", hang))
    until((tmp_path / "starting").exists, next_.log)
    next_.end.close()
    assert next_.process.wait(60) == 3
    assert f"{PEER} has ended" in next_.log()


def test_it_ends_with_the_old_process_while_it_imports(start: Callable[..., Next], tmp_path: Path) -> None:
    next_ = start(handlers=HANGS)
    until((tmp_path / "importing").exists, next_.log)
    next_.end.close()
    assert next_.process.wait(20) == 3
    assert next_.log() == f"{PEER} has ended: this one ends, too\n"


def test_it_ends_with_the_old_process_when_it_is_ready(start: Callable[..., Next]) -> None:
    """Not with 0: a supervisor that waits for it by then has to start another one."""
    next_ = start(file=FILE.replace("  devices", "  #").replace("  mqtt", "  #"))
    next_.answer_until("ready")
    next_.end.close()
    assert next_.process.wait(20) == 3
    assert f"stopping: {PEER} has ended" in next_.log()


@pytest.mark.parametrize("value", ["", "2", "2 x", "2 99999", "2 1", "x y z w v"])
def test_a_variable_that_no_gateway_has_set(tmp_path: Path, value: str) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.replace("PORT", "0"))
    (tmp_path / "bad_predecessor_handlers.py").write_text(HANDLERS)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), ENVIRONMENT: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert done.stderr == (
        f"{ENVIRONMENT} is {value!r}: a gateway sets it for the process that takes over from it; unset it\n"
    )


def test_the_old_process_is_another_user_s(start: Callable[..., Next]) -> None:
    """The test needs root, as Postfix and Podman do: only root can be another user for a moment."""
    next_ = start(user=65534)
    assert next_.fails() == f"{PEER} belongs to user 65534, and the next one to user 0"


def test_another_version_of_the_protocol(start: Callable[..., Next]) -> None:
    next_ = start(version=PROTOCOL - 1)
    assert next_.fails() == (
        f"it hands over by version {PROTOCOL - 1} of the protocol, and this release takes over by {PROTOCOL}: "
        "stop it, and start this one"
    )


async def test_an_old_process_that_does_not_answer() -> None:
    ours, theirs = socket.socketpair()
    predecessor = RemotePredecessor(Channel(ours, PEER), may_end=False)
    predecessor.patience = 0.05
    with theirs, pytest.raises(HandOverFailed, match=f"^{PEER} did not answer 'stop_delivering' within 0.05 s$"):
        await predecessor.stop_delivering()
    ours.close()


async def test_a_state_that_does_not_come() -> None:
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(HandOverFailed, match=f"^{PEER} said nothing for 0.05 s while"):
        async for _ in read(ours, 0.05):
            pass


async def test_sockets_stay_with_their_message() -> None:
    """Also if it is read in one piece with the one before."""
    ours, theirs = socket.socketpair()
    receiving, sending = Channel(ours), Channel(theirs)
    sending.send({"do": "one"})
    sending.send({"do": "two"}, [theirs])
    for wanted, count in (("one", 0), ("two", 1)):
        received = await receiving.receive()
        assert received is not None
        message, sockets = received
        assert (message, len(sockets)) == ({"do": wanted}, count)
        for each in sockets:
            each.close()
    receiving.close()
    sending.close()
