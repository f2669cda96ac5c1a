"""The command `gateway`: its main commands. `gateway.cli.store` has those for the store."""

import contextlib
import dataclasses
import logging
import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import send
from gateway.cli.explain import explain as explain_subject
from gateway.cli.login import login
from gateway.cli.passwords import password
from gateway.cli.store import dead, outgoing
from gateway.cli.store.show import show
from gateway.cli.store.waiting import waiting
from gateway.cli.terminal import (
    AsJSON,
    Chosen,
    File,
    command_of,
    fail,
    file_of,
    prepare_standard_streams,
    print_error,
    print_json,
    print_text,
)
from gateway.config import checks
from gateway.config.diagnostics import CannotStart, ConfigErrors
from gateway.config.loader import ParsedConfig, load
from gateway.config.schema import json_schema, markdown
from gateway.logs import setup, uncaught
from gateway.runtime import banner, preflight, process, signals
from gateway.runtime.build import Gateway, build
from gateway.runtime.daemon import Daemon
from gateway.runtime.importing import place_of
from gateway.scopes.installed import FAILURES

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="One daemon for HTTP, WebSocket, MQTT, email and SMS.\n\nExample: gateway check && gateway run",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(send.app, name="send")
app.add_typer(dead.app, name="dead")
app.add_typer(outgoing.app, name="outgoing")


def _build(parsed: ParsedConfig) -> Gateway:
    """Build what the file asks for, in its folder: relative paths in it start there. The log is set up first, because
    modules may log while they are imported."""
    os.chdir(parsed.document.folder)
    setup.configure(parsed.settings.log, sys.stderr)
    try:
        return build(parsed)
    except KeyboardInterrupt as error:  # what it waits for is a handler's module
        fail(f"interrupted{place_of(error)}", process.INTERRUPTED)


def _build_to_run(parsed: ParsedConfig) -> Gateway:
    """Build it for a process whose every line may have to be a log record, and check that this machine has what the
    file asks for."""
    try:
        gateway = _build(parsed)
        _check_machine(parsed, gateway)
        return gateway
    except ConfigErrors as errors:
        if parsed.settings.log.format == "text":
            raise
        for diagnostic in errors.diagnostics:
            logger.error("%s", dataclasses.replace(diagnostic, excerpt=""))
        sys.exit(_code(errors))


def _check_machine(parsed: ParsedConfig, gateway: Gateway) -> None:
    """Raises CannotStart."""
    for failure in FAILURES:
        logger.warning("%s", failure)
    for warning in checks.warnings(parsed):
        logger.warning("%s:%d:%d: %s", warning.file, warning.line, warning.column, warning.message)
    if found := preflight.diagnostics(parsed, stored=gateway.dispatcher is not None):
        raise CannotStart(found)


def _code(errors: ConfigErrors) -> int:
    return process.CANNOT_START if isinstance(errors, CannotStart) else process.MISTAKE


def _build_to_answer(given: str | None) -> Gateway:
    """Build it for a command that answers on standard output: what modules print there goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        return _build(load(file_of(given)))


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    config: File = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    Chosen.file = config


@app.command()
def run(config: File = None) -> None:
    """Run the gateway until SIGTERM or Ctrl+C.

    Exit codes: 0 stopped; 1 stopped by a second signal; 2 mistake in the file; 3 cannot start.

    Example: gateway run -c /etc/gateway/gateway.yaml
    """
    signals.ignore()  # before anything is imported, so that a module's own handler stays
    uncaught.take_over()
    command = command_of(config)
    process.run(Daemon(_build_to_run(load(file_of(config))), print_text, command).run())


@app.command()
def check(config: File = None, as_json: AsJSON = False) -> None:
    """Check the file: do all that `run` does before it binds, and show every mistake at its line and column.

    Also check this machine: the store and the outbox can be written, and the addresses exist here (one may be in use,
    by a gateway that runs). Exit codes: 2 there is a mistake in the file; 3 `run` could not start.

    Example: gateway check -c gateway.yaml
    """
    parsed = load(file_of(config))
    with contextlib.redirect_stdout(sys.stderr):
        gateway = _build(parsed)
        _check_machine(parsed, gateway)
    if as_json:
        warnings = [dataclasses.asdict(warning) for warning in checks.warnings(parsed)]
        print_json({"valid": True, "diagnostics": [], "warnings": warnings})
    else:
        print_text(banner.header(gateway.file, gateway.servers, gateway.app))


@app.command()
def routes(config: File = None, as_json: AsJSON = False) -> None:
    """List the routes, in the order in which they are tried.

    Example: gateway routes --json
    """
    gateway = _build_to_answer(config)
    found = banner.routes_of(gateway.app)
    if as_json:
        print_json([{"type": kind, "pattern": str(route.pattern), "target": route.target} for kind, route in found])
        return
    for line in banner.route_lines(gateway.app) or [f"  everything -> {gateway.settings.application}"]:
        print_text(line)


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
        gateway = _build_to_answer(config)
        explanation = explain_subject(gateway.app, subject, gateway.settings.servers)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        print_json(dataclasses.asdict(explanation))
    else:
        print_text(f"{explanation.subject} -> {explanation.target or 'nothing'}: {explanation.why}")
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
        print_json(json_schema())
    else:
        print_text(markdown().rstrip())


app.command()(show)
app.command("waiting")(waiting)
app.command()(password)
app.command()(login)


def main() -> None:
    """Run the command. A handled error ends it with a message and an exit code, never with a traceback."""
    prepare_standard_streams()
    try:
        app()
    except ConfigErrors as errors:
        if Chosen.as_json:
            print_json(
                {"valid": False, "diagnostics": [dataclasses.asdict(diagnostic) for diagnostic in errors.diagnostics]}
            )
        else:
            told = str(errors)
            print_error("\n".join([*(sentence for sentence in map(str, FAILURES) if sentence not in told), told]))
        sys.exit(_code(errors))
