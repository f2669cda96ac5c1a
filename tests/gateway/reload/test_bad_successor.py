"""What the next process may do wrong while it takes over: the old one says so in a sentence, and goes on serving.

The next process is a script of the test, which has the real end of the hand-over.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from servers.replaced import PAGE, Replaced
from servers.site import until

FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
routes:
  http: bad_successor_handlers.page
"""
START = """
import os, sys
if "GATEWAY_HAND_OVER" in os.environ and os.path.exists("peer.py"):
    exec(open("peer.py").read())
else:
    sys.argv = ["gateway", "run"]
    from gateway.__main__ import main
    main()
"""
PEER = """
import json, socket, time
end = socket.socket(fileno=int(os.environ["GATEWAY_HAND_OVER"].split()[1]))
def say(**message): end.sendall(json.dumps(message).encode() + b"\\n")
def give(descriptors, **message): socket.send_fds(end, [json.dumps(message).encode() + b"\\n"], descriptors)
"""
HELLO = "say(do='hello')\n"
SILENT = "the release that is in place now cannot take over from this one. To run it, restart the gateway"
NO_MESSAGE = "the next process sent what is no message: "
CASES = {
    "ends at once": ("", f"the next process ended with code 0, and said nothing: {SILENT}"),
    "cannot be imported": ("import no_such_release", f"ended with code 1, and said nothing: {SILENT}"),
    "ends after hello": (HELLO, "the next process ended with code 0, and its log says why"),
    "says something else first": ("say(do='ready')", "the next process said 'ready', which this release does not know"),
    "bytes": (HELLO + r"end.sendall(b'\0\xff\n'); time.sleep(60)", NO_MESSAGE + r"b'\x00\xff'"),
    "an empty line": (HELLO + r"end.sendall(b'\n'); time.sleep(60)", NO_MESSAGE + "b''"),
    "deep": (HELLO + r"end.sendall(b'[' * 100000 + b'\n'); time.sleep(60)", NO_MESSAGE + "b'[[["),
    "no object": (HELLO + r"end.sendall(b'[1]\n'); time.sleep(60)", """b'[1]': an object with "do" is wanted"""),
    "no text in do": (HELLO + "say(do=['ready']); time.sleep(60)", 'an object with "do" is wanted'),
    "unknown": (HELLO + "say(do='dance'); time.sleep(60)", "said 'dance', which this release does not know"),
    "no name": (HELLO + "say(do='sockets', bind='127.0.0.1:1'); time.sleep(60)", "'sockets' has no text for 'name'"),
    "name no text": (HELLO + "say(do='state', name=[]); time.sleep(60)", "'state' has no text for 'name'"),
    "no address": (
        HELLO + "say(do='sockets', name='web', bind='?'); time.sleep(60)",
        "the message 'sockets' has no address for 'bind'",
    ),
    "too long": (
        HELLO + "end.sendall(b'x' * (5 << 20)); time.sleep(60)",
        "the next process sent a message of more than 4194304 bytes",
    ),
    "cut off": (HELLO + 'end.sendall(b\'{"do": "re\')', "the next process ended with code 0, and its log says why"),
    "slow": (HELLO + 'end.sendall(b\'{"do": "re\'); time.sleep(60)', "the next process was not ready within 2 s"),
    "says nothing": (HELLO + "time.sleep(60)", "the next process was not ready within 2 s"),
    "sockets missing": (HELLO + "say(do='resume', sockets=2); time.sleep(60)", "0 sockets came with it"),
    "sockets no number": (HELLO + "say(do='resume', sockets=True); time.sleep(60)", "0 sockets came with it"),
    "sockets not announced": (
        HELLO + "give([end.fileno()], do='resume'); time.sleep(60)",
        "the next process sent sockets that no message announces",
    ),
    "sockets that are not wanted": (
        HELLO + "give([end.fileno()], do='resume', sockets=1); time.sleep(60)",
        "the next process sent sockets with 'resume'",
    ),
    "too many sockets": (
        HELLO + "give([end.fileno()] * 253, do='resume', sockets=254); time.sleep(60)",
        "253 sockets came with it",
    ),
    "no socket": (
        HELLO + "give([os.pipe()[0]], do='resume', sockets=1); time.sleep(60)",
        "the next process sent a file descriptor that is no socket",
    ),
    "does not read": (
        HELLO + "while True: say(do='sockets', name='web', bind='127.0.0.1:1', request='x' * 9000)",
        "the next process does not read what it is sent",
    ),
    "asks without end": (
        HELLO + "while True: say(do='sockets', name='web', bind='127.0.0.1:1', request='x'); end.recv(9999)",
        "the next process has asked more than 10000 times",
    ),
    "no reason": (HELLO + "say(do='failed'); time.sleep(60)", "the message 'failed' has no text for 'why'"),
    "killed when it is ready": (
        HELLO + "say(do='ready'); os.kill(os.getpid(), 9)",
        "the next process ended with code -9, and its log says why",
    ),
    "killed when it counts": (
        HELLO + "say(do='ready'); end.recv(9999); os.kill(os.getpid(), 9)",
        "the next process ended with code -9, and its log says why",
    ),
    "hangs when it counts": (HELLO + "say(do='ready'); time.sleep(60)", "the next process was not ready within 2 s"),
    "something else when it counts": (
        HELLO + "say(do='ready'); say(do='no'); time.sleep(60)",
        "said 'no', which this release does not know",
    ),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaced]:
    folder = tmp_path_factory.mktemp("bad")
    files = {"gateway.yaml": FILE, "bad_successor_handlers.py": PAGE, "start.py": START}
    running = Replaced(folder, files, [sys.executable, "start.py"])
    running.reload()  # both processes have everything open by now that they need for a reload
    yield running
    running.close()


