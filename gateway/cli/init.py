"""`gateway init`: a new project that runs, or the gateway's files for a project that exists."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.terminal import command_of, fail, print_text
from gateway.config.diagnostics import suggestion
from gateway.config_file import DEFAULT_FILE
from gateway.init import django_project, template, writing
from gateway.init.ports import with_free_ports
from gateway.init.template import NoProject


def init(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Default: this folder.")] = None,
    name: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="What it is for: all (default), django, mail, mqtt, sms or web.",
            autocompletion=template.names,
        ),
    ] = "",
    manage: Annotated[
        Path | None, typer.Option("--django", metavar="MANAGE.PY", help="Add to the Django project of this manage.py.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> None:
    """Make a project: gateway.yaml, a handler, a test that passes, .gitignore and a README. Nothing is overwritten.

    Ports that are in use here are replaced by free ones. In a folder with a manage.py, --django is the default.

    Examples: gateway init house · gateway init --template mqtt --yes · gateway init --django manage.py
    """
    if manage is not None and (folder is not None or name not in ("", template.DJANGO)):
        raise typer.BadParameter("the project has its folder and its template; write --django MANAGE.PY alone")
    place = manage.parent if manage is not None else folder or Path()
    if not name and (place / "manage.py").is_file():
        manage = place / "manage.py"
    chosen = name or (template.DJANGO if manage is not None else _ask(yes))
    if chosen not in template.names():
        hint = suggestion(chosen, template.names(), otherwise="there are")
        raise typer.BadParameter(f"there is no template {chosen!r}{hint}")
    try:
        _make(place, chosen, manage)
    except NoProject as error:
        fail(str(error), 1)
    except OSError as error:
        fail(f"{error.filename or place}: {error.strerror}; nothing was written", 1)


def _make(folder: Path, chosen: str, manage: Path | None) -> None:
    """Raises NoProject or OSError."""
    files, ports = with_free_ports(template.read(chosen))
    if manage is not None:
        files = django_project.with_settings(files, django_project.settings_of(manage))
    plan = writing.plan(folder, files)
    if chosen == template.DJANGO and manage is None:
        django_project.start_project(folder)
    writing.write(plan)
    _report(chosen, plan, ports)


def _ask(yes: bool) -> str:
    """Ask what the project is for, if somebody is there to answer."""
    if yes or not sys.stdin.isatty():
        return template.EVERYTHING
    question = f"What is it for? {', '.join(template.names())}"
    answer: str = typer.prompt(question, default=template.EVERYTHING, err=True)
    return answer


def _report(chosen: str, plan: writing.Plan, ports: Mapping[int, int]) -> None:
    made = [str(plan.folder / name) for name in plan.files]
    print_text(f"template {chosen}: {len(made)} files")
    for path in made:
        print_text(f"  {path}")
    for name in plan.kept:
        print_text(f"  {plan.folder / name} is yours and stays as it is")
    for old, new in ports.items():
        print_text(f"  port {old} is in use here; gateway.yaml has {new}")
    print_text(f"next:  {command_of(str(plan.folder / DEFAULT_FILE))} run --try")
