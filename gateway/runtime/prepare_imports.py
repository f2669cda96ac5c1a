"""Prepares the import of the application: puts its folder on ``sys.path``, and sets Django up.

This is the one part of :func:`gateway.runtime.build.build` that acts on the whole process and cannot be undone. A
module is imported once, so that two gateways of one process share the modules that both name; a second Django project,
or a second folder with a module of the same name, needs a process of its own.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.config import checks
from gateway.config.diagnostics import Diagnostic
from gateway.config.loader import ParsedConfig
from gateway.runtime.importing import place_of, source_lines
from gateway.scopes.email.submission import DJANGO
from protocols.errors import describe_error

DJANGO_SETTINGS = "GATEWAY_DJANGO_SETTINGS"
"""The settings module that `manage.py rungateway` has, in place of the one that the file names."""


def prepare_imports(parsed: ParsedConfig) -> list[Diagnostic]:
    """Let modules be found in the file's folder, and set Django up if the file asks for it. Return what went wrong."""
    if not parsed.folder.is_dir():
        return [parsed.document.at_value(("path",), f"path: there is no folder {parsed.settings.path!r}")]
    add_to_path(parsed.folder)
    if parsed.settings.django is None:
        return []
    problem, trace = _set_up_django(os.environ.get(DJANGO_SETTINGS) or parsed.settings.django.settings)
    return [parsed.document.at_value(("django", "settings"), problem).with_lines(trace)] if problem else []


def prepare_store(parsed: ParsedConfig) -> list[Diagnostic]:
    """Set Django up for a store in the project's database, unless this process has it set up. Return what went wrong.
    What the project's modules print goes to standard error."""
    if parsed.settings.store != DJANGO:
        return []
    with contextlib.redirect_stdout(sys.stderr):
        unprepared = [] if _is_set_up() else [*checks.django_store_named(parsed), *prepare_imports(parsed)]
    return unprepared or [*checks.django_store(parsed)]


def _is_set_up() -> bool:
    found = sys.modules.get("django.apps")
    return found is not None and bool(found.apps.ready)


def add_to_path(folder: Path) -> None:
    """Look for modules in ``folder`` first."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _set_up_django(module: str) -> tuple[str, Sequence[str]]:
    """Return what is wrong, if anything is, and the lines of the project that failed."""
    try:
        from gateway.django import setup

        setup(module)
    except (Exception, SystemExit) as error:  # whatever the settings module does
        if isinstance(error, ImportError) and error.name == "django":
            return "Django is not installed; pip install 'asgi-gateway[django]'", ()
        trace = source_lines(error)
        place = place_of(error) if trace else ""
        return f"Django cannot be set up with {module!r}{place}: {describe_error(error)}", trace
    return "", ()
