"""``gateway password``: makes the hash of a password, for gateway.yaml and password files."""

import sys
from typing import Annotated

import typer

from protocols.access.users import hash_password

_MAX_READ = 70_000
"""Bytes that are read from standard input: more than MQTT allows, so that a longer password is refused and not cut."""


def password(
    bcrypt: Annotated[bool, typer.Option("--bcrypt", help="A bcrypt hash instead of argon2id.")] = False,
) -> None:
    """Print the hash of a password, for the users of an mqtt server or of the console. Asks twice, or reads standard
    input.

    Paste it into gateway.yaml, in quotes:

    \b
      servers:
        devices:
          protocol: mqtt
          bind: 0.0.0.0:1883
          users:
            ann: "$argon2id$v=19$m=19456,t=2,p=1$..."

    or into a file of lines ann:$argon2id$..., which is read again when it changes:

    \b
          password_file: mqtt.users

    Examples: gateway password · printf %s "$PASSWORD" | gateway password
    """
    try:
        typer.echo(hash_password(_asked() if sys.stdin.isatty() else _read(), bcrypt=bcrypt))
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _asked() -> bytes:
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    return answer.encode(errors="surrogateescape")


def _read() -> bytes:
    """Read one line, as ``echo`` writes it; a password itself has no line end."""
    text = sys.stdin.buffer.read(_MAX_READ)
    line = text.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in line:
        raise ValueError("the password must be one line")
    return line
