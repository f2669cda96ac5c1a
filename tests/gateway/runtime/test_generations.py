"""`gateway reload` and SIGHUP: the daemon reads its file again, and says what came of it to whoever asked."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from mqtt_paho import Paho
from servers.command import run
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until

HANDLERS = """
def answering(text):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})
    return app

one, two = answering(b"one"), answering(b"two")
"""
SLOW = """
import asyncio
from pathlib import Path

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        Path("starts").touch()
        await asyncio.sleep(30)
"""
FILE = """servers:
  web:
    bind: 127.0.0.1:{port}
    protocol: http
routes:
  http:
    - {{path: "", app: reload_handlers.{name}}}
"""


class Daemon(GatewayProcess):
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.file = folder / "gateway.yaml"
        super().__init__(folder, "reload_handlers", HANDLERS, self.text())
        self.start()
        until(lambda: self.answer("") == "one", self.output)

    def text(self, name: str = "one", more: str = "") -> str:
        return FILE.format(port=self.port, name=name) + more

    def answer(self, path: str) -> str | None:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/{path}").text
        except httpx.ConnectError:
            return None

    def reload(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return run(self.folder, "reload", *options)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    yield made
    made.stop(signal.SIGKILL)


def test_what_the_file_says_takes_effect_and_what_changed_is_printed(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text("two", "threads: 7\n"))
    done = daemon.reload()
    assert (done.returncode, done.stderr) == (0, "")
    *changes, last = done.stdout.splitlines()
    assert changes == ["routes.http[0].app: reload_handlers.one -> reload_handlers.two", "threads: 32 -> 7"]
    assert last.startswith("generation 2 runs, after ")
    assert last.endswith(" s: 2 changes")
    assert daemon.answer("") == "two"
    assert "gateway.yaml: 1 server, 1 route, valid, generation 2" in daemon.output()
    assert daemon.stop(signal.SIGTERM) == 0
    assert "ERROR" not in daemon.output()


def test_every_mistake_is_shown_at_its_place_and_the_gateway_goes_on(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text("three").replace("bind", "bund"))
    done = daemon.reload()
    checked = run(daemon.folder, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == checked.stderr.replace("Nothing was started.", "Still running generation 1.")
    assert "gateway.yaml:3:5: error: unknown key 'bund'" in done.stderr
    assert "gateway.yaml:7:23: error: 'reload_handlers.three'" in done.stderr
    assert daemon.answer("") == "one"
    [_, answer] = map(json.loads, daemon.reload("--json").stdout.splitlines())
    assert [each["line"] for each in answer["done"]["mistakes"]] == [3, 7]
    until(
        lambda: "gateway.yaml was not reloaded: 2 errors. Still running generation 1." in daemon.output(),
        "it is logged",
    )


def test_a_file_that_is_no_yaml_is_shown_by_the_gateway_that_runs(daemon: Daemon) -> None:
    daemon.file.write_text("servers: [")
    done = daemon.reload()
    assert done.returncode == 2
    assert done.stderr.endswith("1 error. Still running generation 1.\n")


def test_an_address_that_is_in_use_changes_nothing(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = f"  more: {{protocol: http, bind: '127.0.0.1:{taken.getsockname()[1]}'}}\nroutes"
        daemon.file.write_text(daemon.text("two").replace("routes", more))
        done = daemon.reload()
    assert done.returncode == 3
    assert "servers.more: " in done.stderr
    assert done.stderr.endswith("or choose another. Still running generation 1.\n")
    assert daemon.answer("") == "one"
    assert daemon.reload().returncode == 0
    assert daemon.answer("") == "two"


def test_the_same_file_changes_nothing_unless_forced(daemon: Daemon) -> None:
    daemon.file.write_text(f"# a comment\n{daemon.text()}")
    done = daemon.reload()
    assert done.stdout == "nothing changed: the file says what generation 1 runs with; --force builds it anew\n"
    assert daemon.reload("--force").stdout.startswith("generation 2 runs, after ")


def test_check_shows_what_would_change_and_changes_nothing(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text("two"))
    assert daemon.reload("--check").stdout.splitlines()[-1] == "valid: 1 change; generation 1 runs on"
    assert daemon.answer("") == "one"


def test_code_that_has_changed_is_named_and_a_module_that_is_new_is_imported(daemon: Daemon) -> None:
    assert daemon.reload().stderr == ""  # by then the daemon has kept the source of what it has imported
    (daemon.folder / "reload_handlers.py").write_text(HANDLERS.replace('b"one"', 'b"other"'))
    (daemon.folder / "reload_more.py").write_text(HANDLERS.replace('b"two"', 'b"more"'))
    daemon.file.write_text(daemon.text("two").replace("reload_handlers", "reload_more"))
    done = daemon.reload()
    assert "the code of reload_handlers has changed, and is not imported again: gateway reload --code" in done.stderr
    assert daemon.answer("") == "more"


def test_sighup_does_the_same_and_says_it_in_the_log(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text("two"))
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.answer("") == "two", daemon.output)
    until(lambda: "generation 2, 1 change" in daemon.output(), daemon.output)
    assert "routes.http[0].app: reload_handlers.one -> reload_handlers.two" in daemon.output()
    daemon.file.write_text(daemon.text("three"))
    daemon.signal(signal.SIGHUP)
    until(lambda: "1 error. Still running generation 2." in daemon.output(), daemon.output)


def test_every_line_is_a_record_once_the_log_is_json(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text(more="log: {format: json}\n"))
    assert daemon.reload().returncode == 0
    until(lambda: "generation 2, 1 change" in daemon.output(), daemon.output)
    lines = daemon.output().splitlines()
    banner = next(number for number, line in enumerate(lines) if "valid, generation 2" in line)
    assert all(json.loads(line)["message"] for line in lines[banner:])


@pytest.mark.parametrize("options", [(), ("--code",)])
def test_a_reload_that_the_end_of_the_gateway_cancels_is_no_success(daemon: Daemon, options: tuple[str, ...]) -> None:
    (daemon.folder / "reload_slow.py").write_text(SLOW)
    daemon.file.write_text(daemon.text().replace("reload_handlers.one", "reload_slow.app"))
    with ThreadPoolExecutor() as pool:
        reloading = pool.submit(daemon.reload, *options)
        until((daemon.folder / "starts").exists, daemon.output)
        daemon.signal(signal.SIGTERM)
        done = reloading.result()
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the gateway was stopped before it answered\n")


def test_without_a_gateway_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.format(port=free_port(), name="one"))
    done = run(tmp_path, "reload")
    assert done.returncode == 1
    assert done.stderr.startswith("no gateway runs with this file and the store that it names; gateway run starts it.")
    assert done.stderr.count("\n") == 1


STORED = """servers:
  mail: {{protocol: smtp, bind: "127.0.0.1:{port}"}}
