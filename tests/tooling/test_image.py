"""The image, built and run as docs/install.md says; Podman in Docker's place."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.containers import BASE, Containers
from servers.installation import ROOT
from servers.site import until

pytestmark = pytest.mark.timeout(400)

IMAGE = "asgi-gateway"
CONFIG = """
store: sqlite:/var/lib/gateway/gateway.db
console: {bind: 127.0.0.1:9000}
servers:
  web: {protocol: http, bind: 0.0.0.0:8000}
  devices: {protocol: mqtt, bind: 0.0.0.0:1883, anonymous: true}
routes:
  http: handlers.Page
  mqtt:
    - {topic: fails, app: handlers.Fails, attempts: 1}
"""
HANDLERS = """
import os
from gateway.consumers import HttpConsumer, MqttConsumer

class Page(HttpConsumer):
    def handle(self, body):
        self.respond(f"user {os.getuid()}, group {os.getgid()}, process {os.getpid()}")

class Fails(MqttConsumer):
    def receive(self, topic, payload):
        raise RuntimeError("on purpose")
"""
HEALTH = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9000/healthz').read().decode())"
CHANGED = {"/etc", "/etc/gateway", "/opt", "/opt/gateway", "/var", "/var/lib", "/var/lib/gateway", "/wheels"}
"""Where an image differs from its base. ``/wheels`` is where this test mounts them."""
USERS = re.compile(r"/etc/((passwd|group|g?shadow|sub[ug]id)-?|\.pwd\.lock)")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    containers = Containers(tmp_path_factory.mktemp("containers"))
    try:
        containers.make_base()
        yield containers
    finally:
        containers.close()


@pytest.fixture(scope="module")
def containers(base: Containers) -> Containers:
    """With the image."""
    base.compose("build", "gateway", GATEWAY_FOLDER="/nowhere")
    return base


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    for each in (tmp_path, *tmp_path.parents[:2]):  # pytest's own, which only root may enter
        each.chmod(each.stat().st_mode | 0o055)
    return str(tmp_path)


def test_the_base_is_another_one(base: Containers) -> None:
    """The distribution's, which has what the Dockerfile asks of a base."""
    python = ["podman", "run", "--rm", "--network=none", BASE, "python3"]
    assert base.run(*python, "-c", "import sys, venv; print(sys.version_info >= (3, 11), sys.prefix)") == "True /usr\n"
    assert "/usr/lib" in base.run(*python, "-m", "pip", "--version")


def test_the_image_has_what_the_profiles_of_the_compose_file_need(containers: Containers) -> None:
    """A file that names the PostgreSQL or the Redis beside it."""
    python = ["podman", "run", "--rm", "--network=none", "--entrypoint=python", IMAGE]
    assert containers.run(*python, "-c", "import psycopg, channels_redis; print('there')") == "there\n"


def test_compose_runs_a_folder(containers: Containers, project: str) -> None:
    """As a user without rights, and stopped by a signal, which the kernel does not give to a process 1 that has no
    handler for it. The container that comes after it finds what the first one stored."""

    def compose(*arguments: str) -> str:
        return containers.compose(*arguments, GATEWAY_FOLDER=project)

    def gateway(*arguments: str) -> str:
        return compose("exec", "-T", "gateway", "gateway", *arguments)

    compose("up", "-d", "gateway")
    page = containers.run("curl", "-sf", "--retry", "30", "--retry-delay", "1", "--retry-connrefused", "127.0.0.1:8000")
    assert page == "user 10001, group 10001, process 1"
    assert '"alive": true' in compose("exec", "-T", "gateway", "python3", "-c", HEALTH)
    assert "2 servers, 2 routes, valid" in gateway("check")
    assert "handlers.Fails took it" in gateway("send", "mqtt", "fails", "x")
    compose("stop", "gateway")
    assert containers.run("podman", "inspect", "--format={{.State.ExitCode}}", "gateway_gateway_1") == "0\n"
    assert "stopped: 0 lost" in containers.logs("gateway_gateway_1")
    compose("down")
    assert "1 dead letter" in compose("run", "--rm", "-T", "gateway", "dead", "list")


def test_new_code_takes_over_from_process_1(containers: Containers, project: str) -> None:
    """Process 1 goes on as the parent that waits. It reaps what others leave, and ends as the daemon ends."""

    def compose(*arguments: str) -> str:
        return containers.compose(*arguments, GATEWAY_FOLDER=project)

    def inside(*command: str) -> str:
        return compose("exec", "-T", "gateway", *command)

    compose("up", "-d", "gateway")
    visit = ["curl", "-sf", "--retry", "30", "--retry-delay", "1", "--retry-connrefused", "127.0.0.1:8000"]
    assert containers.run(*visit).endswith("process 1")
    for _ in range(2):
        done = re.search(r"process (\d+) serves", inside("gateway", "reload", "--code"))
        assert done
        assert containers.run(*visit).endswith(f"process {done[1]}")
    until(lambda: "parent.py" in inside("cat", "/proc/1/cmdline"), "process 1 waits")
    inside("sh", "-c", "(sleep 0.1 &)")
    until(lambda: not re.search(r"\) Z 1 ", inside("sh", "-c", "cat /proc/[0-9]*/stat")), "it has no zombies")
    compose("stop", "gateway")
    assert containers.run("podman", "inspect", "--format={{.State.ExitCode}}", "gateway_gateway_1") == "0\n"
    assert "stopped: 0 lost" in containers.logs("gateway_gateway_1")
    compose("down")


def test_only_the_gateway_is_added_to_the_base(containers: Containers) -> None:
    """No sources, no cache, and no pip of its own."""
    changed = {line.split()[1] for line in containers.run("podman", "image", "diff", IMAGE, BASE).splitlines()}
    assert {path for path in changed if not path.startswith(("/opt/gateway/", "/etc/"))} <= CHANGED
    assert all(USERS.fullmatch(path) for path in changed - CHANGED if path.startswith("/etc/"))
    packages = {Path(path).name for path in changed if Path(path).parent.name == "site-packages"}
    assert packages >= {"gateway", "protocols", "django"}
    assert not packages & {"pip", "setuptools", "wheel", "hatchling", "tests"}


def test_its_size(containers: Containers) -> None:
    """Megabytes, as `docker images` prints them. The clients of PostgreSQL and Redis are 20 of them."""
    size, base = (int(containers.run("podman", "inspect", "--format={{.Size}}", each)) for each in (IMAGE, BASE))
    assert (size - base) // 10**6 <= 225


def test_an_image_with_more_libraries(containers: Containers, tmp_path: Path) -> None:
    """The Dockerfile of docs/install.md. The library is one that the image does not have."""
    found = re.search(r"```dockerfile\n(.*?)```", (ROOT / "docs" / "install.md").read_text(), re.DOTALL)
    assert found
    (tmp_path / "Dockerfile").write_text(found[1])
    (tmp_path / "requirements.txt").write_text("aioimaplib\n")
    containers.build(tmp_path, "house")
    python = ["podman", "run", "--rm", "--network=none", "--entrypoint=python3", "house"]
    printed = containers.run(*python, "-c", "import aioimaplib, gateway, os; print(os.getuid())")
    assert printed == "10001\n"
