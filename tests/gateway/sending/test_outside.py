"""Sending from a process without a gateway: into the store of the gateway's file, or an error at the caller's line."""

import asyncio
import json
import multiprocessing
import socket
import threading
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import httpx
import pytest
from own_services import installed
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port

import gateway
from gateway import aio, group_send, publish, send_mail, send_text
from gateway.config.diagnostics import ConfigErrors
from gateway.delivery.direct import DirectSender
from gateway.delivery.outgoing_servers import OutgoingServers
from gateway.event_sender import current_keeper, runs_here, sender
from gateway.layers import get_channel_layer
from gateway.layers.origins import origin
from gateway.sending.layer_thread import layer_threads
from gateway.store import Outgoing, engine_of
from gateway.store.sqlite.engine import SQLiteEngine
from protocols.errors import LocalProtocolError

FILE = """
store: sqlite:var/gateway.db
submission: {url: "smtp://mail.example.org:587", default_from: "Shop <shop@example.org>"}
servers:
  web: {protocol: http, bind: 127.0.0.1:8000}
  devices: {protocol: mqtt, bind: 127.0.0.1:1883, anonymous: true}
  texts: {protocol: sms, provider: generic, on: web, path: /sms, insecure: true, send_url: "http://127.0.0.1:1/"}
routes: {http: not_there.Page, mqtt: not_there.Things, sms: not_there.Texts}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a gateway's file, whose handlers cannot be imported here, and its store."""
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(FILE)
    make_store(tmp_path)
    return tmp_path


def make_store(folder: Path) -> None:
    async def make() -> None:
        store = engine_of("sqlite:var/gateway.db", folder).store()
        await store.open()
        await store.close()

    asyncio.run(make())


def kept(folder: Path) -> list[Outgoing]:
    async def read() -> list[Outgoing]:
        store = engine_of("sqlite:var/gateway.db", folder).store()
        await store.open()
        try:
            items = await store.take_outgoing(100, now=store.now() + 1)
        finally:
            await store.close()
        return items

    return asyncio.run(read())


