"""One page: where it is, what it is called, and what it shows."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.console.here import Here
from gateway.console.operation import Operation
from gateway.console.parameters import required
from gateway.control.server import BadRequest

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What the address of a page asks for."""

    query: Mapping[str, list[str]] = field(default_factory=dict)
    in_path: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, operation: Operation) -> dict[str, Any]:
        """Return the parameters of ``operation`` that the address has. An empty field of a form stands for the default.
        Raises BadRequest."""
        given = {name: values for name, values in self.query.items() if any(values)}
        required(operation.parameters, {**given, **self.in_path})
        known = {name: each for name, each in operation.parameters.items() if name in given}
        return {name: each.read_text(given[name]) for name, each in known.items()}

    def has_only(self, operation: Operation) -> None:
        """Raises BadRequest for a name that is no parameter: without its filter, a list would have more than was
        asked for, and a change of all that match would concern more."""
        for name in self.query.keys() - operation.parameters.keys():
            raise BadRequest(f"there is no filter {name!r}")


@dataclass(frozen=True)
class Page:
    """A page. It needs a login where the console has users."""

    path: str
    """Names in braces are parts that vary: ``/live/{number}``."""
    title: str
    template: str
    """The name of a file in ``templates``."""
    content: Callable[[Here, Asked], Awaitable[Content]]
    """What the template shows, by name. Raises BadRequest."""
    in_menu: bool = True

    def asked(self, path: str, query: Mapping[str, list[str]]) -> Asked | None:
        """Return what is asked for; None if the path is another page's."""
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path)
        match = re.fullmatch(pattern, path)
        return Asked(query, match.groupdict()) if match is not None else None


@dataclass(frozen=True)
class Download:
    """A file that is made when it is asked for."""

    path: str
    content: Callable[[Here, Asked], Awaitable[tuple[str, AsyncGenerator[bytes, None]]]]
    """Its name and its bytes, piece by piece. Raises BadRequest."""
