"""``workers: N``: a parent, its workers, and what operators see of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.packettypes import PacketTypes
from servers import command
from servers.ports import free_port
from servers.site import ROOT, Site, until
from servers.workers import FILE, HANDLERS, Workers, alive, gone

from gateway.exit_codes import CANNOT_START, FORCED, MISTAKE, OK
from protocols.access.users import hash_password

pytestmark = pytest.mark.timeout(120)

Start = Callable[..., Workers]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Workers] = []

    def run(**options: object) -> Workers:
        started.append(Workers(tmp_path, **options))
        return started[-1]

    yield run
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two workers that no test ends."""
    running = Workers(tmp_path_factory.mktemp("workers"))
    running.all_serve()
    yield running
    running.close()


class Subscriber:
    """A client of the broker, with a session that lasts."""

    def __init__(self, port: int, topic: str, name: str = "subscriber") -> None:
        self.got: list[str] = []
        self.connects = 0
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = lambda _, __, message: self.got.append(message.payload.decode())
        self._client.on_connect = self._connected
        subscribed: list[int] = []
        self._client.on_subscribe = lambda *_: subscribed.append(1)
        properties = mqtt.Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        self._client.subscribe(topic, 1)
        until(lambda: subscribed, "it has subscribed")

    def _connected(self, *_: object) -> None:
        self.connects += 1

    def publish(self, topic: str, payload: str) -> None:
        published = self._client.publish(topic, payload, 1)
        published.wait_for_publish(20)
        assert published.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def subscriber(site: Workers) -> Iterator[Subscriber]:
    subscriber = Subscriber(site.mqtt, "told")
    yield subscriber
    subscriber.close()


def test_every_worker_serves_the_one_address(site: Workers) -> None:
    until(lambda: site.answering() == set(map(str, site.pids())), "both answer")


def test_status_shows_every_worker(site: Workers) -> None:
    shown = site.command("status")
    assert all(f"process {pid}" in shown for pid in site.pids())
    assert shown.count("mqtt  devices") == 2
    assert shown.count("standby") == 1


def test_a_scrape_of_any_worker_is_the_sum_of_all(site: Workers) -> None:
    before = site.metric("gateway_runs_total")
    until(lambda: len(site.answering()) == 2, "both answer")
    made = site.metric("gateway_runs_total") - before
    assert made
    assert made % 12 == 0
    assert {site.metric("gateway_runs_total") - before for _ in range(8)} == {made}


def test_what_any_worker_publishes_reaches_the_broker_of_one(site: Workers, subscriber: Subscriber) -> None:
    sent: list[tuple[str, str]] = []
    while len({pid for pid, _ in sent}) < 2:
        text = str(len(sent))
        sent.append((httpx.post(f"{site.url}publish", content=text).text, text))
    until(lambda: sorted(subscriber.got) == sorted(map(" ".join, sent)), lambda: f"{sent} in {subscriber.got}")


NEVER_LOOKS = "from gateway.delivery import poller\npoller.LOOK_AGAIN = 3600.0\n"
"""A worker that looks into the store only when it is told to."""


def test_messages_of_the_broker_are_handled_in_any_worker(start: Start) -> None:
    """A worker takes no more than it has places for: the others are told that there is more."""
    site = start(handlers=NEVER_LOOKS + HANDLERS)
    site.all_serve()
    broker, handled = site.broker(), site.folder / "handled"
    other = Subscriber(site.mqtt, "none", "publisher")
    for number in range(200):
        other._client.publish("slow", str(number), 1)
    until(lambda: handled.exists() and len(handled.read_text().splitlines()) == 200, "all are handled", 60)
    lines = [line.split() for line in handled.read_text().splitlines()]
    assert sorted(int(number) for _, number in lines) == list(range(200))
    assert {int(pid) for pid, _ in lines} == set(site.pids())
    assert broker in site.pids()
    other.close()


def test_a_worker_that_is_blocked_is_left_alone_however_much_others_publish(start: Start) -> None:
    """Its channel to the parent must not fill with what it is told. SIGSTOP is a loop that is blocked."""
    site = start(handlers=NEVER_LOOKS + HANDLERS)
    site.all_serve()
    subscriber = Subscriber(site.mqtt, "told")
    broker = site.broker()
    with httpx.Client(timeout=20) as client:
        until(lambda: _connects_to_another(client, site, broker), "another worker answers")
        os.kill(broker, signal.SIGSTOP)
        for number in range(600):
            client.post(f"{site.url}publish", content=str(number))
        os.kill(broker, signal.SIGCONT)
    until(lambda: len(subscriber.got) == 600, lambda: f"{len(subscriber.got)} came\n{site.said()}")
    assert broker in site.pids()
    subscriber.close()


