"""The pages that specify our scopes say the same as the types in protocols/asgi.py: every key, no other."""

import re
from pathlib import Path
from typing import Any

import pytest

from protocols import asgi

PAGES = Path(__file__).parents[2] / "docs" / "asgi"
SCOPES = {"mqtt": asgi.MQTTScope, "email": asgi.EmailScope, "sms": asgi.SMSScope, "task": asgi.TaskScope}
SECTION = re.compile(r"^(#{2,3}) (.+?)\s*$", re.MULTILINE)
KEY = re.compile(r"^\| *`([a-z0-9_]+)`", re.MULTILINE)


def sections(page: str) -> dict[tuple[str, str], str]:
    """(heading of level 2, heading of level 3 or "") -> the text below it."""
    text = (PAGES / f"{page}.md").read_text()
    marks = list(SECTION.finditer(text))
    found, above = {}, ""
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : following.start() if following else len(text)]
        title = mark[2].replace("`", "")
        if mark[1] == "##":
            above = title
            found[above, ""] = body
        else:
            found[above, title] = body
    return found


def events(direction: str) -> dict[str, Any]:
    """Event type -> its TypedDict, of our own scopes."""
    union = asgi.ReceiveEvent if direction == "Events received" else asgi.SendEvent
    types = {member.__annotations__["type"].__args__[0]: member for member in union.__args__}
    return {name: kind for name, kind in types.items() if name.partition(".")[0] in SCOPES}


@pytest.mark.parametrize("page", SCOPES)
def test_the_scope_table_has_every_key(page: str) -> None:
    keys = set(KEY.findall(sections(page)["Scope", ""]))
    scope: Any = asgi.__dict__[SCOPES[page].__name__]
    assert keys == set(scope.__required_keys__ | scope.__optional_keys__)


@pytest.mark.parametrize("page", SCOPES)
@pytest.mark.parametrize("direction", ["Events received", "Events sent"])
def test_every_event_has_its_section_with_every_key(page: str, direction: str) -> None:
    documented = {
        title: set(KEY.findall(body)) | {"type"}
        for (above, title), body in sections(page).items()
        if above == direction and title
    }
    typed = {
        name: set(kind.__required_keys__ | kind.__optional_keys__)
        for name, kind in events(direction).items()
        if name.startswith(f"{page}.")
    }
    assert documented == typed