def rewrite(folder: Path, *changes: tuple[str, str]) -> None:
    text = (folder / "gateway.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "gateway.yaml").write_text(text)


def test_what_is_sent_is_in_the_gateways_store_under_the_event_id(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere := folder / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("GATEWAY_CONFIG", str(folder / "gateway.yaml"))
    ids = [
        publish("lamps/1", "on", qos=1, retain=True),
        send_mail(["ann@example.org", "bob@example.org"], subject="hello", text="x"),
        send_text("+447700900123", "hello", sender="Shop"),
    ]
    items = kept(folder)
    assert [item.message for item in items] == ids
    lanes = [("mqtt", "mqtt devices", "lamps/1"), ("email", "email", "ann@example.org, bob@example.org")]
    assert [(item.kind, item.lane, item.recipient) for item in items] == [
        *lanes,
        ("sms", "sms texts", "+447700900123"),
    ]
    assert not list(elsewhere.iterdir()), "nothing is made in the caller's folder"


def test_gateway_show_finds_it_under_its_id(folder: Path) -> None:
    id_ = publish("lamps/1", "on")
    done = run(folder, "show", id_)
    assert done.stdout.splitlines()[:3] == [
        id_,
        "now: there is no message: code outside of handlers sent this, or the history is forgotten",
        f"to be sent: {id_}-0, waiting, 0 attempts so far",
    ]


def test_the_awaited_forms_do_the_same(folder: Path) -> None:
    async def send() -> list[str]:
        return [await aio.publish("lamps/1", b"on"), await aio.send_mail("ann@example.org", text="x" * 100_000)]

    ids = asyncio.run(send())
    assert [item.message for item in kept(folder)] == ids


def test_the_awaited_form_looks_for_the_store_outside_of_the_event_loop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database server, a look is a connection."""
    exists, looked_in = SQLiteEngine.exists, list[threading.Thread]()

    def noted(engine: SQLiteEngine) -> bool:
        looked_in.append(threading.current_thread())
        return exists(engine)

    monkeypatch.setattr(SQLiteEngine, "exists", noted)
    asyncio.run(aio.publish("lamps/1", "on"))
    assert looked_in
    assert threading.current_thread() not in looked_in


@pytest.mark.parametrize(
    "call",
    [
        lambda: publish("a", "b"),
        lambda: send_mail("ann@example.org"),
        lambda: send_text("+44", "x"),
        lambda: group_send("a", {"type": "b"}),
    ],
)
async def test_a_sync_form_on_an_event_loop_names_the_awaited_one(call: Any) -> None:
    with pytest.raises(RuntimeError, match=r"would stop this event loop .* await gateway\.aio\.\w+\("):
        call()


def test_both_forms_have_the_arguments_and_the_words_of_one_function() -> None:
    for name in ("publish", "send_mail", "send_text", "group_send"):
        sync, awaited = getattr(gateway, name), getattr(aio, name)
        assert sync.__doc__ == awaited.__doc__
        assert sync.__name__ == awaited.__name__ == name
        for each in (sync, awaited):
            assert resolve_name(f"{each.__module__}:{each.__qualname__}") is each, "task queues find it by its name"


WRONG: dict[str, tuple[list[tuple[str, str]], Any, type[Exception], str]] = {
    "no submission": (
        [('submission: {url: "smtp://mail.example.org:587", default_from: "Shop <shop@example.org>"}', "")],
        lambda: send_mail("ann@example.org", text="x", from_="shop@example.org"),
        RuntimeError,
        "nothing in this gateway sends email; write submission: smtp://HOST:587",
    ),
    "no address that it is from": (
        [(', default_from: "Shop <shop@example.org>"', "")],
        lambda: send_mail("ann@example.org", text="x"),
        ValueError,
        "from_ is missing; write from_=, or submission: {url: ..., default_from: ...}",
    ),
    "no MQTT": (
        [
            ("  devices: {protocol: mqtt, bind: 127.0.0.1:1883, anonymous: true}\n", ""),
            ("mqtt: not_there.Things, ", ""),
        ],
        lambda: publish("a", "b"),
        RuntimeError,
        "nothing in this gateway sends mqtt; write a server with protocol: mqtt or mqtt-client",
    ),
    "two brokers": (
        [("routes:", "  plant: {protocol: mqtt-client, url: 'mqtt://h', subscribe: ['#']}\nroutes:")],
        lambda: publish("a", "b"),
        RuntimeError,
        "several servers that send mqtt; write via= and one of devices, plant",
    ),
    "via is misspelt": (
        [],
        lambda: publish("a", "b", via="device"),
        ValueError,
        "via='device' does not name a server that sends mqtt; it is one of devices",
    ),
    "via of a mail": ([], lambda: send_mail("a@x.org", text="x", via="web"), ValueError, "leave it out"),
    "no URL for texts": (
        [(', send_url: "http://127.0.0.1:1/"', "")],
        lambda: send_text("+44", "x"),
        RuntimeError,
        "nothing in this gateway sends sms; write send_url at servers.texts",
    ),
    "no number that it is from": (
        [],
        lambda: send_text("+447700900123", "x"),
        LocalProtocolError,
        "from is missing; write sender=, or number: at servers.texts",
    ),
    "no number that it goes to": ([], lambda: send_text("", "x", sender="Shop"), LocalProtocolError, "to is empty"),
    "a topic with a wildcard": ([], lambda: publish("a/#", "b"), LocalProtocolError, "topic is 'a/#'"),
    "an argument that no mail has": (
        [],
        lambda: send_mail("ann@example.org", subjekt="x"),  # type: ignore[call-arg]
        TypeError,
        "send_mail() got an unexpected keyword argument 'subjekt'; did you mean 'subject'?",
    ),
    "a payload of another type": (
        [],
        lambda: publish("a", {"on": True}),
        TypeError,
        "publish: payload is a dict; write bytes or text, such as str(value) or json.dumps(value)",
    ),
    "a number that is no text": (
        [],
        lambda: send_text(447700900123, "x"),
        TypeError,
        "send_text: to is an int; write a number, such as +447700900123",
    ),
    "one picture in place of a list": (
        [],
        lambda: send_text("+447700900123", "x", media="https://example.org/a.png"),
        TypeError,
        "send_text: media is a str; write a list of URLs",
    ),
    "a message without a type": (
        [],
        lambda: group_send("live", {"kind": "x"}),
        TypeError,
        "group_send: message has no text under 'type'; write one, as in",
    ),
    "no store": (
        [("store: sqlite:var/gateway.db", "")],
        lambda: publish("a", "b"),
        RuntimeError,
        "has no store by which another process could reach it; write store: sqlite:var/gateway.db into the file",
    ),
    "a store that was never made": (
        [("var/gateway.db", "var/other.db")],
        lambda: publish("a", "b"),
        RuntimeError,
        "start the gateway once to create it",
    ),
    "the layer is this process's": (
        [],
        lambda: group_send("live", {"type": "x"}),
        RuntimeError,
        "layer: memory reaches only the gateway's own process, and this is another one",
    ),
    "a mistake in the file": (
        [("devices: {", "devices: {hots: x, ")],
        lambda: publish("a", "b"),
        ConfigErrors,
        "'hots'",
    ),
}


@pytest.mark.parametrize(("changes", "call", "error", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_an_error_at_the_callers_line(
    folder: Path, changes: list[tuple[str, str]], call: Any, error: type[Exception], said: str
) -> None:
    rewrite(folder, *changes)
    with pytest.raises(error) as caught:
        call()
    assert said in str(caught.value)
    assert caught.traceback[1].path == Path(__file__)
    assert kept(folder) == []


def test_a_policy_or_a_server_with_state_means_a_store_too(folder: Path) -> None:
    rewrite(folder, ("store: sqlite:var/gateway.db\n", ""), ("mqtt: not_there.Things", "mqtt: {app: a.B, inbox: true}"))
    assert publish("a", "b")
    rewrite(
        folder,
        ("mqtt: {app: a.B, inbox: true}", "mqtt: a.B"),
        ("anonymous: true", "anonymous: true, persistence: true"),
    )
    assert publish("a", "b")
    assert len(kept(folder)) == 2


def test_a_changed_file_is_read_again(folder: Path) -> None:
    publish("a", "b")
    rewrite(folder, ("  devices: {", "  plant: {"))
    publish("a", "b")
    assert [item.lane for item in kept(folder)] == ["mqtt devices", "mqtt plant"]


def test_a_changed_file_with_the_same_layer_keeps_its_connection(folder: Path) -> None:
    rewrite(folder, ("store:", "layer: ipc\nstore:"))
    layer = get_channel_layer()
    rewrite(folder, ("  devices: {", "  plant: {"))
    assert get_channel_layer() is layer
    for thread in layer_threads._made.values():
        thread.close()
    layer_threads.forget()


def test_a_process_that_was_forked_sends_too(folder: Path) -> None:
    """So task queues start their workers."""
    publish("parent", "x")
    child = multiprocessing.get_context("fork").Process(target=publish, args=("child", "x"))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert [item.recipient for item in kept(folder)] == ["parent", "child"]


def test_workers_that_were_forked_make_ids_of_their_own(folder: Path) -> None:
    """With the same id, all but the first would be taken for a repetition, and be lost."""
    first = publish("parent", "x")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        ids = pool.starmap(publish, [(f"child/{number}", "x") for number in range(12)], chunksize=4)
    assert sorted(item.message for item in kept(folder)) == sorted({first, *ids})
    assert len(ids) == 12


def test_what_is_forked_from_a_gateways_process_sends_as_another_process_does(folder: Path) -> None:
    """The loop of the gateway does not run there, and nobody asks the copy of its handler what it has kept."""

    class Forgetful:
        def keep(self, event: Any) -> str:
            return "kept in a copy"

    with installed({sender: DirectSender({}, OutgoingServers({}, {}), None)}):
        token = current_keeper.set(Forgetful())
        try:
            child = multiprocessing.get_context("fork").Process(target=publish, args=("child", "x"))
            child.start()
        finally:
            current_keeper.reset(token)
        child.join(20)
        assert child.exitcode == 0
        assert runs_here()
    assert [item.recipient for item in kept(folder)] == ["child"]


def test_a_gateway_that_runs_is_told_at_once(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.bind("var/gateway.db.1.sock")
        control.listen()
        publish("a", "b")
        control.settimeout(10)
        peer, _ = control.accept()
        with peer:
            assert json.loads(peer.makefile().readline()) == {"do": "ring"}


CHILD = """
import subprocess, sys
from gateway import HttpConsumer, MqttConsumer, ProtocolTypeRouter

class Things(MqttConsumer):
    def receive(self, topic, payload):
        pass

class Page(HttpConsumer):
    def handle(self, body):
        child = [sys.executable, "-c", "import gateway; print(gateway.publish('child', 'x'))"]
        done = subprocess.run(child, cwd="/", capture_output=True, text=True)
        self.respond(done.stdout + done.stderr)

app = ProtocolTypeRouter({"http": Page.as_asgi(), "mqtt": Things.as_asgi()})
"""
CHILDS_FILE = """
store: sqlite:var/gateway.db
servers:
  web: {{protocol: http, bind: "127.0.0.1:{port}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}}
application: child_handlers.app
"""


def test_a_process_that_a_handler_starts_finds_the_file_of_its_gateway(folder: Path) -> None:
    port = free_port()
    (folder / "child_handlers.py").write_text(CHILD)
    (folder / "gateway.yaml").unlink()
    (folder / "prod.yaml").write_text(CHILDS_FILE.format(port=port))
    daemon = Daemon(folder, "prod.yaml")
    try:
        daemon.says("try:")
        answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=40).text
    finally:
        daemon.close()
    assert len(answer.split()) == 1, answer


async def test_the_line_that_sends_to_a_group_is_known() -> None:
    with installed({sender: DirectSender({}, OutgoingServers({}, {}), None)}):
        await aio.group_send("nobody", {"type": "sent.from.here"})
    assert origin("sent.from.here").partition(":")[0].endswith("test_outside.py")
