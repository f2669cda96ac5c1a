"""Which configuration file is meant: one order for the command, ``manage.py rungateway`` and code that sends."""

import os
import sys

NAME = "GATEWAY_CONFIG"
DEFAULT_FILE = "gateway.yaml"


def config_file(given: str | None = None) -> str:
    """Return the path of the configuration file: ``given``, or what the environment's ``GATEWAY_CONFIG`` names, or what
    Django's setting of that name does if this process has set Django up, or ``gateway.yaml`` in the current folder."""
    return given or os.environ.get(NAME) or _setting() or DEFAULT_FILE


def name_for_children(file: str) -> None:
    """Let processes that handlers start find ``file``, in whatever folder they work."""
    os.environ[NAME] = os.path.abspath(file)


def looked_at() -> str:
    """Name the places where the file is looked for if no path is given, with what each holds now."""
    setting = (_setting() or "not set") if _settings() else "Django is not set up here"
    return f"${NAME} ({os.environ.get(NAME) or 'not set'}), {NAME} of Django's settings ({setting}), ./{DEFAULT_FILE}"


def _setting() -> str:
    return str(getattr(_settings(), NAME, None) or "")


def _settings() -> object:
    """Return the project's settings, or None if this process has not set Django up: who only reads a path does not."""
    django = sys.modules.get("django.conf")
    return django.settings if django and django.settings.configured else None