def _connects_to_another(client: httpx.Client, site: Workers, broker: int) -> bool:
    """Whether ``client`` keeps a connection to another worker than that."""
    found = client.get(site.url)
    if found.text == str(broker):
        client.get(site.url, headers={"connection": "close"})
        return False
    return True


def test_a_killed_worker_is_replaced_and_no_counter_goes_back(start: Start) -> None:
    site = start()
    site.all_serve()
    until(lambda: len(site.answering()) == 2, "both answer")
    counted = site.metric("gateway_runs_total")
    victim = site.pids()[0]
    os.kill(victim, signal.SIGKILL)
    site.says(f"(process {victim}) was killed by SIGKILL; another one takes its place")
    assert site.metric("gateway_runs_total") >= counted
    until(lambda: len(site.answering()) == 2 and victim not in site.pids(), "another one answers")
    assert site.metric("gateway_runs_total") >= counted + 12
    assert site.metric("gateway_workers") == 2
    assert site.metric("gateway_worker_deaths_total") == 1


def test_the_broker_moves_when_its_worker_is_killed_and_the_sessions_go_on(start: Start) -> None:
    site = start()
    site.all_serve()
    subscriber = Subscriber(site.mqtt, "told")
    for number in range(2):
        _move(site, subscriber, number)
    assert [each.split()[1] for each in subscriber.got] == ["0", "1"]
    subscriber.close()


def _move(site: Workers, subscriber: Subscriber, number: int) -> None:
    victim = site.broker()
    os.kill(victim, signal.SIGKILL)
    site.says("this worker has devices now", number + 2)
    until(lambda: subscriber.connects == number + 2, "the client is back")
    assert httpx.post(f"{site.url}publish", content=str(number)).text
    until(lambda: len(subscriber.got) == number + 1, "it gets what is sent")
    assert site.broker() != victim
    until(lambda: len(site.answering()) == 2, "both answer")


def test_a_reload_replaces_one_worker_after_the_other_and_loses_no_request(start: Start) -> None:
    site = start()
    site.all_serve()
    before = set(site.pids())
    site.write("gateway.yaml", site.text + "threads: 7\n")
    answers: list[str] = []
    with httpx.Client() as client:
        reloading = _reload(site)
        while reloading.poll() is None:
            answers += [site.answer(), client.get(site.url).text]
    told, _ = reloading.communicate()
    assert reloading.returncode == OK, told
    assert "-> 7" in told
    assert "generation 2 runs" in told
    assert all(answers)
    until(lambda: not before & set(site.pids()) and len(site.pids()) == 2, "both are replaced")
    assert "generation 2" in site.command("status")


def test_an_address_that_the_file_no_longer_names_refuses_connections(start: Start) -> None:
    port = free_port()
    line = f'  other: {{{{protocol: http, bind: "127.0.0.1:{port}"}}}}\n'
    site = start(file=FILE.replace("  devices:", f"{line}  devices:"))
    site.all_serve()
    assert httpx.get(f"http://127.0.0.1:{port}/", timeout=20).text in map(str, site.pids())
    site.write("gateway.yaml", site.text.replace(line.format(), ""))
    assert "generation 2 runs" in site.command("reload")
    until(lambda: not Site.accepts(port), site.said)


