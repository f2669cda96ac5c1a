"""The form that all commands have."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from gateway.cli.terminal import fail
from gateway.exit_codes import CommandError
from gateway.garbage_collection import settle

F = TypeVar("F", bound=Callable[..., Any])


def _without_types_of_flags(parameters: Sequence[Any]) -> Any:
    """Let the help say ``--json`` and not ``--json <bool>``: a flag takes no value."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command whose help names no type for a flag. It ends with one sentence and an exit code if the running gateway
    does not answer, or refuses: 2 for a mistake in what it was asked, as for any mistake of the command line."""

    def invoke(self, ctx: Any) -> Any:
        settle()  # what is imported now stays: to look at it takes a tenth of a short command
        try:
            return super().invoke(ctx)
        except CommandError as error:
            fail(str(error), error.exit_code)

    def get_params(self, ctx: Any) -> Any:
        return _without_types_of_flags(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a group of commands."""

    def get_params(self, ctx: Any) -> Any:
        return _without_types_of_flags(super().get_params(ctx))


class Typer(typer.Typer):
    """Commands of these forms."""

    def __init__(self, *, cls: type[Group] = Group, **options: Any) -> None:
        super().__init__(cls=cls, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, **{"cls": Command, **options})
