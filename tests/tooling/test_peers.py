"""`.ci/peers` on machines that we do not have: its commands are stand-ins that write down how they were called."""

import subprocess
from pathlib import Path

import pytest
from servers.site import ROOT

SCRIPT = ROOT / ".ci" / "peers"
PROGRAMS = (
    "mosquitto",
    "mosquitto_pub",
    "dovecot",
    "postfix",
    "dkimproxy-verify",
    "redis-server",
    "haproxy",
    "promtool",
    "chromium",
    "chromedriver",
    "swaks",
    "curl",
    "nghttp",
    "wrk",
    "openssl",
    "systemd-analyze",
    "logger",
    "podman",
    "runc",
    "mmdebstrap",
    "ip",
    "logrotate",
    "nginx",
    "goaccess",
    "pgbouncer",
    "pg_createcluster",
)


class Machine:
    """A folder of programs which is all that the script finds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        (folder / "env").symlink_to("/usr/bin/env")
        self.has("id", "echo 1000")
        self.has("sudo", 'shift; exec "$@"')
        for each in PROGRAMS:
            self.has(each)

    def has(self, name: str, body: str = "") -> None:
        path = self._folder / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def records(self, name: str, body: str = "") -> None:
        self.has(name, f'echo "{name} $*" >> "{self._calls}"\n{body}')

    def lacks(self, *names: str) -> None:
        for name in names:
            (self._folder / name).unlink()

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def run(self, **environ: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self._folder), **environ}
        return subprocess.run(
            ["/bin/bash", SCRIPT], env=environ, capture_output=True, text=True, timeout=20, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_is_there_is_left_alone(machine: Machine) -> None:
    machine.records("apt-get")
    assert machine.run().returncode == 0
    assert machine.calls == []


def test_what_is_missing_is_installed_and_left_stopped(machine: Machine) -> None:
    """Mosquitto's own service would have 1883 from then on, where the example wants to listen."""
    machine.lacks("mosquitto", "dovecot", "swaks")
    machine.records("apt-get")
    machine.records("systemctl", '[ "$1" != is-active ] || [ "$3" = mosquitto ]')
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.calls == [
        "apt-get update -qq",
        "apt-get install -qq -y --no-install-recommends mosquitto dovecot-imapd dovecot-lmtpd swaks",
        "systemctl is-active --quiet mosquitto",
        "systemctl disable --quiet --now mosquitto",
        "systemctl is-active --quiet dovecot",
    ]


def test_a_machine_without_services(machine: Machine) -> None:
    machine.lacks("redis-server")
    machine.records("apt-get")
    assert machine.run(CI="true").returncode == 0


@pytest.mark.parametrize("lacking", ["sudo", "apt-get"])
def test_where_nothing_can_be_installed(machine: Machine, lacking: str) -> None:
    """The other tests run all the same, but CI is not content with them."""
    machine.lacks("swaks", "haproxy")
    machine.has("apt-get")
    machine.lacks(lacking)
    done = machine.run()
    assert done.returncode == 0
    assert "the tests that need them are skipped: haproxy swaks" in done.stdout
    assert machine.run(CI="true").returncode != 0
