"""Several gateways that share their servers, on hosts of their own: whatever fails, nothing acknowledged is lost, and
nothing that is recognized runs as two messages.

``make faults-cluster`` runs many seeds, longer, with three hosts, and prints how long each recovery took.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers.programs import PATH, namespaces, program
from servers.site import ROOT

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

SEEDS = range(int(os.environ.get("CLUSTER_SEEDS", "1")))
OPTIONS = os.environ.get("CLUSTER_OPTIONS", "--hosts 2 --seconds 0 --pause 2 --every 0.8 --rest 0.3").split()


def cluster(logs: Path, *options: str) -> str:
    """Run it to its end; what it printed."""
    namespaces()
    for each in ("ip", "redis-server", "mosquitto", "dovecot", "haproxy", "postgres"):
        program(each)
    tests = ROOT / "tests"
    path = os.pathsep.join(map(str, (ROOT, tests, tests / "faults", tests / "protocols" / "mqtt")))
    environment = os.environ | {"PYTHONPATH": path, "PATH": PATH}
    command = [sys.executable, "-m", "cluster", "--logs", str(logs), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nlogs: {logs}"
    return done.stdout


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost_whatever_fails(tmp_path: Path, seed: int) -> None:
    said = cluster(tmp_path, "--seed", str(seed), *OPTIONS)
    sys.stdout.write(said)
    assert "acknowledged" in said
