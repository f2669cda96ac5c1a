"""What only the machine can get wrong: the rest of the checks is in ``tests/gateway/config/cases``."""

import sys
from pathlib import Path

import pytest

from gateway.config import checks
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse

MAILBOX = """
servers:
  support: {{protocol: imap, host: "{host}", username: ann, password: hunter2}}
  mail: {{protocol: smtp}}
routes: {{email: a.b}}
"""


def check(text: str) -> None:
    parsed = parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ={})
    parsed.finish(checks.diagnostics(parsed))


def test_an_extra_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioimaplib", None)
    with pytest.raises(ConfigErrors) as caught:
        check(MAILBOX.format(host="imap.example.org"))
    sentence = "gateway.yaml:3:23: error: aioimaplib is not installed; pip install 'asgi-gateway[imap]'"
    assert str(caught.value).splitlines()[0] == sentence


@pytest.mark.parametrize(("http2", "mistakes"), [("true", 1), ("false", 0)])
def test_an_extra_that_a_setting_needs(monkeypatch: pytest.MonkeyPatch, http2: str, mistakes: int) -> None:
    monkeypatch.setitem(sys.modules, "h2", None)
    text = f"servers:\n  web: {{protocol: http, http2: {http2}}}\nroutes: {{http: a.b}}\n"
    parsed = parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ={})
    found = [str(each).splitlines()[0] for each in checks.diagnostics(parsed) if "h2" in str(each)]
    assert found == ["gateway.yaml:2:32: error: h2 is not installed; pip install 'asgi-gateway[http2]'"] * mistakes


def test_an_extra_that_nothing_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioimaplib", None)
    check(MAILBOX.format(host=""))


@pytest.mark.parametrize(
    ("topic", "is_doubted"),
    [
        ("sensors/*", True),
        ("^sensors/.+$", True),
        (r"sensors/\\d", True),
        ("sensors/+/temperature", False),
        ("$SYS/#", False),
        ("$share/gateway/a", False),
        ("v1.0/{sensor}", False),
    ],
)
def test_a_topic_that_is_written_as_a_pattern_of_another_kind(topic: str, is_doubted: bool) -> None:
    text = f'servers: {{d: {{protocol: mqtt}}}}\nroutes: {{mqtt: [{{topic: "{topic}", app: a.b}}]}}\n'
    parsed = parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ={})
    found = [warning.message for warning in checks.warnings(parsed)]
    assert [" is no regular expression: " in message for message in found] == [True] * is_doubted


@pytest.mark.parametrize(("timeout", "warned"), [("14.5 s", False), ("15 s", True), ("1m", True)])
def test_a_timeout_that_is_longer_than_a_provider_waits(timeout: str, warned: bool) -> None:
    server = f"protocol: sms, provider: twilio, on: web, path: /sms, auth_token: '0123456789', timeout: {timeout}"
    text = f"servers: {{web: {{protocol: http}}, texts: {{{server}}}}}\nroutes: {{sms: a.b}}\n"
    parsed = parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ={})
    said = "servers.texts.timeout: twilio waits for 15 s, so the answer is sent after 14.5 s; write at most 14.5 s"
    assert [warning.message for warning in checks.warnings(parsed)] == [said] * warned


@pytest.mark.parametrize("name", ["worker_max_memory: 1GiB", "worker_max_age: 1d"])
@pytest.mark.parametrize(("workers", "warned"), [("", True), ("workers: 1", True), ("workers: 2\nlayer: ipc", False)])
def test_a_limit_of_workers_where_one_process_serves(name: str, workers: str, warned: bool) -> None:
    text = f"{name}\n{workers}\nservers: {{mail: {{protocol: smtp}}}}\nroutes: {{email: a.b}}\n"
    parsed = parse(text, name="gateway.yaml", folder=Path("/nowhere"), environ={})
    said = f"{name.partition(':')[0]}: it has no effect, because one process serves; write workers: 2 or more"
    assert [warning.message for warning in checks.warnings(parsed)] == [said] * warned
