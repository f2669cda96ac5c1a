"""Renders the templates of a mail by Django."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SUFFIXES = (".txt", ".html", ".subject")


@dataclass(frozen=True)
class Rendered:
    """What the templates of one name say."""

    text: str
    html: str | None
    subject: str | None
    """On one line."""


def render(name: str, context: Mapping[str, Any]) -> Rendered:
    """Render ``<name>.txt``, ``<name>.html`` and ``<name>.subject``, as far as they exist.

    Only the HTML is escaped. Raises LookupError, with what to do, where Django is not set up, or has no template of
    that name; and what rendering raises.
    """
    _check_django(name)
    from django.template import TemplateDoesNotExist
    from django.template.loader import get_template

    found: dict[str, str] = {}
    for suffix in SUFFIXES:
        try:
            template = get_template(name + suffix)
        except TemplateDoesNotExist as error:
            if str(error) != name + suffix:  # one that this template extends or includes
                raise
            continue
        found[suffix] = _rendered(template, context, escapes=suffix == ".html")
    if ".txt" not in found and ".html" not in found:
        raise LookupError(f"template: Django finds neither {name}.txt nor {name}.html; make one of them")
    subject = found.get(".subject")
    return Rendered(found.get(".txt", ""), found.get(".html"), None if subject is None else " ".join(subject.split()))


def _check_django(name: str) -> None:
    try:
        from django.conf import settings
    except ImportError:
        pass
    else:
        from django.apps import apps

        if settings.configured and apps.ready:
            return
    raise LookupError(f"template {name!r} needs Django; write django: {{settings: yourproject.settings}} into the file")


def _rendered(template: Any, context: Mapping[str, Any], *, escapes: bool) -> str:
    """Render with Django's own engine without escaping if it is text; other engines have a rule for each suffix."""
    from django.template import Context
    from django.template.backends.django import Template

    if isinstance(template, Template) and not escapes:
        return str(template.template.render(Context(dict(context), autoescape=False)))
    return str(template.render(dict(context)))
