"""How `gateway run --reload` ends: none of its processes is left, and none complains."""

import json
import os
import signal
import socket
from collections.abc import Callable

import pytest
from servers.edited import Edited
from servers.site import until

Start = Callable[..., Edited]
HANDLERS = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/hang":
        print("HANGING", flush=True)
        await asyncio.sleep(3600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
FILES = {
    "gateway.yaml": "servers: {web: {protocol: http, bind: '127.0.0.1:PORT'}}\napplication: ended_handlers.app\n",
    "ended_handlers.py": HANDLERS,
}


def test_ctrl_c_ends_every_process_once(start: Start) -> None:
    run = start(FILES)
    run.answers("ok")
    run.interrupt()
    assert run.process.wait(20) == 0
    assert run.group() == []
    assert run.said().endswith("INFO    stopped: 0 lost\n")
    assert "Traceback" not in run.said()
    assert "interrupted" not in run.said()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_at_which_others_reload_ends_nothing(start: Start, number: signal.Signals) -> None:
    run = start(FILES)
    run.answers("ok")
    os.killpg(run.process.pid, number)
    run.says(f"reload: {number.name}: ignored; a new version starts when a file changes")
    run.says(f"WARNING {number.name}: ")  # from the version that serves
    run.write("ended_handlers.py", HANDLERS.replace('b"ok"', 'b"new"'))
    run.answers("new")
    run.interrupt()
    assert run.process.wait(20) == 0
    assert run.group() == []


def test_the_supervisor_writes_in_the_format_of_the_file(start: Start) -> None:
    run = start(FILES | {"gateway.yaml": f"log: {{format: json}}\n{FILES['gateway.yaml']}"})
    run.answers("ok")
    run.write("ended_handlers.py", "def app(:")
    run.says("the version before keeps running")
    [line] = [each for each in run.said().splitlines() if "keeps running" in each]
    record = json.loads(line)
    assert (record["level"], record["message"]) == ("warning", "the version before keeps running")


def test_versions_end_with_a_supervisor_that_is_killed(start: Start) -> None:
    run = start(FILES)
    run.answers("ok")
    run.process.kill()
    run.process.wait(20)
    until(lambda: run.group() == [], run.said)


def test_it_waits_for_a_file_that_can_start(start: Start) -> None:
    run = start(FILES | {"ended_handlers.py": "def app(:"})
    run.says("nothing runs until a file changes")
    run.write("ended_handlers.py", HANDLERS)
    run.answers("ok")
    run.process.terminate()  # the supervisor alone, as `kill` does
    assert run.process.wait(20) == 0
    assert run.group() == []


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    run = start(FILES)
    run.answers("ok")
    with socket.create_connection(("127.0.0.1", run.port)) as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nHost: here\r\n\r\n")
        run.says("HANGING")
        run.process.terminate()
        run.says("draining")
        run.process.terminate()
        assert run.process.wait(20) == 1
    assert run.group() == []


def test_no_module_that_takes_long_holds_up_the_end(start: Start) -> None:
    run = start(FILES)
    run.answers("ok")
    run.write("ended_handlers.py", 'import time\nprint("HANGING", flush=True)\ntime.sleep(3600)\n')
    run.says("HANGING")
    run.process.terminate()
    code = run.process.wait(20)
    assert code == 0, run.said()
    assert run.group() == []
