"""Fits the template to a Django project: the one of a ``manage.py``, or a new one, which Django itself makes."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gateway.init.template import Files, NoProject

NAME = "mysite"
"""The new project; the template is written for it."""
_SETTINGS = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*(?:,|\]\s*=)\s*["'](?P<module>[\w.]+)["']""")


def settings_of(manage: Path) -> str:
    """Return the settings module that ``manage``, a project's manage.py, names. Raises NoProject or OSError."""
    if found := _SETTINGS.search(manage.read_text("utf-8", errors="replace")):
        return found["module"]
    if given := os.environ.get("DJANGO_SETTINGS_MODULE"):
        return given
    raise NoProject(f"{manage} names no settings module; set DJANGO_SETTINGS_MODULE to yours, such as {NAME}.settings")


def with_settings(files: Files, module: str) -> Files:
    """Replace the settings module of the template by the project's."""
    return {name: text.replace(f"{NAME}.settings", module) for name, text in files.items()}


def start_project(folder: Path) -> None:
    """Let Django make a new project in ``folder``. Raises NoProject or OSError."""
    if find_spec("django") is None:
        raise NoProject("Django is not installed; pip install 'asgi-gateway[django]'")
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "django", "startproject", NAME, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own interpreter
    if done.returncode:
        raise NoProject(done.stderr.strip().rpartition("\n")[2] or "Django could not make a project")
