"""The configuration in force, its routes and its certificates, over HTTP."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config.loader import parse
from gateway.config.masking import hides
from gateway.console.operations.configuration import configuration
from protocols.access.users import hash_password

SCHEMA = Path(__file__).parents[3] / "config/gateway.schema.json"
HASH = hash_password(b"right")


async def test_no_secret_is_shown(site: Any) -> None:
    more = """
submission: {url: "smtps://127.0.0.1:1", username: ann, password: hunter2}
reply_tokens: {secret: hunter2-hunter2-hunter2-hunter2-hunter2}
"""
    console = f"users: {{ann: '{HASH}'}}, metrics_token: hunter2"
    async with site(console=console, more=more) as here, here.new_client(auth=("ann", "right")) as script:
        answer = await script.get("/api/configuration")
        assert "hunter2" not in answer.text
        assert HASH.rpartition("$")[2] not in answer.text
        settings = answer.json()["settings"]
        assert settings["console"]["users"] == {"ann": "***"}
        assert settings["console"]["metrics_token"] == "***"
        assert settings["submission"]["password"] == "***"
        assert settings["servers"]["devices"]["protocol"] == "mqtt"
        assert settings["servers"]["devices"]["max_packet"] > 0, "defaults are shown"


URLS = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", password_file: devices}
  texts: {protocol: sms, provider: generic, on: web, path: /texts, secret: hunter2, number: "+447700900000",
    send_url: "https://ann:hunter2@texts.example/send?key=hunter2"}
routes: {http: shop.web, sms: shop.texts, mqtt: shop.devices}
"""


async def test_urls_have_neither_passwords_nor_queries_and_files_have_their_names() -> None:
    gateway = SimpleNamespace(file="gateway.yaml", settings=parse(URLS, name="gateway.yaml", folder=Path()).settings)
    here: Any = SimpleNamespace(gateway=gateway)
    servers = (await configuration.answer(here, {}))["settings"]["servers"]
    assert servers["texts"]["send_url"] == "https://ann:***@texts.example/send?***"
    assert servers["devices"]["password_file"] == "devices"
    assert "hunter2" not in str(servers)


CHOICES = """
servers:
  mail: {protocol: smtp, bind: "127.0.0.1:0", auth: "off"}
  box: {protocol: imap, host: imap.example.org, username: ann@example.org,
    auth: {microsoft: {tenant: t, client_id: c, client_secret: hunter2, authority: "https://login.example"}}}
  other: {protocol: imap, host: imap.example.org, username: ann@example.org, token_file: token}
routes: {email: shop.mail}
"""


async def test_choices_and_addresses_are_no_secrets() -> None:
    settings = parse(CHOICES, name="gateway.yaml", folder=Path()).settings
    here: Any = SimpleNamespace(gateway=SimpleNamespace(file="gateway.yaml", settings=settings))
    servers = (await configuration.answer(here, {}))["settings"]["servers"]
    assert (servers["mail"]["auth"], servers["mail"]["auth_without_tls"]) == ("off", False)
    assert (servers["box"]["auth"]["microsoft"]["authority"], servers["other"]["token_file"]) == (
        "https://login.example",
        "token",
    )
    assert servers["box"]["auth"]["microsoft"]["client_secret"] == "***"
    assert "hunter2" not in str(servers)


@pytest.mark.parametrize("kind", ["SMTPSettings", "MQTTSettings", "ConsoleSettings", "IMAPSettings"])
def test_no_choice_among_words_is_hidden_in_any_setting(kind: str) -> None:
    properties = json.loads(SCHEMA.read_text())["$defs"][kind]["properties"]
    for key, words in (
        (key, each.get("enum", [])) for key, of in properties.items() for each in [of, *of.get("anyOf", [])]
    ):
        assert not any(hides(key, word) for word in words), key


@pytest.mark.parametrize(
    ("key", "value"),
    [("auth_token", "x"), ("credentials", {"user": "x"}), ("tokens", ["x"]), ("auth", "x"), ("passwd", "off1")],
)
def test_text_under_the_key_of_a_secret_is_hidden(key: str, value: Any) -> None:
    assert hides(key, value)


async def test_the_routes_are_listed_with_their_policies(site: Any) -> None:
    async with site() as here:
        found = (await here.get("/api/routes")).json()["routes"]
    assert [(each["type"], each["inbox"], each["attempts"]) for each in found] == [
        ("http", False, None),
        ("mqtt", False, None),
        ("email", True, 1),
    ]
    assert found[2]["target"] == "console_page_handlers.Desk"