routes:
  email: {{app: reload_handlers.one, default: true, inbox: true}}
store: sqlite:{store}
"""


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A daemon that uses a store whose name is not the usual one."""
    made = GatewayProcess(tmp_path, "reload_handlers", HANDLERS, STORED.format(port=free_port(), store="var/one.db"))
    (tmp_path / "var").mkdir()
    made.start()
    until(lambda: "try:" in made.output(), made.output)
    yield made
    made.stop(signal.SIGKILL)


def test_another_store_is_refused_at_its_line_and_the_gateway_stays_reachable(stored: GatewayProcess) -> None:
    file = stored.folder / "gateway.yaml"
    before = file.read_text()
    file.write_text(before.replace("var/one.db", "two.db"))
    for options in ((), ("--check",), ("--force",)):
        done = run(stored.folder, "reload", *options)
        assert (done.returncode, done.stdout) == (2, "")
        message = "store cannot change while the gateway runs: it uses var/one.db; restart it to use two.db"
        assert done.stderr.startswith(f"gateway.yaml:5:1: error: {message}\n")
        assert done.stderr.endswith("1 error. Still running generation 1.\n")
    stored.signal(signal.SIGHUP)
    until(lambda: "Still running generation 1." in stored.output(), stored.output)
    assert run(stored.folder, "status").returncode == 0
    file.write_text(before + "threads: 7\n")
    assert run(stored.folder, "reload").stdout.startswith("threads: 32 -> 7\ngeneration 2 runs, ")


