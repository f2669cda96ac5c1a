"""The way of a message: routed once, also where it is stored in between."""

import re
import subprocess
import sys

import pytest
from servers.site import ROOT

MOST = {"HTTP": 16, "MQTT, plain": 19, "MQTT, inbox": 45, "SMTP, plain": 30, "SMTP, policy": 52, "SMTP, inbox": 55}
"""Files that a message may pass. One of them is the histogram of durations, for a request that takes longer than
most and for the first message of a connection."""
LINE = re.compile(r"(.+): (\d+) files, \d+ calls from one to another, \d+ resumed; routed by (\d+), (\d+) again")


@pytest.fixture(scope="module")
def traces() -> str:
    command = [sys.executable, str(ROOT / ".ci" / "trace.py")]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


def figures(traces: str) -> dict[str, tuple[int, int, int]]:
    found = [match.groups() for line in traces.splitlines() if (match := LINE.fullmatch(line))]
    return {name: (int(files), int(routers), int(again)) for name, files, routers, again in found}


def test_a_message_of_each_protocol_is_routed_once(traces: str) -> None:
    asked = {name: (routers, again) for name, (_, routers, again) in figures(traces).items()}
    assert asked == {
        "HTTP": (1, 0),  # by scope type alone
        "WebSocket": (0, 0),  # when it connected
        "SMS": (1, 1),  # its webhook asks first whether there is a route, and drops the text if there is none
        "MQTT, plain": (1, 0),  # by its topic; by scope type its connection was
        "MQTT, inbox": (1, 0),
        "SMTP, plain": (2, 0),  # by scope type, and by its recipient
        "SMTP, policy": (2, 0),
        "SMTP, inbox": (2, 0),
    }


def test_a_message_passes_few_files_and_none_twice_without_a_reason(traces: str) -> None:
    files = {name: files for name, (files, _, _) in figures(traces).items()}
    assert [name for name, most in MOST.items() if files[name] > most] == []
    assert "gateway/consumers/mqtt.py" in traces
    assert [line for line in traces.splitlines() if "called again" in line] == []
