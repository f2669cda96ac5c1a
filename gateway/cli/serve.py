"""`gateway serve`: an application on some addresses, without a file."""

from collections.abc import Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated

import typer
import yaml

from gateway.cli.building import built_to_run, prepare
from gateway.cli.terminal import SERVED, print_text
from gateway.config.loader import parse
from gateway.config_file import DEFAULT_FILE
from gateway.runtime import process
from gateway.runtime.daemon import Daemon
from gateway.scopes.installed import SERVERS

PROTOCOLS = [protocol for protocol, server in SERVERS.items() if server.needs_only_bind]
"""The protocols whose servers need nothing but an address; each has an option."""
_HOST = "127.0.0.1"


def serve(app: Annotated[str, typer.Argument(metavar="MODULE:APP")], **given: str | None) -> None:
    """Serve an ASGI application, a router or a consumer without a file, until SIGTERM or Ctrl+C.

    ADDRESS is a port of 127.0.0.1, host:port or unix:/path; without any, it is --http 8000. The gateway.yaml that this
    amounts to is printed.

    Example: gateway serve main:app --http 8000 --mqtt 1883
    """
    prepare()
    text = file_for(app, {name.replace("_", "-"): address for name, address in given.items() if address is not None})
    gateway = built_to_run(parse(text, name=SERVED, folder=Path.cwd()))
    print_text(f"# {DEFAULT_FILE} would say:\n{text}")
    process.run(Daemon(gateway, print_text, None).run())


def _option(protocol: str) -> Parameter:
    option = typer.Option(f"--{protocol}", metavar="ADDRESS", help=f"Where its {protocol} server listens.")
    kind = Parameter.KEYWORD_ONLY
    return Parameter(protocol.replace("-", "_"), kind, default=None, annotation=Annotated[str | None, option])


serve.__dict__["__signature__"] = Signature([signature(serve).parameters["app"], *map(_option, PROTOCOLS)])


def file_for(app: str, addresses: Mapping[str, str]) -> str:
    """Return the gateway.yaml that serves ``app`` at ``addresses``, by protocol."""
    servers = {
        protocol: {"protocol": protocol, "bind": f"{_HOST}:{address}" if address.isdecimal() else address}
        for protocol, address in (addresses or {PROTOCOLS[0]: "8000"}).items()
    }
    data = {"servers": servers, "application": app}
    return str(yaml.safe_dump(data, default_flow_style=None, sort_keys=False, width=1000))
