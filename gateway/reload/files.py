"""Which files this process, a version, consists of."""

import os
import sys
from pathlib import Path

from gateway.config.loader import ParsedConfig
from gateway.frames import is_own
from gateway.reload.watched import Watched

_DJANGO = ("django.core.handlers.asgi", "django.db.models", "django.forms", "django.template", "django.urls")


def watched_by(parsed: ParsedConfig, file: str) -> Watched:
    """Return the files of the version that ``parsed`` asks for, as far as it has been imported."""
    folders = {parsed.document.folder.resolve(), parsed.folder}
    elsewhere = {_top(module) for module in own_modules() if not any(each in module.parents for each in folders)}
    return Watched(frozenset(folders | elsewhere), frozenset({Path(file).resolve()}), _templates(parsed))


def own_modules() -> set[Path]:
    """Return the files of the modules that are the user's own."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {Path(os.path.realpath(file)) for file in files if file and is_own(file)}


def library_modules() -> list[str]:
    """Return the modules that the next version will need, too, and that may be imported before it begins: they do
    nothing that depends on the application. Django's are those that need no settings."""
    ours = [name for name in list(sys.modules) if name.startswith(("gateway.", "protocols."))]
    django = [name for name in _DJANGO if name in sys.modules]
    return [*(name for name in ours if not name.startswith("gateway.django")), *django]


def _top(module: Path) -> Path:
    """Return the folder of the outermost package that ``module`` belongs to."""
    folder = module.parent
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


def _templates(parsed: ParsedConfig) -> frozenset[Path]:
    if parsed.settings.django is None or "django" not in sys.modules:
        return frozenset()
    from gateway.django import template_folders  # only where it is asked for: Django is optional

    return frozenset(folder for folder in template_folders() if is_own(str(folder / "template")))
