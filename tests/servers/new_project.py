"""`gateway init`, without the start of an interpreter."""

import typer
from typer.testing import CliRunner, Result

from gateway.cli.init import init


def make(*arguments: str) -> Result:
    """Run `gateway init` in the current folder."""
    alone = typer.Typer()
    alone.command()(init)
    return CliRunner().invoke(alone, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
