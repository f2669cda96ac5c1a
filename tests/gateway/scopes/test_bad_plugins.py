"""A scope type of another distribution that is wrong: one sentence, and the rest works without it."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from gateway.cli import send
from gateway.cli.explain import explain
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.delivery.policy import Policy
from gateway.runtime.banner import try_line
from gateway.runtime.build import build
from gateway.runtime.running import RunningGateway
from gateway.scopes import plugins
from gateway.scopes.email.delivery import EmailDelivery
from gateway.scopes.email.kind import EmailKind
from gateway.scopes.http.kind import HTTPKind
from gateway.scopes.installed import KINDS, SERVERS
from gateway.scopes.plugins import Failure
from gateway.scopes.server_kind import ServerKind
from protocols.errors import BindError
from protocols.http.server import HTTPServer
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
    refusal: ClassVar[Any] = ({"type": "letter.reject"},)
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


class NoRouter(_Letter):
    router: ClassVar[Any] = Policy


class NoRefusal(_Letter):
    refusal: ClassVar[Any] = ()


class OtherRefusal(_Letter):
    refusal: ClassVar[Any] = ({"type": "email.reject"},)


@dataclass
class AnyProtocol:
    protocol: str = "letter"


class OfAnyProtocol(_Letter):
    servers: ClassVar[Any] = (ServerKind(AnyProtocol, f"{__name__}:Failing"),)


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
        ("NoRouter", "not a subclass of Router"),
        ("NoRefusal", "its refusal is ()"),
        ("OtherRefusal", "not a list of letter events"),
        ("OfAnyProtocol", "a dataclass with protocol: Literal"),
    ],
)
def test_what_is_wrong_with_a_kind_is_told(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    globals()["KIND"] = kind(name)
    point = EntryPoint("letter", f"{__name__}:KIND", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    found = plugins.load_plugins((), ())
    assert found.kinds == []
    [failure] = map(str, found.failures)
    assert sentence in failure


def test_what_a_plugin_prints_is_not_in_a_commands_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chatty_letter.py").write_text("print('hello')\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("letter", "chatty_letter:KIND", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    assert len(plugins.load_plugins((), ()).failures) == 1
    assert capsys.readouterr() == ("", "hello\n")


def test_ctrl_c_while_a_plugin_is_loaded_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no mistake of the plugin: the command ends, and says where."""
    (tmp_path / "slow_letter.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("letter", "slow_letter:KIND", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    with pytest.raises(KeyboardInterrupt, match="while the scope type 'letter' was loaded from slow_letter:KIND"):
        plugins.load_plugins((), ())


class Raising(HTTPKind):
    """Each of its methods fails."""

    def mistakes(self, servers: Any) -> Any:
        raise RuntimeError("no mistakes")

    def make_route(self, *_: Any) -> Any:
        raise RuntimeError("no route")

    def subject(self, text: str) -> Any:
        raise RuntimeError("no subject")

    def suggestions(self, *_: Any) -> Any:
        raise RuntimeError("no suggestion")


class Returning(HTTPKind):
    """They return nothing."""

    def make_route(self, *_: Any) -> Any: ...
    def subject(self, text: str) -> Any: ...


TEXT = "servers: {web: {protocol: http, bind: '127.0.0.1:0'}}\nroutes: {http: {app: %s.app, path: ''}}\n"


@pytest.mark.parametrize(
    ("http", "sentences"),
    [
        (Raising(), ["RuntimeError: no mistakes", "RuntimeError: no route"]),
        (Returning(), ["TypeError: make_route returned None, not a Route"]),
    ],
)
def test_a_method_of_a_kind_that_fails_is_a_sentence(
    http: Any, sentences: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(KINDS, "http", http)
    with pytest.raises(ConfigErrors) as raised:
        build(parse(TEXT % __name__, name="gateway.yaml", folder=tmp_path))
    messages = [each.message for each in raised.value.diagnostics]
    assert len(messages) == len(sentences)
    for sentence in sentences:
        assert any("the scope type http failed" in each and sentence in each for each in messages), messages
    with pytest.raises(ValueError, match="the scope type http failed: "):
        explain(app, "http:/x", {})
    assert try_line([], {}, app, "gateway") == ""
    assert isinstance(http, Returning) or "failed to suggest something to try: RuntimeError" in caplog.text


FAILED = Failure("letter", "letters 1.0", "RuntimeError: boom")


@pytest.mark.parametrize(
    "text",
    [
        "servers: {post: {protocol: letter}}\napplication: json.dumps\n",
        "servers: {web: {protocol: http}}\nroutes: {letter: json.dumps}\n",
    ],
)
def test_an_unknown_name_says_that_its_package_failed_or_is_missing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def message() -> str:
        with pytest.raises(ConfigErrors) as raised:
            parse(text, name="gateway.yaml", folder=tmp_path).finish()
        return raised.value.diagnostics[0].message

    assert message().endswith("; if another package brings it, install that")
    monkeypatch.setattr("gateway.config.unknown.FAILURES", (FAILED,))
    assert message().endswith("; the scope type 'letter' of letters 1.0 cannot be used: RuntimeError: boom")


def test_send_says_that_the_package_failed_or_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def output(name: str) -> str:
        return " ".join(CliRunner().invoke(send.app, [name, "x"], env={"COLUMNS": "300"}).output.split())

    assert "nothing is sent to 'letter'; there are email," in output("letter")
    assert "if another package brings it, install that" in output("letter")
    assert "did you mean 'email'?" in output("emial")
    monkeypatch.setattr("gateway.config.unknown.FAILURES", (FAILED,))
    assert "'letter' of letters 1.0 cannot be used: RuntimeError: boom" in output("letter")
    monkeypatch.setitem(send._failures, "letter", "letters.send:letter, which sends letters, cannot be used")
    assert "letters.send:letter, which sends letters" in output("letter")


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
    with pytest.raises(ConfigErrors, match=r"servers\.web: ") as raised:
        build(parse(TEXT % __name__, name="gateway.yaml", folder=tmp_path))
    assert any(sentence in each.message for each in raised.value.diagnostics)


class Sending(HTTPKind):
    """What its handlers send leaves by its servers, but those are http servers."""

    delivery: ClassVar[Any] = EmailDelivery()


def test_a_server_that_cannot_send_is_a_mistake_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "http", Sending())
    with pytest.raises(ConfigErrors, match=r"servers\.web: HTTPServer has no send, by which events leave"):
        build(parse(TEXT % __name__, name="gateway.yaml", folder=tmp_path))


class StartFails(HTTPServer):
    async def start(self) -> None:
        raise RuntimeError("no socket")


async def test_a_server_whose_start_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVERS, "http", ServerKind(HTTPSettings, f"{__name__}:StartFails"))
    running = RunningGateway(build(parse(TEXT % __name__, name="gateway.yaml", folder=tmp_path)))
    with pytest.raises(BindError, match=r"^servers\.web: its start failed at .*: RuntimeError: no socket$"):
        await running.start()
    await running.abort()
