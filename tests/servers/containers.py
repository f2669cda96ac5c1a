"""Podman, in namespaces of its own: what it mounts, binds and starts ends with the test. No registry is needed: the
base image is made of this machine's distribution, and wheels come from where pip has them.

Without the programs, or without root's rights, the tests skip and say so; where CI=true promises them they fail.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
from servers.installation import ROOT
from servers.programs import namespaces, program

BASE = "localhost/base"
WHEELS = "/wheels"
PACKAGES = "base-files,base-passwd,coreutils,dash,login,passwd,python3-pip,python3-venv"
MADE = (
    f'for each in passwd group; do cp "$1/usr/share/base-passwd/$each.master" "$1/etc/$each"; done; '
    f'mkdir -p "$1/etc/ssl/certs"; touch "$1/etc/ssl/certs/ca-certificates.crt"; '
    f'printf "[global]\\nno-index = true\\nfind-links = {WHEELS}\\n" > "$1/etc/pip.conf"'
)
"""The packages are unpacked, not installed, which takes a quarter of the time. This is what their scripts would do."""
CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]  # to raise a limit takes more than root has in some machines
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"  # crun does not start where cgroups of both versions are mounted
[network]
network_backend = "netavark"
network_config_dir = "/run/networks"
"""
INSIDE = """
mount --make-rprivate / && mkdir -p /var/lib/containers
for each in /var/lib/containers /var/tmp /run; do mount -t tmpfs tmpfs $each; done
ip link set lo up && echo ready && cat; :
"""
LIMIT = 300.0
"""Seconds."""


class Containers:
    """Podman's images, volumes, networks and containers, in memory. The network has nothing but them."""

    def __init__(self, folder: Path) -> None:
        namespaces()
        for each in ("podman", "runc", "mmdebstrap", "ip"):
            program(each)
        self._folder = folder
        self.wheels = folder / "wheels"
        self._base = folder / "base.tar"
        conf = folder / "containers.conf"
        conf.write_text(CONF)
        self._environment = os.environ | {"CONTAINERS_CONF": str(conf)}
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", INSIDE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._holder.communicate()
        shutil.rmtree(self._folder)  # 150 MB, which pytest would keep

    def make_base(self) -> None:
        """Make an image with Python and pip, and the wheels that the gateway needs for that Python."""
        with subprocess.Popen(_bootstrap(self._base)) as bootstrap:
            _run(_wheel(self.wheels))
            assert bootstrap.wait(LIMIT) == 0
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        self.run("podman", "import", "--quiet", str(self._base), BASE)

    def run(self, *command: str, **environment: str) -> str:
        """Run ``command`` beside the containers, and return what it printed."""
        (inside,) = psutil.Process(self._holder.pid).children()
        enter = ["nsenter", f"--target={inside.pid}", "--mount", "--net", "--pid", f"--wdns={ROOT}", "--"]
        return _run([*enter, *command], **self._environment | environment)

    def logs(self, container: str) -> str:
        """What ``container`` wrote to its standard error."""
        return self.run("sh", "-c", f"podman logs {container} 2>&1")

    def build(self, folder: Path, image: str) -> None:
        """What `docker build` does with the Dockerfile of ``folder``."""
        self.run("podman", "build", *self._build_options, f"--tag={image}", str(folder))

    @property
    def _build_options(self) -> list[str]:
        return [f"--build-arg=BASE={BASE}", "--network=none", f"--volume={self.wheels}:{WHEELS}:ro", "--layers=false"]

    def compose(self, *arguments: str, **environment: str) -> str:
        """What `docker compose` does with the project's file."""
        command = [str(Path(sys.executable).with_name("podman-compose")), "--no-ansi", "-f", "config/compose.yaml"]
        options = ["--podman-build-args", " ".join(self._build_options)]
        return self.run(*command, *options, *arguments, **environment)


def _bootstrap(target: Path) -> list[str]:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    hooks = ["--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr", f"--extract-hook={MADE}"]
    options = ["--quiet", "--variant=extract", f"--include={PACKAGES}", "--components=main,universe", *hooks]
    return ["mmdebstrap", *options, release["VERSION_CODENAME"], str(target)]


def _wheel(folder: Path) -> list[str]:
    """The distribution's Python, which mmdebstrap brings, is that of the image."""
    pip = [sys.executable, "-m", "pip", "--python", "/usr/bin/python3", "--disable-pip-version-check", "--quiet"]
    constraints = ["--constraint", str(ROOT / "config" / "constraints.txt")]
    return [
        *pip,
        "wheel",
        "--wheel-dir",
        str(folder),
        *constraints,
        f"{ROOT}[django,imap,mail,postgres,redis]",
        "hatchling",
    ]


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment or None)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
