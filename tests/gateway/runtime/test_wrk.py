"""wrk sends requests on 64 connections to a gateway, alternately GET and POST, one at a time and pipelined."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest
from servers.daemon import Daemon
from servers.ports import free_port
from servers.programs import program

CONNECTIONS = 64
FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes: {{http: handlers.page}}
"""
HANDLERS = """
from collections import Counter

counts = Counter()


async def page(scope, receive, send):
    \"\"\"Answers GET with a greeting, POST with its body, and on /counts with the requests of each method so far.\"\"\"
    assert scope["type"] == "http"  # there is no lifespan
    body, event = b"", {"more_body": True}
    while event.get("more_body"):
        event = await receive()
        body += event.get("body", b"")
    if scope["path"] == "/counts":
        answer = "{GET} {POST}".format_map(counts).encode()
    else:
        counts[scope["method"]] += 1
        answer = body if scope["method"] == "POST" else b"hello"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer})
"""
SCRIPT = """
local thread_of = {}
local posted = string.rep("x", 1024)
depth, got, echoed, wrong = 1, 0, 0, 0

function setup(thread)
    table.insert(thread_of, thread)
end

function init(args)
    depth = tonumber(args[1])
    local get, post = wrk.format("GET", "/"), wrk.format("POST", "/", nil, posted)
    one_of = {get, post}
    batch = string.rep(get .. post, depth / 2)
end

local sent = 0
function request()
    sent = sent + 1
    return depth > 1 and batch or one_of[sent % 2 + 1]
end

function response(status, headers, body)
    if status == 200 and body == "hello" then
        got = got + 1
    elseif status == 200 and body == posted then
        echoed = echoed + 1
    else
        wrong = wrong + 1
    end
end

function done(summary, latency, requests)
    for _, name in ipairs({"connect", "read", "write", "status", "timeout"}) do
        print(name .. "=" .. summary.errors[name])
    end
    for _, name in ipairs({"got", "echoed", "wrong"}) do
        local total = 0
        for _, thread in ipairs(thread_of) do
            total = total + thread:get(name)
        end
        print(name .. "=" .. total)
    end
    print("answered=" .. summary.requests)
end
"""


@pytest.mark.parametrize("depth", [1, 8])
def test_wrk_gets_the_right_answer_to_each_of_its_requests(depth: int, tmp_path: Path) -> None:
    wrk = program("wrk")
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "requests.lua").write_text(SCRIPT)
    (tmp_path / "gateway.yaml").write_text(FILE.format(port=(port := free_port())))
    daemon = Daemon(tmp_path)
    try:
        daemon.says("ready")
        url = f"http://127.0.0.1:{port}/"
        command = [wrk, "-t1", f"-c{CONNECTIONS}", "-d1s", "-s", "requests.lua", url, "--", str(depth)]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
        counted = [int(count) for count in httpx.get(f"{url}counts", timeout=20).text.split()]
        assert not any(word in daemon.text for word in ("WARNING", "ERROR")), daemon.text
    finally:
        daemon.close()
    totals = {name: int(total) for name, total in re.findall(r"^(\w+)=(\d+)$", said, re.MULTILINE)}
    assert [totals[name] for name in ("connect", "read", "write", "status", "timeout", "wrong")] == [0] * 6, said
    assert totals["got"] + totals["echoed"] == totals["answered"]
    for answered, handled in zip((totals["got"], totals["echoed"]), counted, strict=True):
        assert 0 < answered <= handled <= answered + CONNECTIONS * depth  # which were under way when wrk stopped
