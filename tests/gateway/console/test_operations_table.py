"""What every operation has to be, so that the control socket, HTTP and the documentation can serve it."""

import re
from typing import Annotated, Any, get_type_hints

import pytest

from gateway.console.operation import Operation, operation
from gateway.console.parameters import Parameter, read_all
from gateway.console.table import operations
from gateway.control.server import BadRequest
from protocols.units import Between

EACH = pytest.mark.parametrize("one", operations().values(), ids=lambda one: one.name)


@EACH
def test_it_is_described(one: Operation) -> None:
    assert re.match(r"[A-Z].*\.", one.words), "a sentence says what it does"
    assert all(re.fullmatch(r"[A-Z].*\.", each.words) for each in one.parameters.values())
    assert one.result.__doc__


@EACH
def test_an_answer_is_not_taken_for_an_error(one: Operation) -> None:
    assert "error" not in get_type_hints(one.result)


@EACH
def test_its_path_is_of_the_interface(one: Operation) -> None:
    if not one.path:
        return
    assert re.fullmatch(r"(/api)(/[a-z.-]+|/{\w+})+", one.path)
    assert all(one.parameters[name].required for name in one.in_path)


def test_each_has_a_name_and_a_path_of_its_own() -> None:
    found = operations()
    over_http = [one for one in found.values() if one.path]
    assert len({(one.method, re.sub(r"{\w+}", "*", one.path)) for one in over_http}) == len(over_http)
    assert {"ring", "tail", "record"} <= found.keys(), "older clients know them"


@operation("probe", "POST", "/api/probe/{name}")
async def probe(
    here: Any,
    *,
    name: Annotated[str, "A text."],
    number: Annotated[int | None, Between(1, 5), "A number."] = None,
    share: Annotated[float, "A share."] = 0.5,
    sure: Annotated[bool, "Whether."] = False,
    names: Annotated[list[str], "Names."] = [],  # noqa: B006 -- nobody changes it
) -> Any:
    """Look."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "name is missing: A text."),
        ({"name": 5}, "name: write a text"),
        ({"name": None}, "name is missing"),
        ({"name": "x", "other": 1}, "there is no parameter 'other'; there are name, number"),
        ({"name": "x", "number": 0}, "number: write a whole number from 1 to 5"),
        ({"name": "x", "number": True}, "number: write a whole number from 1 to 5"),
        ({"name": "x", "number": "5"}, "number: write a whole number from 1 to 5"),
        ({"name": "x", "share": float("inf")}, "share: write a number"),
        ({"name": "x", "sure": 1}, "sure: write true or false"),
        ({"name": "x", "names": ["a", 1]}, "names: write a list of 1000 texts at most"),
        ({"name": "x", "names": ["a"] * 1001}, "names: write a list of 1000 texts at most"),
        ({"name": "x" * 100_001}, "name: write a text of 100000 characters at most"),
        ({"name": "\ud800"}, "name: write a text of 100000 characters at most"),
        ({"name": "x", "names": ["\udfff"]}, "names: write a list of 1000 texts at most"),
    ],
)
def test_wrong_parameters(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(words)):
        read_all(probe.parameters, given, Parameter.read)


def test_right_parameters() -> None:
    given = {"name": "x", "number": 5, "share": 1, "sure": True, "names": ["a"]}
    assert read_all(probe.parameters, given, Parameter.read) == given
    text = {"name": ["x"], "number": ["5"], "share": ["1"], "sure": ["true"], "names": ["a"]}
    assert read_all(probe.parameters, text, Parameter.read_text) == given


@pytest.mark.parametrize(
    ("name", "text"),
    [("number", "6"), ("number", "1_0"), ("number", "٣"), ("number", ""), ("share", "nan"), ("sure", "1")],
)
def test_wrong_texts(name: str, text: str) -> None:
    with pytest.raises(BadRequest, match=f"{name}: write"):
        probe.parameters[name].read_text([text])
