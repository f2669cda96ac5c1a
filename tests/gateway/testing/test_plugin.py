"""The fixtures of the pytest plugin, in projects of their own: with anyio's plugin, and without any."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HANDLERS = """
from gateway import EmailConsumer, HttpConsumer


class Mail(EmailConsumer):
    def receive(self, message):
        self.reply("done")


class Hello(HttpConsumer):
    def handle(self, body):
        self.respond("hello")
"""
FILE = """
servers: {web: {protocol: http}, mail: {protocol: smtp}}
submission: smtp://127.0.0.1:1
routes:
  http: handlers.Hello
  email: [{default: true, app: handlers.Mail, inbox: true}]
"""
TESTS = """
import asyncio
import urllib.request

import pytest


@pytest.mark.anyio
async def test_the_gateway_runs_while_the_test_does(gateway):
    await gateway.email("desk@example.org", subject="hello").get_verdict()
    await gateway.settle()
    assert [mail.subject for mail in gateway.outbox.mails] == ["Re: hello"]


@pytest.mark.anyio
async def test_each_test_has_its_own(gateway):
    assert gateway.outbox == []


class TestInAClass:
    @pytest.mark.anyio
    async def test_method(self, gateway, tmp_path):
        assert (await gateway.http("GET", "/").get_response()).text == "hello"


def test_without_a_plugin(gateway):
    async def check():
        async with gateway:
            return await gateway.http("GET", "/").get_response()

    assert asyncio.run(check()).text == "hello"


def test_real_clients(gateway_server):
    assert urllib.request.urlopen(gateway_server.url, timeout=10).read() == b"hello"


@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
OTHER = """
import pytest


@pytest.fixture
def gateway_config(tmp_path):
    (tmp_path / "other.yaml").write_text("servers: {web: {protocol: http}}\\nroutes: {http: nowhere.Hello}\\n")
    return tmp_path / "other.yaml"


def test_another_file(gateway):
    pass
"""
IMPORTED = """
import sys


def test_nothing_is_imported_before_it_is_asked_for():
    ours = ("gateway.runtime", "gateway.config", "gateway.testing.http")
    assert not [name for name in sys.modules if name.startswith(ours)]
"""


def pytest_in(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:timeout"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=50)
    return done.stdout + done.stderr


def test_fixtures(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "gateway.yaml").write_text("path: ..\n" + FILE)
    (tmp_path / "pytest.ini").write_text("[pytest]\ngateway_config = conf/gateway.yaml\n")
    (tmp_path / "test_fixtures.py").write_text(TESTS)
    (tmp_path / "test_a_first.py").write_text(IMPORTED)
    (tmp_path / "test_other.py").write_text(OTHER)
    said = pytest_in(tmp_path, "-rE")
    assert "6 passed, 1 error" in said, said
    assert "nowhere.Hello" in said
