"""The way of a message: routed once, also where it is stored in between."""

import re
import subprocess
import sys

from servers.site import ROOT

MOST = {"HTTP": 12, "MQTT, plain": 16, "MQTT, inbox": 40, "SMTP, plain": 19, "SMTP, policy": 39, "SMTP, inbox": 45}
"""Files that a message may pass, a few more than today."""
LINE = re.compile(r"(.+): (\d+) files, (\d+) stops, (\d+) routers asked")


def test_a_message_of_each_protocol_is_routed_once() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "trace.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    found = [match.groups() for line in done.stdout.splitlines() if (match := LINE.fullmatch(line))]
    asked = {name: int(routers) for name, _, _, routers in found}
    assert asked == {
        "HTTP": 1,  # by scope type alone
        "WebSocket": 0,  # when it connected
        "SMS": 2,  # its webhook asks first whether there is a route, and refuses the text where there is none
        "MQTT, plain": 1,  # by its topic; by scope type its connection was
        "MQTT, inbox": 1,
        "SMTP, plain": 2,
        "SMTP, policy": 2,
        "SMTP, inbox": 2,
    }
    files = {name: int(files) for name, files, *_ in found}
    assert [name for name, most in MOST.items() if files[name] > most] == []
    assert "gateway/consumers/mqtt.py" in done.stdout
