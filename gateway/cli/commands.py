"""The commands. One is imported when it is called, or listed in the help: ``gateway --version`` needs none."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import typer
from typer.main import get_command, get_group

from gateway.cli.forms import Typer
from gateway.cli.terminal import fail
from gateway.exit_codes import INTERRUPTED
from protocols.lazy_names import imported

COMMANDS = {
    "init": "gateway.cli.init:init",
    "send": "gateway.cli.send:app",
    "dead": "gateway.cli.store.dead:app",
    "outgoing": "gateway.cli.store.outgoing:app",
    "run": "gateway.cli.run:run",
    "serve": "gateway.cli.serve:serve",
    "check": "gateway.cli.check:check",
    "routes": "gateway.cli.routes:routes",
    "explain": "gateway.cli.explain:command",
    "schema": "gateway.cli.schema:schema",
    "show": "gateway.cli.store.show:show",
    "waiting": "gateway.cli.store.waiting:waiting",
    "store": "gateway.cli.store.copying:app",
    "clients": "gateway.cli.clients:app",
    "sessions": "gateway.cli.sessions:app",
    "retained": "gateway.cli.retained:app",
    "status": "gateway.cli.status:status",
    "certificates": "gateway.cli.certificates:certificates",
    "log": "gateway.cli.log:app",
    "reload": "gateway.cli.reload:reload",
    "tail": "gateway.cli.tail:tail",
    "record": "gateway.cli.record:record",
    "replay": "gateway.cli.replay:replay",
    "password": "gateway.cli.passwords:password",
    "login": "gateway.cli.login:login",
}
"""Name -> ``module:function`` of a command, or ``module:app`` of a group of commands."""


class Commands(Mapping[str, Any]):
    """The commands of ``COMMANDS``, as :class:`typer.core.TyperGroup` looks for them."""

    def __getitem__(self, name: str) -> Any:
        return _command(name, COMMANDS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _command(name: str, home: str) -> Any:
    found = _imported(home)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        alone = Typer(add_completion=False)
        alone.command()(found)
        command = get_command(alone)
    command.name = name
    return command


def _imported(home: str) -> Any:
    """Import a command. That loads the scope types of other distributions, which may take its time."""
    try:
        return imported(home)
    except KeyboardInterrupt as error:
        fail(" ".join(["interrupted", *map(str, error.args)]), INTERRUPTED)
