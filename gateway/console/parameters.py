"""Reads the parameters of an operation, from JSON or from the text of a URL, by the annotations of its function."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from gateway.control.server import BadRequest
from protocols.units import Between

LONGEST = 100_000
"""Characters of a text."""
MOST = 1000
"""Members of a list."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: a keyword-only argument of the function, such as ``limit: Annotated[int, "How many."] = 20``."""

    name: str
    type: Any
    """``str``, ``int``, ``float``, ``bool``, ``list[str]`` or a ``Literal`` of texts."""
    words: str
    """One sentence."""
    default: Any
    """``...`` if it must be given."""
    bounds: Between | None = None

    @property
    def required(self) -> bool:
        return self.default is ...

    def read(self, value: object) -> Any:
        """Return the value of JSON. None stands for the default. Raises BadRequest."""
        if value is None and not self.required:
            return self.default
        wanted, fits = _FORMS["literal" if get_origin(self.type) is Literal else self.type]
        if not fits(self, value):
            raise BadRequest(f"{self.name}: write {wanted(self)}")
        return float(value) if self.type is float and isinstance(value, int) else value

    def read_text(self, values: Sequence[str]) -> Any:
        """Return the value of the ``values`` that a URL has for it. Raises BadRequest."""
        if self.type == list[str]:
            return self.read(list(values))
        convert = _TEXTS.get(self.type, str)
        try:
            return self.read(convert(values[-1]))
        except ValueError:
            return self.read(values)  # which it refuses


def parameters_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the parameters of the function of an operation, by name. One whose type is a dataclass stands for the
    fields of that, as :func:`groups_of` says."""
    found = [each for each in _declared(function) if not is_dataclass(each.annotation)]
    inner = [each for group in groups_of(function).values() for each in _declared(group)]
    return {each.name: _parameter(each) for each in (*found, *inner)}


def groups_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return those parameters of a function that are several together: name -> dataclass."""
    return {each.name: each.annotation for each in _declared(function) if is_dataclass(each.annotation)}


def grouped(groups: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``arguments`` with those of each group made one."""
    rest = dict(arguments)
    made = {}
    for name, group in groups.items():
        own = {each.name: rest.pop(each.name) for each in fields(group) if each.name in rest}
        made[name] = group(**own)
    return rest | made


def _declared(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The keyword-only parameters of a function, or the fields of a dataclass."""
    found = inspect.signature(function, eval_str=True).parameters.values()
    return [each for each in found if isinstance(function, type) or each.kind is inspect.Parameter.KEYWORD_ONLY]


def read_all(
    parameters: Mapping[str, Parameter], given: Mapping[str, Any], read: Callable[[Parameter, Any], Any]
) -> dict[str, Any]:
    """Read what is ``given``, by name. Raises BadRequest if one is missing, or has no such name."""
    for name in given.keys() - parameters.keys():
        there = f"there are {', '.join(parameters)}" if parameters else "it has none"
        raise BadRequest(f"there is no parameter {name!r}; {there}")
    required(parameters, given)
    return {name: read(parameters[name], value) for name, value in given.items()}


def required(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> None:
    """Raises BadRequest if one is missing."""
    for parameter in parameters.values():
        if parameter.required and given.get(parameter.name) is None:
            raise BadRequest(f"{parameter.name} is missing: {parameter.words}")


def _parameter(declared: inspect.Parameter) -> Parameter:
    annotation, *notes = get_args(declared.annotation)
    assert get_origin(declared.annotation) is Annotated, declared
    bounds = next((each for each in notes if isinstance(each, Between)), None)
    words = next(each for each in notes if isinstance(each, str))
    default = ... if declared.default is inspect.Parameter.empty else declared.default
    return Parameter(declared.name, _without_none(annotation), words, default, bounds)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    (only,) = (each for each in get_args(annotation) if each is not NoneType)
    return only


def _is_text(parameter: Parameter, value: object) -> bool:
    return _is_unicode(value) and len(value) <= LONGEST


def _is_unicode(value: object) -> TypeGuard[str]:
    """Whether it is a text that can be encoded: JSON can have half a surrogate pair."""
    return isinstance(value, str) and _SURROGATE.search(value) is None


def _is_integer(parameter: Parameter, value: object) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    bounds = parameter.bounds or _ANY
    return value >= bounds.least and (bounds.greatest is None or value <= bounds.greatest)


def _integer_words(parameter: Parameter) -> str:
    if (bounds := parameter.bounds) is None:
        return "a whole number"
    return f"a whole number from {bounds.least}" + ("" if bounds.greatest is None else f" to {bounds.greatest}")


def _is_number(parameter: Parameter, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_list(parameter: Parameter, value: object) -> bool:
    return isinstance(value, list) and len(value) <= MOST and all(map(_is_unicode, value))


def _truth(text: str) -> bool:
    """Raises ValueError."""
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _whole(text: str) -> int:
    """Raises ValueError, also for forms that only Python knows."""
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > _DIGITS:
        raise ValueError(text)
    return int(text)


_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = 19
_LARGEST = 1e18
_ANY = Between(-(10**18), 10**18)
_TEXTS: Mapping[Any, Callable[[str], Any]] = {bool: _truth, int: _whole, float: float}
_FORMS: Mapping[Any, tuple[Callable[[Parameter], str], Callable[[Parameter, object], bool]]] = {
    str: (lambda _: f"a text of {LONGEST} characters at most", _is_text),
    int: (_integer_words, _is_integer),
    float: (lambda _: "a number", _is_number),
    bool: (lambda _: "true or false", lambda _, value: isinstance(value, bool)),
    list[str]: (lambda _: f"a list of {MOST} texts at most", _is_list),
    "literal": (lambda each: " or ".join(get_args(each.type)), lambda each, value: value in get_args(each.type)),
}
"""Type -> what to write, and whether a value has it."""
