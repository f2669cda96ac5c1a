"""A mistake in the command line ends every command with exit code 2 and a sentence, also if the gateway finds it.

The commands run in this process: more than a hundred would take minutes as processes of their own."""

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port

from gateway.cli.main import main
from gateway.cli.root import command as whole_command
from gateway.cli.terminal import Chosen

FILE = """
log: {{arrivals: true}}
servers:
  web: {{protocol: http, bind: "127.0.0.1:{http}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{smtp}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}}
application: usage_handlers.app
"""
HANDLERS = """
async def app(scope, receive, send):
    raise NotImplementedError  # ASGI's way to say that an application has no lifespan; no command here sends a message
"""
COUNT = "many"
WRONG = {
    "-c": "missing.yaml",
    "-n": COUNT,
    "--address": "10.0.0.0/99",
    "--before": "soon",
    "--by": "beauty",
    "--content": COUNT,
    "--for": "soon",
    "--filter": "a/#/b",
    "--format": "prose",
    "--from": "ann\n@example.org",
    "--http": "here:there",
    "--lmtp": "here:there",
    "--logger": "gateway.nonsense",
    "--method": "NO METHOD",
    "--mqtt": "here:there",
    "--mqtt-version": "4",
    "--qos": "7",
    "--quiet": "soon",
    "--rate": COUNT,
    "--since": "soon",
    "--size": "small",
    "--smtp": "here:there",
    "--state": "lost",
    "--subject": "Hello\nBcc: bob@example.org",
    "--template": "castle",
    "--topic": "a/#/b",
    "--type": "carrier-pigeon",
    "--username": "nobody",
    "--within": "soon",
}
"""Option that takes a value -> one that is wrong."""
FREE = {
    "--client",
    "--data",
    "--django",
    "--error",
    "--password",
    "--protocol",
    "--recipient",
    "--route",
    "--to",
    "--user",
}
"""Options that take any text. A name for `--django` that does not exist is not a mistake of the command line."""
PARTS_OF_NAMES = {"clients", "sessions", "retained"}
"""Commands whose --server is a filter; that of `send` names one in the file."""
ANY_USER = {"send", "clients"}
"""Commands whose --username is sent as it is."""
ARGUMENTS = {
    "explain": (["nonsense"],),
    "log level": (["loud"],),
    "login": (["nowhere"],),
    "record": (["gateway.yaml"], ["missing/file"]),
    "replay": (["gateway.yaml"], ["missing"]),
    "retained list": (["a/#/b"],),
    "store copy": (["nonsense", "sqlite:new.db"],),
    "send http": (["/", "--data", "x", "--method", "\r\n"],),
    "send mqtt": (["a/#", "x"],),
    "serve": (["nonsense"],),
    "dead export": (["gateway.yaml", "--all"], ["out"]),
    "outgoing export": (["gateway.yaml", "--all"],),
    "init": (["new", "--django", "manage.py"],),
    "clients disconnect": (["--yes"],),
    "sessions delete": (["--yes"],),
    "retained delete": (["--yes"],),
    "dead retry": ([], ["x", "--all"]),
    "dead drop": ([],),
    "outgoing retry": ([],),
    "outgoing drop": ([],),
    "reload": (["--rate", "1"], ["--check", "--reconnect"]),
}
"""Command -> arguments, or combinations of them, that are wrong."""
RIGHT = {
    "app": "usage_handlers:app",
    "file": "new.jsonl",
    "folder": "out",
    "id": "x",
    "lowest": "info",
    "path": "/",
    "recipient": "ann@example.org",
    "sender": "+447700900123",
    "server": "web",
    "source": "sqlite:old.db",
    "subject": "http:/",
    "target": "sqlite:new.db",
    "text": "x",
    "topic": "t",
}
"""Argument -> one that is right."""


def leaves(command: Any, *names: str) -> Iterator[tuple[list[str], Any]]:
    below = getattr(command, "commands", None)
    if not below:
        yield list(names), command
    for name in below or ():
        yield from leaves(below[name], *names, name)


COMMANDS = list(leaves(whole_command()))
NAMES = [" ".join(names) for names, _ in COMMANDS]


def required(command: Any) -> list[str]:
    return [RIGHT[each.name] for each in command.params if each.param_type_name == "argument" and each.required]


def options(command: Any) -> list[str]:
    """The options that take a value."""
    return [each.opts[0] for each in command.params if each.param_type_name == "option" and not each.is_flag]


def is_free(names: list[str], option: str) -> bool:
    if option == "--server":
        return names[0] in PARTS_OF_NAMES
    return option in FREE or (option == "--username" and names[0] in ANY_USER)


def wrong_values() -> Iterator[list[str]]:
    """A command line for each option and each command on its own, or each group of commands."""
    seen = set()
    for names, command in COMMANDS:
        for option in options(command):
            if is_free(names, option) or (names[0], option) in seen:
                continue
            seen.add((names[0], option))
            wrong = "nowhere" if option == "--server" else WRONG[option]
            yield [*names, *required(command), option, wrong]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("usage")
    (folder / "usage_handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(http=free_port(), mqtt=free_port(), smtp=free_port()))
    daemon = Daemon(folder)
    try:
        daemon.says("try:")
        yield folder
    finally:
        daemon.close()


Refused = Callable[[list[str]], None]


@pytest.fixture
def is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Refused]:
    def check(arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["gateway", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == 2, (out, err)
        assert (out, err.strip() != "", "Traceback" in err) == ("", True, False)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(Chosen, "file", None)
    monkeypatch.setattr(Chosen, "as_json", False)
    yield check
    gc.enable()  # which a command does when it begins


@pytest.mark.parametrize(("names", "command"), COMMANDS, ids=NAMES)
def test_an_option_that_does_not_exist(is_refused: Refused, names: list[str], command: Any) -> None:
    if not command.context_settings.get("ignore_unknown_options"):
        is_refused([*names, *required(command), "--bogus"])


@pytest.mark.parametrize(("names", "command"), [each for each in COMMANDS if required(each[1])])
def test_a_missing_argument(is_refused: Refused, names: list[str], command: Any) -> None:
    is_refused([*names, *required(command)[1:]])


@pytest.mark.parametrize("arguments", list(wrong_values()), ids=" ".join)
def test_a_wrong_value(is_refused: Refused, arguments: list[str]) -> None:
    is_refused(arguments)


@pytest.mark.parametrize(
    "arguments", [[*name.split(), *wrong] for name, all_wrong in ARGUMENTS.items() for wrong in all_wrong], ids=" ".join
)
def test_wrong_arguments(is_refused: Refused, arguments: list[str]) -> None:
    is_refused(arguments)


def test_a_mistake_is_not_that_no_gateway_runs(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE.format(http=1, mqtt=2, smtp=3))
    for arguments in (["tail"], ["clients", "list"], ["log", "show"], ["status"], ["record", "new.jsonl"]):
        done = run(tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (1, "no gateway runs with this file; gateway run starts it\n")