@pytest.mark.parametrize(("script", "told"), CASES.values(), ids=CASES)
def test_the_old_process_says_what_is_wrong_and_serves(running: Replaced, script: str, told: str) -> None:
    serves = psutil.Process(int(running.answer()))
    descriptors, lines = serves.num_fds(), len(running.said().splitlines())
    running.write("peer.py", PEER + script)
    said = running.reload("--within", "2s" if " 2 s" in told else "60s")
    (running.folder / "peer.py").unlink()
    assert said.returncode == 1
    first, last = said.stderr.splitlines()
    assert told in first
    assert last == f"Process {serves.pid} keeps running."
    assert running.answer() == str(serves.pid)
    until(lambda: serves.num_fds() <= descriptors, running.said)
    assert [each for each in serves.children() if each.status() != psutil.STATUS_ZOMBIE] == []
    [error] = [line for line in running.said().splitlines()[lines:] if line.startswith("ERROR")]
    assert error == f"ERROR   this process keeps running, because the next one does not serve: {first}"


def test_a_process_takes_over_after_all_that(running: Replaced) -> None:
    before = running.answer()
    said = running.reload()
    assert (said.returncode, said.stderr) == (0, "")
    assert running.answer() not in ("", before)


def test_the_interface_answers_the_same(tmp_path: Path) -> None:
    """The console has the reason, too."""
    file = FILE.replace(
        "routes:", 'console: {bind: "127.0.0.1:0"}\nroutes:'.replace("127.0.0.1:0", f"unix:{tmp_path}/console")
    )
    files = {"gateway.yaml": file, "bad_successor_handlers.py": PAGE, "start.py": START, "peer.py": PEER + HELLO}
    running = Replaced(tmp_path, files, [sys.executable, "start.py"])
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=f"{tmp_path}/console")) as console:
            answer = console.post(
                "http://localhost/api/reload/code", headers={"content-type": "application/json"}, content="{}"
            )
        assert answer.is_error
        assert "the next process ended with code 0, and its log says why" in json.dumps(answer.json())
    finally:
        running.close()
