"""Regular expressions of recipients that take more than was probably meant, and how to write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scopes.email.doubts import doubt_of


@pytest.mark.parametrize(
    ("expression", "instead"),
    [
        ("@support.example.org", r"@support\.example\.org$"),
        (r"@support\.example\.org", r"@support\.example\.org$"),
        ("@support.example.org$", r"@support\.example\.org$"),
        ("^help@support.example.org$", r"^help@support\.example\.org$"),
        (r"help@example\.org$", r"^help@example\.org$"),
        (r"(help|sales)@example\.org$", r"^(help|sales)@example\.org$"),
        (r"^(help|sales)@example\.(org|com)", r"^(help|sales)@example\.(org|com)$"),
        (r"^(?P<queue>\w+)\+(?P<ticket>\d+)@example.org$", r"^(?P<queue>\w+)\+(?P<ticket>\d+)@example\.org$"),
        ("@a.example|@b.example", r"@a\.example|@b\.example"),
        ("@example.(org|com)$", r"@example\.(org|com)$"),
    ],
)
def test_what_takes_more_is_shown_as_it_was_meant(expression: str, instead: str) -> None:
    doubt = doubt_of(expression)
    assert doubt is not None
    assert doubt.instead == instead
    assert doubt_of(instead) is None
    assert str(doubt).endswith(f"; write '{instead}'")


@pytest.mark.parametrize(
    "expression",
    [
        r"@support\.example\.org$",
        r"^help@",
        r"@support\.",
        r"^bounce-",
        r"@.*\.example\.org$",
        r"@[a-z.]+$",
        r"^\w+@example\.org\Z",
        r"(?x) @ example.org",
        r"@(?!evil).*",
        "",
        "^",
        r"help",
        r"@example\.org$|@example\.com$",
        r"^.+\+.+@example\.org$",
    ],
)
def test_what_is_clear_is_left_alone(expression: str) -> None:
    assert doubt_of(expression) is None


def test_what_is_shown_does_not_take_the_neighbour() -> None:
    doubt = doubt_of("@support.example.org")
    assert doubt is not None
    assert re.search(doubt.instead, "x@support.example.org")
    assert not re.search(doubt.instead, "x@support.example.org.evil.example")
    assert not re.search(doubt.instead, "x@supportXexample.org")


LABELS = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)


@given(st.lists(LABELS, min_size=2, max_size=4), st.sampled_from(["", "help", "^help"]), st.sampled_from([".", r"\."]))
def test_the_corrected_one_takes_the_domain_and_nothing_longer(labels: list[str], local: str, dot: str) -> None:
    doubt = doubt_of(f"{local}@{dot.join(labels)}")
    assert doubt is not None
    address = f"help@{'.'.join(labels)}"
    assert re.search(doubt.instead, address)
    assert not re.search(doubt.instead, f"{address}.evil.example")
    assert not re.search(doubt.instead, address.replace(".", "x"))


@given(st.text(alphabet="ab@.$^()|[]\\?*+{}:P<>-", max_size=20))
def test_any_text_is_looked_at(text: str) -> None:
    doubt_of(text)
