"""The command: run, check, routes, explain, send, dead, show, schema, password."""

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from gateway import checks, daemon, deadpage, sending, startpage
from gateway.content import Content, summary
from gateway.daemon import Gateway
from gateway.deadletters import Advance, DeadLetters, Filters, Unknown
from gateway.dialling import CannotSend
from gateway.findings import ConfigErrors, Finding, count
from gateway.loader import load
from gateway.passwords import password
from gateway.schema import json_schema, markdown
from gateway.store import open_store
from gateway.store.engine import StoreUnavailable
from gateway.subjects import explain as explain_subject
from protocols.units import parse_duration

T = TypeVar("T")
DEFAULT_FILE = "gateway.yaml"

app = typer.Typer(
    help="One daemon for HTTP, WebSocket, MQTT, email and SMS.\n\nExample: gateway check && gateway run",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
send_app = typer.Typer(
    help="Send something to the running gateway, with a real client of its protocol.\n\n"
    "Example: gateway send mqtt sensors/1/temperature '{\"celsius\": 21.5}'",
    no_args_is_help=True,
)
app.add_typer(send_app, name="send")
dead_app = typer.Typer(
    help="Work on dead letters: messages whose last attempt failed. Safe while the gateway runs.\n\n"
    "Example: gateway dead list --since 2h && gateway dead retry --since 2h",
    no_args_is_help=True,
)
app.add_typer(dead_app, name="dead")

File = Annotated[
    str | None,
    typer.Option("-c", "--config", metavar="FILE", help="Default: ./gateway.yaml, then $GATEWAY_CONFIG."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on standard output.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="NAME", help="Which server; default: the first that fits.")
]


class _Chosen:
    """The file that ``gateway -c FILE COMMAND`` named, for the command that follows."""

    file: str | None = None


def _file(given: str | None) -> str:
    if chosen := given or _Chosen.file:
        return chosen
    return DEFAULT_FILE if Path(DEFAULT_FILE).exists() else os.environ.get("GATEWAY_CONFIG") or DEFAULT_FILE


def _command(given: str | None) -> str:
    """How to call us again with the same file."""
    file = _file(given)
    return "gateway" if file == DEFAULT_FILE else f"gateway -c {file}"


def _build(given: str | None) -> Gateway:
    """Build from the file, in its folder: relative paths in it are seen from there."""
    draft = load(_file(given))
    os.chdir(draft.document.folder)
    return daemon.build(draft)


def _version() -> str:
    try:
        return version("asgi-gateway")
    except PackageNotFoundError:
        return startpage.VERSION


def _print_version(wanted: bool) -> None:
    if wanted:
        _say(f"gateway {_version()}")
        raise typer.Exit


@app.callback()
def _main(
    config: File = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    _Chosen.file = config


def _say(text: str) -> None:
    typer.echo(text)


def _print_json(data: Any) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False)
    _say(text.encode(errors="backslashreplace").decode())  # a lone surrogate, as JSON writes it


@app.command()
def run(config: File = None) -> None:
    """Run the gateway until SIGTERM or Ctrl+C.

    Exit codes: 0 stopped; 1 stopped by a second signal; 2 mistake in the file; 3 cannot start.

    Example: gateway run -c /etc/gateway/gateway.yaml
    """
    command = _command(config)
    daemon.run(_build(config), _say, command)


@app.command()
def check(config: File = None, as_json: AsJSON = False) -> None:
    """Check the file: all that `run` does before it binds, every mistake at its line and column.

    Example: gateway check -c gateway.yaml
    """
    try:
        gateway = _build(config)
    except ConfigErrors as errors:
        if not as_json:
            raise
        _print_json({"valid": False, "findings": [_as_dict(finding) for finding in errors.findings]})
        raise typer.Exit(daemon.MISTAKE) from errors
    if as_json:
        _print_json({"valid": True, "findings": []})
    else:
        _say(startpage.header(gateway.file, gateway.servers, gateway.app))


def _as_dict(finding: Finding) -> dict[str, Any]:
    return dataclasses.asdict(finding)


@app.command()
def routes(config: File = None, as_json: AsJSON = False) -> None:
    """List the routes, in the order in which they are tried.

    Example: gateway routes --json
    """
    gateway = _build(config)
    found = startpage.routes_of(gateway.app)
    if as_json:
        _print_json([{"type": kind, "pattern": str(route.pattern), "target": route.target} for kind, route in found])
        return
    for line in startpage.route_lines(gateway.app) or [f"  everything -> {gateway.settings.application}"]:
        _say(line)


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(help="What arrives, such as email:ann@example.org.")],
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Say which route and which consumer would take something, and why. Exit code 1 if none would.

    Examples: gateway explain email:ann@support.example.org · sms:+447700900123 · mqtt:sensors/1/temperature ·
    http:/longpoll/ · websocket:/chat/
    """
    try:
        explanation = explain_subject(_build(config).app, subject)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        _print_json(dataclasses.asdict(explanation))
    else:
        _say(f"{explanation.subject} -> {explanation.target or 'nothing'}: {explanation.why}")
    if explanation.target is None:
        raise typer.Exit(1)


class _Form(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"


@app.command()
def schema(
    form: Annotated[_Form, typer.Option("--format", help="json: for editors; markdown: the reference.")] = _Form.JSON,
) -> None:
    """Print the JSON Schema of gateway.yaml, or its reference in Markdown.

    Example: gateway schema > gateway.schema.json
    """
    if form is _Form.JSON:
        _print_json(json_schema())
    else:
        _say(markdown().rstrip())


# gateway send


def _send(sender: sending.Sender, config: str | None, *, as_json: bool) -> None:
    settings = load(_file(config)).finish()
    try:
        sent = asyncio.run(sending.send(sender, settings.servers))
    except CannotSend as error:
        _fail(f"cannot send: {error}", 1)
    if as_json:
        _print_json(dataclasses.asdict(sent))
    else:
        _say(sent.summary)
        if sent.answer:
            _say(sent.answer)
    if not sent.taken:
        raise typer.Exit(1)


@send_app.command("mqtt")
def send_mqtt(
    topic: Annotated[str, typer.Argument()],
    payload: Annotated[str, typer.Argument()] = "",
    qos: Annotated[int, typer.Option(min=0, max=1)] = 1,
    retain: Annotated[bool, typer.Option("--retain")] = False,
    username: Annotated[str | None, typer.Option()] = None,
    password: Annotated[str | None, typer.Option(envvar="MQTT_PASSWORD")] = None,
    server: ServerOption = None,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Publish a message and wait until a handler has taken it.

    Example: gateway send mqtt sensors/1/temperature '{"celsius": 21.5}'
    """
    message = sending.MQTT(topic, payload.encode(), qos, retain, username, password, server)
    _send(message, config, as_json=as_json)


