"""Which files belong to a version: its code, its templates, its gateway.yaml.

Nothing else counts: a store, a log or an uploaded file that changed would restart the gateway, which writes them, again
and again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

SUFFIXES = frozenset({".html", ".j2", ".jinja", ".jinja2", ".py"})
TEMPLATES = "templates"
"""In a folder of this name, every file is a template."""
_EDITORS = ("~", ".bak", ".orig", ".swp", ".swx", ".tmp")
"""Suffixes of the files in which editors keep what is not saved, or was."""


@dataclass(frozen=True)
class Watched:
    """The files of a version."""

    folders: frozenset[Path]
    """Code and templates are below these."""
    files: frozenset[Path]
    """These count, whatever their names are."""
    templates: frozenset[Path] = frozenset()
    """Every file below these is a template."""

    @classmethod
    def of(cls, message: dict[str, Any]) -> Self:
        return cls(*(frozenset(map(Path, message[name])) for name in ("folders", "files", "templates")))

    def as_message(self) -> dict[str, Any]:
        return {name: sorted(map(str, getattr(self, name))) for name in ("folders", "files", "templates")}

    def roots(self) -> list[Path]:
        """Return the folders to watch, without those that are below another one."""
        wanted = {*self.folders, *self.templates, *(file.parent for file in self.files)}
        existing = sorted(folder for folder in wanted if folder.is_dir())
        return [each for each in existing if not any(other in each.parents for other in existing)]

    def has(self, path: Path) -> bool:
        """Return whether another version has to start when ``path`` has changed."""
        if path in self.files:
            return True
        if path.name.startswith(".") or path.name.endswith(_EDITORS):
            return False
        return any(each in path.parents for each in self.templates) or any(
            path.suffix in SUFFIXES or TEMPLATES in parts for parts in self._below(path)
        )

    def _below(self, path: Path) -> Iterable[tuple[str, ...]]:
        return (path.relative_to(each).parts[:-1] for each in self.folders if each in path.parents)
