"""Makes HTML of a template. What is shown is escaped: subjects, topics and user agents are what strangers write."""

from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.console.kept.content import last_line
from gateway.console.pages import words
from gateway.console.pages.sparkline import sparkline


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text


_templates = Environment(
    loader=PackageLoader("gateway.console.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters.update(
    {name: form for name, form in words.FORMS.items() if name},
    shown=words.shown,
    cut=words.cut,
    label=words.label,
    last_line=last_line,
    yaml=_as_yaml,
)
_templates.globals.update(sparkline=sparkline, form_of=words.form_of)


def rendered(template: str, content: Mapping[str, Any]) -> bytes:
    """Return the page."""
    return _templates.get_template(template).render(content).encode("utf-8", "replace")