@send_app.command("email")
def send_email(
    recipient: Annotated[str, typer.Argument()],
    text: Annotated[str, typer.Argument()] = "Hello",
    sender: Annotated[str, typer.Option("--from")] = "ann@example.net",
    subject: Annotated[str, typer.Option()] = "Hello",
    server: ServerOption = None,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Deliver a message, as another mail server would.

    Example: gateway send email help@support.example.org 'It does not print' --subject Printer
    """
    _send(sending.Email(recipient, text, sender, subject, server), config, as_json=as_json)


@send_app.command("sms", context_settings={"ignore_unknown_options": True})
def send_sms(
    sender: Annotated[str, typer.Argument(help="Who texts, such as +447700900123.")],
    text: Annotated[str, typer.Argument()],
    recipient: Annotated[str, typer.Option("--to")] = "+15005550006",
    server: ServerOption = None,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Post a text to the webhook, signed with the configured secret as its provider signs.

    Example: gateway send sms +447700900123 'When do you open?'
    """
    _send(sending.SMS(sender, text, recipient, server), config, as_json=as_json)


@send_app.command("http")
def send_http(
    path: Annotated[str, typer.Argument()],
    body: Annotated[str, typer.Option("--data", "-d")] = "",
    method: Annotated[str, typer.Option("--method", "-X", help="Default: GET, or POST with --data.")] = "",
    server: ServerOption = None,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Make an HTTP request.

    Example: gateway send http /longpoll/
    """
    verb = method or ("POST" if body else "GET")
    _send(sending.HTTP(path, verb, body.encode(), server), config, as_json=as_json)


@send_app.command("websocket")
def send_websocket(
    path: Annotated[str, typer.Argument()],
    texts: Annotated[list[str] | None, typer.Argument()] = None,
    quiet: Annotated[float, typer.Option(help="Seconds of silence after which it hangs up.")] = 1.0,
    server: ServerOption = None,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Connect, send texts, and print what comes back.

    Example: gateway send websocket /chat/ '/name Ann' 'hello'
    """
    _send(sending.WebSocket(path, texts or [], quiet, server), config, as_json=as_json)


# gateway dead, gateway show


class _Type(StrEnum):
    EMAIL = "email"
    MQTT = "mqtt"
    SMS = "sms"


IDs = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Or unique beginnings of ids.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
OfType = Annotated[_Type | None, typer.Option("--type", help="Only these.")]
OfRoute = Annotated[str | None, typer.Option("--route", metavar="TEXT", help="Only of routes that have this in them.")]
Since = Annotated[str | None, typer.Option("--since", metavar="AGE", help="Only what arrived since: 30m, 2h, 3d.")]


def _filters(kind: _Type | None, route: str | None, since: str | None) -> Filters:
    try:
        moment = time.time() - parse_duration(since) if since is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    return Filters(kind.value if kind else None, route, moment)


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Which dead letters a command is for: those named, or those that filters let pass."""

    ids: list[str]
    filters: Filters

    async def of(self, letters: DeadLetters) -> list[str]:
        return await (letters.named(self.ids) if self.ids else letters.ids(self.filters))


def _choice(ids: list[str] | None, filters: Filters, *, everything: bool) -> _Choice:
    if sum([bool(ids), everything, filters != Filters()]) != 1:
        raise typer.BadParameter("write ids, or --all, or filters (--type, --route, --since)", param_hint="which")
    return _Choice(ids or [], filters)


def _with_letters(config: str | None, work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    """What ``work`` makes of the store that the file names; nothing else of the file needs to be right."""
    draft = load(_file(config))
    if (wrong := list(checks.store(draft))) or draft.spoiled("store"):
        draft.finish(wrong)
    os.chdir(draft.document.folder)
    url = draft.settings.store
    if not Path(place := url.partition(":")[2]).exists():  # made here, it would be ours, and not the daemon's user's
        _fail(f"there is no store yet at {place}: no message was kept", 1)
    try:
        return asyncio.run(_opened(url, work))
    except StoreUnavailable as error:
        _fail(f"the store cannot be used: {error}", 1)
    except Unknown as error:
        _fail(str(error), 1)


async def _opened(url: str, work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    store = open_store(url)
    if found := await store.open():
        typer.echo(found, err=True)
    try:
        return await work(DeadLetters(store))
    finally:
        await store.close()


@contextlib.contextmanager
def _progress(what: str, total: int) -> Iterator[Advance]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


@dead_app.command("list")
def dead_list(
    kind: OfType = None, route: OfRoute = None, since: Since = None, config: File = None, as_json: AsJSON = False
) -> None:
    """List the dead letters, oldest first.

    Examples: gateway dead list --type email --since 2h · gateway dead list --json
    """
    filters = _filters(kind, route, since)
    found = _with_letters(config, lambda letters: letters.summaries(filters))
    if as_json:
        _print_json([summary(message) for message in found])
    else:
        _say("\n".join(deadpage.table(found, time.time())))


@dead_app.command("show")
def dead_show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Or a unique beginning of one.")],  # noqa: A002
    content: Annotated[bool, typer.Option("--content", help="Print the message itself, raw.")] = False,
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Show all of a dead letter but its content: where it came from, and what it failed with.

    Examples: gateway dead show 7f3a · gateway dead show 7f3a --content > message.eml
    """
    message = _with_letters(config, lambda letters: letters.get(id))
    if content:
        try:
            sys.stdout.buffer.write(Content.of(message).raw())
        except ValueError as error:
            _fail(f"{message.id}: {error}", 1)
    elif as_json:
        _print_json(deadpage.told(message))
    else:
        _say("\n".join(deadpage.letter(message)))


@dead_app.command("retry")
def dead_retry(
    ids: IDs = None,
    everything: All = False,
    kind: OfType = None,
    route: OfRoute = None,
    since: Since = None,
    config: File = None,
) -> None:
    """Let dead letters wait again: they run through today's routes when the daemon runs, with all their attempts.

    Examples: gateway dead retry 7f3a · gateway dead retry --route tickets --since 2h · gateway dead retry --all
    """
    choice = _choice(ids, _filters(kind, route, since), everything=everything)

    async def retry(letters: DeadLetters) -> int:
        chosen = await choice.of(letters)
        with _progress("retry", len(chosen)) as advance:
            return await letters.revive(chosen, advance)

    revived = _with_letters(config, retry)
    _say(f"{revived} {'waits' if revived == 1 else 'wait'} again")


@dead_app.command("drop")
def dead_drop(
    ids: IDs = None,
    everything: All = False,
    kind: OfType = None,
    route: OfRoute = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: File = None,
) -> None:
    """Drop dead letters for good. Asks first; exit code 1 where the answer is no.

    Examples: gateway dead drop 7f3a · gateway dead drop --type mqtt --yes
    """
    choice = _choice(ids, _filters(kind, route, since), everything=everything)

    async def drop(letters: DeadLetters) -> int:
        chosen = await choice.of(letters)
        if chosen and not yes:
            typer.confirm(f"Drop {count(len(chosen), 'dead letter')} for good?", abort=True, err=True)
        with _progress("drop", len(chosen)) as advance:
            return await letters.drop(chosen, advance)

    _say(f"{_with_letters(config, drop)} dropped")


@dead_app.command("export")
def dead_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", resolve_path=True, file_okay=False)],
    ids: IDs = None,
    everything: All = False,
    kind: OfType = None,
    route: OfRoute = None,
    since: Since = None,
    config: File = None,
) -> None:
    """Write one file a dead letter: ID.eml for email, ID.json for the rest, bytes as base64. They stay in the store.

    Examples: gateway dead export letters 7f3a · gateway dead export letters --type email
    """
    choice = _choice(ids, _filters(kind, route, since), everything=everything)

    async def export(letters: DeadLetters) -> int:
        chosen = await choice.of(letters)
        with _progress("export", len(chosen)) as advance:
            return await letters.export(folder, chosen, advance)

    try:
        _say(f"{_with_letters(config, export)} written to {folder}")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}", 1)


@app.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="A message's id, as log lines have it.")],  # noqa: A002
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Tell a message's story: what happened to it, when, and where it is now.

    Example: gateway show 7f3a9c2k4b
    """
    story = _with_letters(config, lambda letters: letters.story(id))
    if as_json:
        _print_json(deadpage.story_data(story))
    else:
        _say("\n".join(deadpage.story(story, _command(config), time.time())))


app.command()(password)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    """The entry point: a handled error is words and an exit code, never a traceback."""
    try:
        app()
    except ConfigErrors as errors:
        typer.echo(str(errors), err=True)
        sys.exit(daemon.MISTAKE)
    except KeyboardInterrupt:
        sys.exit(1)
