"""`gateway send`: a command for each scope type that has one, with a real client of its protocol."""

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from copy import copy
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args

import aiohttp
import aiosmtplib
import typer

from gateway.cli import completion
from gateway.cli.forms import Group, Typer
from gateway.cli.heard import Heard, in_words
from gateway.cli.options import AsJSON, File
from gateway.cli.terminal import fail, file_of, print_json, print_text
from gateway.config.loader import load
from gateway.config.unknown import unknown
from gateway.control.place import places
from gateway.scopes.installed import KINDS
from gateway.scopes.kind import ScopeKind
from gateway.scopes.sending import TIMEOUT, CannotSend, Sender, Sent, ServerOption, WrongArgument
from protocols.errors import describe_error
from protocols.lazy_names import imported

_failures: dict[str, str] = {}
"""Why a scope type that has a command for `gateway send` lacks it, by name of the scope type."""


class _Messages(Group):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Name the package of an unknown command, if it has failed."""
        name = args[0] if args else ""
        if name in _failures:
            ctx.fail(_failures[name])
        if name and not name.startswith("-") and name not in self.commands:
            ctx.fail(f"nothing is sent to {name!r}{unknown(name, self.commands, otherwise='there are')}")
        return super().resolve_command(ctx, args)


app = Typer(
    cls=_Messages,
    help="Send something to the running gateway, with a real client of its protocol.\n\n"
    "Example: gateway send mqtt sensors/1/temperature '{\"celsius\": 21.5}'",
)


async def send(sender: Sender, servers: Mapping[str, Any]) -> Sent:
    """Send the message. If no server answers, raises CannotSend; its message is one sentence."""
    peer = sender.peer(servers)
    place = f"servers.{peer.name} at {peer.endpoint}"
    try:
        async with asyncio.timeout(TIMEOUT):
            return await sender.send(peer)
    except TimeoutError as error:
        raise CannotSend(f"{place}: no answer within {TIMEOUT:g} s") from error
    except ValueError as error:  # a client's own opinion of what it was given; aiohttp's are ClientErrors, too
        raise WrongArgument(str(error)) from error
    except (aiohttp.ClientError, aiosmtplib.SMTPException, OSError) as error:
        raise CannotSend(f"{place}: {_reason(error)}; is the gateway running?") from error


def _reason(error: Exception) -> str:
    """Return the system's own error message, without the text that each library puts around it."""
    cause = getattr(error, "os_error", None) or error.__cause__ or error
    found = re.search(r"\[Errno (\d+)\]", str(cause))  # asyncio makes one error of several, where a name has addresses
    number = getattr(cause, "errno", None) or (int(found[1]) if found else 0)
    return os.strerror(number) if number > 0 else str(error) or type(error).__name__


def _run(sender: Sender, config: str | None, *, as_json: bool, expect_route: bool) -> None:
    parsed = load(file_of(config))
    os.chdir(parsed.document.folder)
    settings = parsed.finish()
    with Heard(places(Path(), parsed.document.name, settings.store)) as heard:
        try:
            sent = asyncio.run(send(sender, settings.servers))
        except CannotSend as error:
            summary = f"cannot send: {error}"
            if not as_json:
                fail(summary, error.exit_code)
            _print(Sent(taken=False, summary=summary), None, as_json=True)
            raise typer.Exit(error.exit_code) from error
        arrival = heard.arrival(sent.arrives_as, taken=sent.taken)
    _print(sent, arrival, as_json=as_json)
    if expect_route:
        _expect_route(arrival, heard.trouble)
    if not sent.taken:
        raise typer.Exit(1)


def _expect_route(arrival: Mapping[str, Any] | None, trouble: str) -> None:
    if arrival is None:
        fail(f"which route took it is not known: {trouble or 'the gateway does not say it'}", 1)
    if not arrival["target"]:
        raise typer.Exit(1)


def _print(sent: Sent, arrival: Mapping[str, Any] | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"taken": sent.taken, "summary": sent.summary, "answer": sent.answer, "arrival": arrival})
        return
    print_text(f"{sent.summary}; {in_words(arrival)}" if arrival else sent.summary)
    if sent.answer:
        print_text(sent.answer)


ExpectRoute = Annotated[
    bool, typer.Option("--expect-route", help="Exit code 1 if no route took it, although it is acknowledged.")
]


def _command(form: Callable[..., Sender]) -> Callable[..., None]:
    """Make a command of ``form``: it has the parameters of ``form``, and those that all commands of `send` have."""

    def command(config: File = None, as_json: AsJSON = False, expect_route: ExpectRoute = False, **own: Any) -> None:
        _run(form(**own), config, as_json=as_json, expect_route=expect_route)

    shared = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in signature(command).parameters.values()][:3]
    own_parameters = (_completed(each) for each in signature(form, eval_str=True).parameters.values())
    parameters = [*own_parameters, *shared]
    command.__doc__ = form.__doc__
    command.__dict__["__signature__"] = Signature(parameters)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _completed(parameter: Parameter) -> Parameter:
    """Let the shell complete the name of a server, which a scope type's own package cannot."""
    if parameter.annotation is not ServerOption:
        return parameter
    type_, option = get_args(ServerOption)
    option = copy(option)
    option.autocompletion = completion.servers
    return parameter.replace(annotation=Annotated[type_, option])


def _add(kind: ScopeKind) -> None:
    command = _command(imported(kind.send))
    # What begins with a dash and is not an option, such as a number, is an argument.
    app.command(kind.name, context_settings={"ignore_unknown_options": kind.dashes})(command)


for _kind in KINDS.values():
    if _kind.send:
        try:
            _add(_kind)
        except (Exception, SystemExit) as _error:  # whatever a module of another distribution does
            _failures[_kind.name] = (
                f"{_kind.send}, which sends to {_kind.name}, cannot be used: {describe_error(_error)}"
            )
