"""The systemd unit, as systemd itself reads it."""

import json
import re
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
from servers.programs import program

from gateway.exit_codes import MISTAKE

UNIT = Path(__file__).resolve().parents[2] / "config" / "gateway.service"


class _Sections(RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def settings() -> _Sections:
    parser = _Sections(strict=False)
    parser.read(UNIT)
    return parser


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy whose programs exist on this machine."""
    program("systemd-analyze")
    copy = tmp_path / "gateway.service"
    copy.write_text(UNIT.read_text().replace("/opt/gateway/.venv/bin/gateway", program("true")))
    return copy


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_understands_every_line(unit: Path) -> None:
    done = analyzed("verify", str(unit))
    about_us = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert (done.returncode, about_us) == (0, [])


def test_systemd_understands_every_line_of_the_socket(unit: Path) -> None:
    opened = unit.with_name("gateway.socket")
    opened.write_text(UNIT.with_name("gateway.socket").read_text())
    done = analyzed("verify", str(opened), str(unit))
    about_us = [line for line in (done.stdout + done.stderr).splitlines() if "gateway" in line]
    assert (done.returncode, about_us) == (0, [])


def test_what_it_may_do_beyond_its_own_work_is_listed_here(unit: Path) -> None:
    done = analyzed("security", "--offline=true", "--json=short", str(unit))
    exposed = {item["name"].partition("=")[0] for item in json.loads(done.stdout) if float(item["exposure"] or 0) > 0}
    wanted = {
        "AmbientCapabilities": "ports below 1024",
        "CapabilityBoundingSet": "ports below 1024",
        "PrivateUsers": "ports below 1024",
        "DeviceAllow": "comes of ProtectClock=",
        "IPAddressDeny": "the public is who it serves",
        "PrivateNetwork": "the public is who it serves",
        "RestrictAddressFamilies": "the public is who it serves, by TCP and by Unix sockets",
        "MemoryDenyWriteExecute": "an application's libraries may compile code",
        "ProcSubset": "an application's libraries may read /proc/meminfo",
        "RootDirectory": "an image of its own would be another product",
    }
    assert exposed - wanted.keys() == set()


def test_a_mistake_in_the_file_is_not_tried_again() -> None:
    """RestartPreventExitStatus= looks at the exit code of ExecStart= alone."""
    service = settings()["Service"]
    assert not [key for key in service if re.fullmatch(r"Exec(StartPre|Condition|StartPost)", key)]
    assert service["RestartPreventExitStatus"].split() == [str(MISTAKE)]
    assert settings()["Unit"]["StartLimitBurst"]


def test_a_reload_is_told_whether_the_file_has_a_mistake() -> None:
    """`Type=notify-reload` would not be, and systemd before 253 does not know it."""
    service = settings()["Service"]
    assert service["ExecReload"] == service["ExecStart"].replace(" run ", " reload ")
    assert service["Type"] == "notify"


def test_the_page_on_deployment_says_what_the_unit_says() -> None:
    page = (UNIT.parents[1] / "docs" / "deployment.md").read_text()
    sections = settings()
    named = set(re.findall(r"`([A-Z]\w+)=", page)) - {"SupplementaryGroups"}  # which the reader adds
    assert named == named & {*sections["Service"], *sections["Unit"]} != set()
    for path in ("/etc/gateway/gateway.yaml", "/etc/gateway/environment", "/opt/gateway/.venv"):
        assert path in page
        assert path in UNIT.read_text()
    assert f"/var/lib/{sections['Service']['StateDirectory']}" in page
    opened = UNIT.with_name("gateway.socket").read_text()
    assert set(re.findall(r"fd:(\w+)", page)) == set(re.findall(r"FileDescriptorName=(\w+)", opened))


def test_what_it_writes_is_its_own() -> None:
    service = settings()["Service"]
    assert (service["UMask"], service["StateDirectoryMode"]) == ("0077", "0700")
