"""`gateway serve`: an application without a file, as uvicorn serves one."""

import subprocess
from inspect import signature
from pathlib import Path

import httpx
import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE

from gateway.cli.running import control_places
from gateway.cli.serve import PROTOCOLS, file_for, serve
from gateway.control.client import ring

MAIN = """
from fastapi import FastAPI

from gateway import MqttConsumer, ProtocolTypeRouter

site = FastAPI()


@site.get("/")
def hello() -> str:
    return "hello"


class Thermometer(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        print("measured", float(payload), flush=True)


app = ProtocolTypeRouter({"http": site, "mqtt": Thermometer})
"""


def test_it_serves_and_says_what_a_file_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    web, devices = free_port(), free_port()
    daemon = Daemon(tmp_path, command=("serve", "main:app", "--http", str(web), "--mqtt", f"127.0.0.1:{devices}"))
    try:
        daemon.says(f"http://127.0.0.1:{web}/")
        text, _, banner = daemon.text.partition("\n\n")
        assert text.startswith("# gateway.yaml would say:\nservers:\n")
        assert banner.startswith("gateway 0.1  gateway serve: 2 servers, 2 routes, valid")
        assert "gateway send" not in banner  # it would read a file that there is not
        assert httpx.get(f"http://127.0.0.1:{web}/", timeout=PATIENCE).text == '"hello"'
        publish = [program("mosquitto_pub"), "-p", str(devices), "-q", "1", "-t", "a", "-m", "21.5"]
        subprocess.run(publish, check=True, timeout=PATIENCE)
        daemon.says("measured 21.5")
        monkeypatch.chdir(tmp_path)
        assert ring(control_places(None)) == 1, "gateway tail finds it"
        daemon.process.terminate()
        assert daemon.wait() == 0
    finally:
        daemon.close()
    (tmp_path / "gateway.yaml").write_text(text)
    done = run(tmp_path, "check")
    assert (done.returncode, done.stdout) == (0, "gateway 0.1  gateway.yaml: 2 servers, 2 routes, valid\n"), done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["main:ap"], "'main:ap': module 'main' has no 'ap'; did you mean 'app'?"),
        (["main:app", "--http", "81000"], "'127.0.0.1:81000' is not an address"),
        (["main:Thermometer", "--mqtt", "0", "--http", "0"], "servers.http"),
    ],
)
def test_mistakes(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    done = run(tmp_path, "serve", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_there_is_an_option_for_each_server_that_needs_only_an_address() -> None:
    assert [*PROTOCOLS] == ["http", "mqtt", "smtp", "lmtp"]
    assert [*signature(serve).parameters] == ["app", *PROTOCOLS]


def test_without_an_address_it_is_a_web_server() -> None:
    assert "{protocol: http, bind: '127.0.0.1:8000'}" in file_for("main:app", {})


def test_an_address_is_written_as_it_is_given() -> None:
    assert "bind: 'unix:/run/g.sock'" in file_for("main:app", {"http": "unix:/run/g.sock"})
