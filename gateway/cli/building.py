"""Builds the gateway of the file, for the commands that need more than its settings."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.cli.terminal import Chosen, fail, file_of, print_error, print_json
from gateway.config import checks
from gateway.config.diagnostics import CannotStart, ConfigErrors, Diagnostic
from gateway.config.loader import ParsedConfig, load
from gateway.config_file import name_for_children
from gateway.exit_codes import CANNOT_START, INTERRUPTED, MISTAKE
from gateway.logs import setup, uncaught
from gateway.runtime import preflight, signals
from gateway.runtime.build import Gateway, build
from gateway.runtime.importing import place_of
from gateway.scopes.installed import FAILURES

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Prepare this process to be a daemon's. Call this before anything of the application is imported."""
    signals.ignore()  # this early, so that a handler that a module sets stays
    uncaught.take_over()


def loaded_to_run(file: str) -> ParsedConfig:
    """Read the file of a daemon, whose handlers may start processes that need it, too."""
    parsed = load(file)
    name_for_children(file)
    return parsed


def built(parsed: ParsedConfig, *, to_run: bool = False) -> Gateway:
    """Build what the file asks for, in its folder: relative paths in it start there. The log is set up first, because
    modules may log while they are imported; its file is for one that is built ``to_run``."""
    os.chdir(parsed.document.folder)
    setup.configure(parsed.settings.log, sys.stderr, to_files=to_run)
    try:
        return build(parsed)
    except KeyboardInterrupt as error:  # what it waits for is a handler's module
        fail(f"interrupted{place_of(error)}", INTERRUPTED)


def built_to_run(
    parsed: ParsedConfig, tell: Callable[[ConfigErrors], None] = lambda _: None, *, warns: bool = True
) -> Gateway:
    """Build it for a process whose every line may have to be a log record, and check that this machine has what the
    file asks for. ``tell`` gets its mistakes, too. ``warns``: whether warnings are logged."""
    try:
        gateway = built(parsed, to_run=True)
        check_machine(parsed, gateway, warns=warns)
        return gateway
    except ConfigErrors as errors:
        tell(errors)
        if parsed.settings.log.format == "text":
            raise
        for diagnostic in errors.diagnostics:
            logger.error("%s", dataclasses.replace(diagnostic, excerpt=""))
        sys.exit(code_of(errors))


class Reading:
    """Reads and builds the file of a daemon again, on any thread. Nothing of the process changes but what imports
    need."""

    def __init__(self, file: str) -> None:
        self._path = Path(file).absolute()
        self._name = file
        self._folder = self._path.resolve().parent

    def __call__(self, before: Gateway) -> Gateway:
        """Raises ConfigErrors."""
        parsed = load(self._path, name=self._name)  # a link may lead to another file now
        if parsed.document.folder != self._folder:
            moved = f"its folder is {parsed.document.folder} now, and this process works in {self._folder}"
            raise ConfigErrors([Diagnostic(self._name, 1, 1, f"{moved}: gateway reload --code")])
        gateway = build(parsed, before=before)
        check_machine(parsed, gateway)
        return gateway


def built_to_answer(given: str | None) -> Gateway:
    """Build it for a command that answers on standard output: what modules print there goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        return built(load(file_of(given)))


def check_machine(parsed: ParsedConfig, gateway: Gateway, *, warns: bool = True) -> None:
    """Raises CannotStart."""
    for failure in FAILURES if warns else ():
        logger.warning("%s", failure)
    for warning in warnings(parsed) if warns else ():
        logger.warning("%s:%d:%d: %s", warning.file, warning.line, warning.column, warning.message)
    if found := preflight.diagnostics(parsed, stored=gateway.dispatcher is not None):
        raise CannotStart(found)


def warnings(parsed: ParsedConfig) -> list[Diagnostic]:
    """Find what is allowed and probably not meant, and what this machine lacks and may get."""
    return [*checks.warnings(parsed), *preflight.warnings(parsed)]


def code_of(errors: ConfigErrors) -> int:
    """Return the exit code."""
    return CANNOT_START if isinstance(errors, CannotStart) else MISTAKE


def print_mistakes(errors: ConfigErrors) -> None:
    """Print what is wrong with the file, and with scope types that it may need."""
    if Chosen.as_json:
        diagnostics = [dataclasses.asdict(diagnostic) for diagnostic in errors.diagnostics]
        print_json({"valid": False, "diagnostics": diagnostics})
    else:
        told = str(errors)
        print_error("\n".join([*(sentence for sentence in map(str, FAILURES) if sentence not in told), told]))