def _reload(site: Workers, *options: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "gateway", "reload", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.Popen(
        words, cwd=site.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_wrong_file_changes_nothing(start: Start) -> None:
    site = start()
    site.all_serve()
    before = site.pids()
    site.write("gateway.yaml", site.text + "thread: 7\n")
    told = site.command("reload")
    assert "unknown key 'thread'" in told
    site.write("gateway.yaml", site.text.replace("workers: 2", "workers: 3"))
    assert "workers cannot change while the gateway runs" in site.command("reload")
    os.kill(before[0], signal.SIGKILL)  # its successor has the file that the others have
    until(lambda: len(site.answering()) == 2 and before[0] not in site.pids(), "another one answers")
    assert before[1] in site.pids()


def test_a_new_worker_that_does_not_come_up_stops_the_roll(start: Start) -> None:
    site = start()
    site.all_serve()
    before = site.pids()
    site.write("handlers.py", HANDLERS + "\nraise SystemExit(7)\n")
    told = site.command("reload", "--force", "--code")
    assert "cannot start: 'handlers.Page': importing 'handlers' failed at handlers.py" in told
    assert "2 of 2 workers run as before" in told
    assert site.pids() == before
    assert site.said().count("the workers are not replaced") == 1
    assert site.answer() in map(str, before)


def test_a_refused_reload_shows_in_a_scrape_of_any_worker_until_one_succeeds(start: Start) -> None:
    site = start()
    site.all_serve()
    name = "gateway_config_last_reload_successful"
    assert {site.metric(name) for _ in range(6)} == {1}
    site.write("gateway.yaml", site.text + "thread: 7\n")
    site.command("reload")
    assert {site.metric(name) for _ in range(6)} == {0}
    site.write("gateway.yaml", site.text)
    reloaded = httpx.post(f"http://127.0.0.1:{site.console}/api/reload", json={}, timeout=20)
    assert '"unchanged"' in reloaded.text
    until(lambda: {site.metric(name) for _ in range(6)} == {1}, "all workers know of it")


def test_a_file_of_any_length_is_read(start: Start) -> None:
    site = start(file=FILE + ("#" + "x" * 99 + "\n") * 50_000)
    site.all_serve()
    until(lambda: site.answering() == set(map(str, site.pids())), "both answer")


def test_the_code_of_a_new_process_is_that_of_now(start: Start) -> None:
    site = start()
    site.all_serve()
    site.write("handlers.py", HANDLERS.replace("str(os.getpid()))", '"new")'))
    site.command("reload", "--code")
    until(lambda: site.answering() == {"new"}, "the new code answers")


def test_a_hang_up_reads_the_file_once(start: Start) -> None:
    site = start()
    site.all_serve()
    before = set(site.pids())
    site.process.send_signal(signal.SIGHUP)
    site.says("SIGHUP: gateway.yaml has not changed")
    site.write("gateway.yaml", site.text + "threads: 7\n")
    site.process.send_signal(signal.SIGHUP)
    until(lambda: not before & set(site.pids()) and len(site.pids()) == 2, "both are replaced")
    assert site.said().count("SIGHUP: gateway.yaml has not changed") == 1
    assert site.said().count("SIGHUP: gateway.yaml was reloaded") == 1


def test_a_worker_that_is_too_old_is_replaced(start: Start) -> None:
    site = start(more="worker_max_age: 3s")
    site.all_serve()
    before = set(site.pids())
    until(lambda: not before & set(site.pids()), "all are replaced", 40)
    assert "(worker_max_age)" in site.said()
    assert "ERROR" not in site.said()


def test_a_worker_that_has_too_much_memory_is_replaced(start: Start) -> None:
    grows = HANDLERS.replace("str(os.getpid()))", "str(os.getpid())); kept.append(bytearray(200 * 1024 * 1024))")
    site = start(more="worker_max_memory: 180MiB", handlers=f"kept = []\n{grows}")
    site.says("(worker_max_memory)")
    until(lambda: site.said().count("was replaced") >= 1, "the old one has ended")


DIES = """
import os, threading, time

def die():
    while not os.path.exists("die"):
        time.sleep(0.05)
    time.sleep(1)
    os.kill(os.getpid(), 9)

threading.Thread(target=die, daemon=True).start()
"""


def test_a_crash_loop_ends_with_a_sentence(start: Start) -> None:
    site = start(handlers=DIES + HANDLERS)
    site.all_serve()
    (site.folder / "die").touch()
    assert site.process.wait(60) == CANNOT_START
    assert "5 workers have ended within 10 s of their start, one after another: the gateway stops" in site.said()
    assert not Site.accepts(site.port)


def test_a_gateway_that_cannot_start_says_why_once_and_ends(start: Start, tmp_path: Path) -> None:
    site = start(more="postmaster: nothing.here\n")
    assert site.process.wait(20) == MISTAKE
    assert site.said().count("nothing.here") >= 1
    assert "worker" not in site.said()


def test_an_address_that_another_gateway_has_is_refused(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SO_REUSEPORT alone would let both have it."""
    site = start()
    site.all_serve()
    folder = tmp_path_factory.mktemp("other")
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text((site.folder / "gateway.yaml").read_text().replace(str(site.mqtt), "0"))
    ended = command.run(folder, "run")
    assert ended.returncode == CANNOT_START
    assert "the address is already in use" in ended.stderr


def test_a_second_signal_forces_the_end(start: Start) -> None:
    """Neither the handler nor ``shutdown_timeout`` ends it before the test does."""
    file = FILE.replace("shutdown_timeout: 3s", "shutdown_timeout: 1h")
    site = start(handlers=HANDLERS.replace("time.sleep(0.2)", "time.sleep(3600)"), file=file)
    site.all_serve()
    device = Subscriber(site.mqtt, "none")
    device._client.publish("slow", "never", 1)
    until(lambda: "1 running" in site.command("status"), "a handler runs")
    site.process.send_signal(signal.SIGTERM)
    site.says("draining")
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(20) == FORCED
    device.close()


def test_a_signal_ends_all(start: Start) -> None:
    site = start()
    site.all_serve()
    pids = site.pids()
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(20) == OK
    assert not alive(pids)
    assert site.said().count("stopped: 0 lost") == 2


def test_a_parent_that_is_killed_takes_its_workers_along(start: Start) -> None:
    site = start()
    site.all_serve()
    pids = site.pids()
    site.process.kill()
    site.process.wait()
    site.start()  # at once, while the workers of the one before still end
    gone(pids)
    until(lambda: len(site.answering()) == 2, "the new ones answer")
    assert site.process.poll() is None


def test_a_unix_socket_is_shared_and_its_path_is_gone_at_the_end(start: Start) -> None:
    file = """
workers: {workers}
servers:
  web: {{protocol: http, bind: "127.0.0.1:PORT"}}
  local: {{protocol: http, bind: "unix:web.sock"}}
routes: {{http: handlers.Page}}
console: {{bind: "127.0.0.1:{console}"}}
{more}
"""
    site = start(file=file)
    path = site.folder / "web.sock"
    site.all_serve()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://local/").text in map(str, site.pids())
    os.kill(site.pids()[0], signal.SIGTERM)
    until(lambda: len(site.answering()) == 2, "both answer")
    assert path.exists()
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(20) == OK
    assert not path.exists()
    assert not (site.folder / "one.db").exists()


def test_one_worker_is_one_process(start: Start) -> None:
    site = start(workers=1)
    site.says("valid")
    assert site.answer() == str(site.process.pid)
    assert psutil.Process(site.process.pid).children() == []


def api(site: Workers, path: str, **body: object) -> dict[str, Any]:
    url = f"http://127.0.0.1:{site.console}/api/{path}"
    answer = httpx.post(url, json=body, timeout=20) if body else httpx.get(url, timeout=20)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_the_console_shows_the_connections_of_all_workers(site: Workers) -> None:
    """Whichever worker answers."""
    clients = [httpx.Client() for _ in range(12)]
    assert len({client.get(site.url).text for client in clients}) == 2
    for _ in range(6):
        found = api(site, "clients?server=web&limit=5")
        rest = api(site, f"clients?server=web&limit=50&after={found['next']}")
        assert found["total"] == 12
        assert len({each["id"] for each in [*found["entries"], *rest["entries"]]}) == 12
    before = site.said().count("clients.disconnect by")
    assert api(site, "clients/disconnect", server="web") == {"found": 12, "removed": 12}
    site.says("clients.disconnect by", before + 2)
    assert site.said().count("clients.disconnect by") == before + 2, "no worker does it twice"
    until(lambda: not api(site, "clients?server=web")["total"], "all have ended")
    for client in clients:
        client.close()


def test_a_login_to_the_console_holds_in_every_worker_and_over_a_roll(start: Start) -> None:
    users = f"users: {{{{ann: '{hash_password(b'right')}'}}}}"
    site = start(file=FILE.replace('{console}"', '{console}", ' + users))
    site.all_serve()
    url = f"http://127.0.0.1:{site.console}/api/"
    given = httpx.post(f"{url}login", json={"username": "ann", "password": "right"}, timeout=20).cookies

    def users_of() -> set[str | None]:
        """Whom connections of their own are taken for."""
        return {httpx.get(f"{url}session", cookies=given, timeout=20).json()["user"] for _ in range(12)}

    until(lambda: users_of() == {"ann"}, "both workers know her")
    before = set(site.pids())
    site.command("reload", "--code")
    until(lambda: not before & set(site.pids()), "both are replaced")
    assert users_of() == {"ann"}
    httpx.post(f"{url}logout", json={}, cookies=given, timeout=20)
    until(lambda: users_of() == {None}, "both workers know that she has left")


def test_the_console_shows_a_server_that_lives_once_as_the_worker_has_it_that_serves(site: Workers) -> None:
    for _ in range(6):
        shown = {each["name"]: each["state"] for each in api(site, "status")["servers"]}
        assert shown == {"web": "ready", "devices": "ready"}
