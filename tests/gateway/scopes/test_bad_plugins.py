"""A scope type of another distribution that is wrong: one sentence, and the rest works without it."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.delivery.policy import Policy
from gateway.runtime.build import build
from gateway.scopes import plugins
from gateway.scopes.email.delivery import EmailDelivery
from gateway.scopes.email.kind import EmailKind
from gateway.scopes.installed import SERVERS
from gateway.scopes.server_kind import ServerKind
from protocols.http.settings import HTTPSettings
from protocols.server import Server


async def app(scope: Any, receive: Any, send: Any) -> None: ...


class Unfinished(Server):
    protocol = "http"
    scope_types = ("http",)

    @property
    def address(self) -> str:
        return ""

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...


class OtherArguments(Unfinished):
    def __init__(self, title: str) -> None: ...

    def active(self) -> dict[str, int]:
        return {}


class Failing(OtherArguments):
    def __init__(self, *args: Any, **options: Any) -> None:
        raise RuntimeError("no luck")


def _missing(delivery: Any) -> Any:
    raise AttributeError("no content")


class NoContent(EmailDelivery):
    name = "letter"

    content: ClassVar[Any] = property(_missing)


class _Letter(EmailKind):
    name = "letter"
    servers: ClassVar[Any] = ()


class Nothing(_Letter):
    delivery: ClassVar[Any] = object()


class OfAnotherName(_Letter):
    delivery: ClassVar[Any] = EmailDelivery()


class WithoutApp(_Letter):
    route: ClassVar[Any] = Policy


class NoDataclass(_Letter):
    route: ClassVar[Any] = object


class Lacking(_Letter):
    delivery: ClassVar[Any] = NoContent()


def kind(name: str) -> Any:
    return globals()[name]()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Nothing", "not an instance of DeliveryKind"),
        ("OfAnotherName", "'email', not 'letter'"),
        ("Lacking", "content"),
        ("WithoutApp", "a dataclass with app"),
        ("NoDataclass", "a dataclass with app"),
    ],
)
def test_what_is_wrong_with_a_kind_is_told(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    globals()["KIND"] = kind(name)
    point = EntryPoint("letter", f"{__name__}:KIND", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    found = plugins.load_plugins([])
    assert found.kinds == []
    assert len(found.failures) == 1
    assert sentence in found.failures[0]


def test_what_a_plugin_prints_is_not_in_a_commands_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chatty_letter.py").write_text("print('hello')\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("letter", "chatty_letter:KIND", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    assert len(plugins.load_plugins([]).failures) == 1
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("home", "sentence"),
    [
        ("no_such_module:Server", "cannot be imported: ModuleNotFoundError"),
        (f"{__name__}:Nope", "cannot be imported: AttributeError"),
        (f"{__name__}:kind", "not a subclass of protocols.server.Server"),
        (f"{__name__}:Unfinished", "has no active, which every server needs"),
        (f"{__name__}:OtherArguments", "cannot be made: TypeError: "),
        (f"{__name__}:Failing", "cannot be made: RuntimeError: no luck"),
    ],
)
def test_a_server_that_cannot_be_made_is_a_mistake_of_the_file(
    home: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SERVERS, "http", ServerKind(HTTPSettings, home))
    text = "servers: {web: {protocol: http, bind: '127.0.0.1:0'}}\nroutes: {http: {app: %s.app, path: ''}}\n"
    with pytest.raises(ConfigErrors, match=r"servers\.web: ") as raised:
        build(parse(text % __name__, name="gateway.yaml", folder=tmp_path))
    assert any(sentence in each.message for each in raised.value.diagnostics)
