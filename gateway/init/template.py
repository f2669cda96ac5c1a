"""Reads the templates of new projects: a folder of real files each, which work as they are."""

from collections.abc import Mapping
from pathlib import Path

HOME = Path(__file__).with_name("templates")
EVERYTHING = "all"
"""The template with every protocol."""
DJANGO = "django"
"""The template whose files are added to a Django project."""

Files = Mapping[str, str]
"""Name -> content."""


class NoProject(Exception):
    """The project cannot be made; the message is one sentence."""


def names() -> list[str]:
    return sorted(each.name for each in HOME.iterdir() if each.is_dir())


def read(name: str) -> Files:
    """Return the files of a template, with those that every project has."""
    own = {each.name: each.read_text("utf-8") for each in sorted((HOME / name).iterdir()) if each.is_file()}
    return {".gitignore": (HOME / "gitignore").read_text("utf-8"), **own}
