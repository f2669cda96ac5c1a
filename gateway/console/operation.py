"""One row of the table: what an operator can ask of a gateway that runs, or have it do."""

import inspect
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gateway.console.here import Here
from gateway.console.parameters import Parameter, grouped, groups_of, parameters_of
from gateway.control.server import NotFound
from gateway.succession import Neighbours

Method = Literal["GET", "POST", "DELETE"]
Joined = Callable[[Sequence[Any], Mapping[str, Any]], Any]
"""Takes the answers of several workers, at least one, and the arguments."""
PATIENCE = 4.0
"""Seconds for other workers to answer."""
LONGEST_CHANGE = 3600.0
"""Seconds for them to change something, such as to end connections one a second."""
Answers = AsyncGenerator[Mapping[str, Any], None]
JoinedStream = Callable[[Answers, Mapping[str, Any], Neighbours], Answers]
"""Takes the answers of this worker, the arguments, and what finds the other workers."""


@dataclass(frozen=True)
class Operation:
    """An operation. Its function is ``run(here, *, …)``: a coroutine function whose result is the answer, or an
    asynchronous generator of answers, which is closed when the client leaves.

    Both raise BadRequest. An answer is a JSON object without the key ``error``.
    """

    name: str
    """``do`` on the control socket."""
    method: Method
    path: str
    """Over HTTP: ``/api/dead/{id}``. Names in braces are parameters. Empty if only the control socket has it."""
    run: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    groups: Mapping[str, Any]
    """Parameters of the function that are several of the operation's."""
    audited: bool
    """Whether each call is a line in the log."""
    result: Any
    """The type of the answer, or of each answer: a TypedDict."""
    joined: Joined | None = None
    """Makes one answer of those of several workers. None: that of any worker is right."""
    joined_stream: JoinedStream | None = None
    """Makes one stream of those of several workers."""

    @property
    def streams(self) -> bool:
        """Whether it has many answers."""
        return inspect.isasyncgenfunction(self.run)

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    @property
    def words(self) -> str:
        """What it does: the docstring of its function."""
        return (inspect.getdoc(self.run) or "").replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n\n")

    @property
    def in_path(self) -> list[str]:
        """The parameters that are in the path."""
        return re.findall(r"{(\w+)}", self.path)

    async def answer(self, here: Here, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the only answer; if there are workers, that of all together. Raises BadRequest."""
        if self.joined is None or (gather := here.gather) is None:
            return await self._own(here, arguments)
        own: Mapping[str, Any] | NotFound
        try:
            own = await self._own(here, arguments)  # also if another worker does not answer
        except NotFound as error:
            own = error
        others = await gather({"do": self.name, **_given(arguments)}, LONGEST_CHANGE if self.changes else PATIENCE)
        answers = [each["answer"] for each in others["found"]]
        found = [each for each in (own, *answers) if each and not isinstance(each, NotFound)]
        if isinstance(own, NotFound) and not found:
            raise own
        joined: Mapping[str, Any] = self.joined(found, arguments)
        return joined

    async def _own(self, here: Here, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self.run(here, **grouped(self.groups, arguments))
        return found

    def joined_answers(self, here: Here, arguments: Mapping[str, Any]) -> Answers:
        """As :meth:`answers`; if there are workers, those of all together."""
        own = self.answers(here, arguments)
        if self.joined_stream is None or (neighbours := here.neighbours) is None:
            return own
        return self.joined_stream(own, _given(arguments), neighbours)

    async def answers(self, here: Here, arguments: Mapping[str, Any]) -> Answers:
        """Yield each answer, or the only one. Raises BadRequest."""
        if not self.streams:
            yield await self._own(here, arguments)
            return
        async with aclosing(self.run(here, **grouped(self.groups, arguments))) as answers:
            async for answer in answers:
                yield answer


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def operation(
    name: str,
    method: Method,
    path: str = "",
    *,
    audited: bool = True,
    joined: Joined | None = None,
    joined_stream: JoinedStream | None = None,
) -> Callable[[Callable[..., Any]], Operation]:
    """Make an operation of a function. Its keyword-only parameters are those of the operation, its docstring says what
    it does, and the annotation of its result says what it answers. ``joined`` makes one answer of those of several
    workers, and ``joined_stream`` one stream."""

    def of(run: Callable[..., Any]) -> Operation:
        result = inspect.signature(run, eval_str=True).return_annotation
        if inspect.isasyncgenfunction(run):
            result = get_args(result)[0]
        return Operation(
            name,
            method,
            path,
            run,
            parameters_of(run),
            groups_of(run),
            audited and method != "GET",
            result,
            joined,
            joined_stream,
        )

    return of