@pytest.mark.parametrize("broken", ["servers: [", None], ids=["no YAML", "gone"])
def test_a_file_that_cannot_be_read_reaches_a_gateway_with_any_store(
    stored: GatewayProcess, broken: str | None
) -> None:
    file = stored.folder / "gateway.yaml"
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    done = run(stored.folder, "reload", "-c", "gateway.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("1 error. Still running generation 1.\n")


def test_without_a_gateway_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("servers: [")
    done = run(tmp_path, "reload")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("1 error. Nothing was changed; no gateway was found that runs with this file.\n")


def test_a_secret_that_has_changed_is_not_shown(daemon: Daemon) -> None:
    secrets = [f'reply_tokens: {{secret: "{letter * 40}"}}\n' for letter in "ab"]
    daemon.file.write_text(daemon.text(more=secrets[0]))
    assert daemon.reload().returncode == 0
    daemon.file.write_text(daemon.text(more=secrets[1]))
    done = daemon.reload()
    assert done.stdout.startswith("reply_tokens.secret: changed (***)\n")
    assert "bbbb" not in done.stdout + done.stderr + daemon.output()


def test_a_hundred_sighups_in_a_second_are_reloads_one_after_the_other(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text("two"))
    for _ in range(100):
        daemon.signal(signal.SIGHUP)
    until(lambda: daemon.answer("") == "two", daemon.output)
    assert daemon.reload().stdout.startswith("nothing changed: the file says what generation 2 runs with")
    assert daemon.stop(signal.SIGTERM) == 0
    assert "ERROR" not in daemon.output()


def test_two_reloads_at_once_come_one_after_the_other(daemon: Daemon) -> None:
    daemon.file.write_text(daemon.text("two"))
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(daemon.reload, "--force") for _ in range(2)]
    said = [each.result() for each in both]
    assert [each.returncode for each in said] == [0, 0]
    assert sorted(each.stdout.splitlines()[-1][:17] for each in said) == ["generation 2 runs", "generation 3 runs"]
    assert sorted(each.stdout.count("reload_handlers.two") for each in said) == [0, 1]


def test_a_reload_that_is_cancelled_has_a_line_in_the_log(daemon: Daemon) -> None:
    (daemon.folder / "reload_slow.py").write_text(SLOW)
    daemon.file.write_text(daemon.text().replace("reload_handlers.one", "reload_slow.app"))
    daemon.signal(signal.SIGHUP)
    until((daemon.folder / "starts").exists, daemon.output)
    assert daemon.stop(signal.SIGTERM) == 0
    assert "the reload was cancelled, because the gateway stops: nothing changed" in daemon.output()


HELD = """
import asyncio
from pathlib import Path

async def app(scope, receive, send):
    if scope["path"] == "/held":
        Path("held").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"held"})
"""


def test_a_reload_comes_while_an_older_generation_still_drains(daemon: Daemon) -> None:
    """Its server has another address now, and has a request."""
    (daemon.folder / "reload_held.py").write_text(HELD)
    held = daemon.text().replace("reload_handlers.one", "reload_held.app")
    daemon.file.write_text(held)
    assert daemon.reload().returncode == 0
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(daemon.answer, "held")
        until((daemon.folder / "held").exists, daemon.output)
        other = free_port()
        for number, name in ((3, "two"), (4, "one")):
            daemon.file.write_text(daemon.text(name).replace(str(daemon.port), str(other)))
            assert f"generation {number} runs" in daemon.reload().stdout
            assert httpx.get(f"http://127.0.0.1:{other}/").text == name
        (daemon.folder / "go").touch()
        assert asked.result() == "held"
    until(lambda: daemon.output().count("was replaced: 0 lost") == 3, daemon.output)


DEVICES = """servers:
  devices: {{protocol: mqtt, bind: "127.0.0.1:{port}", password_file: users}}
routes: {{mqtt: []}}
"""
ONE = "$argon2id$v=19$m=8,t=1,p=1$jGItVYoZH1n8OBlWyv2xRw$WS6uxZ85gzQT2LzTcoKI9huAbDNdMqnvbwSnrIc7d4w"
"""A hash of the password "one"."""


def test_a_user_who_is_gone_from_the_password_file_is_disconnected_by_a_forced_reload(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"ann:{ONE}\nbob:{ONE}\n")
    daemon = GatewayProcess(tmp_path, "reload_handlers", HANDLERS, DEVICES.format(port=(port := free_port())))
    daemon.start()
    try:
        until(lambda: "try:" in daemon.output(), daemon.output)
        clients = [Paho(port, name, 5) for name in ("ann", "bob")]
        for name, client in zip(("ann", "bob"), clients, strict=True):
            client.client.username_pw_set(name, "one")
        with clients[0] as ann, clients[1] as bob:
            (tmp_path / "users").write_text(f"bob:{ONE}\n")
            assert run(tmp_path, "reload").stdout.startswith("nothing changed")
            assert run(tmp_path, "reload", "--force").returncode == 0
            assert ann.lost.get(timeout=10) == 0x87
            assert bob.publish("t", b"on", 1) in (0, 0x10)
    finally:
        daemon.stop(signal.SIGKILL)
