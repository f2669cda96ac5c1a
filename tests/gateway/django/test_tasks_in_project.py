"""Django's tasks where the store is the project's own database: a task is a part of the caller's transaction, and on a
route with ``atomic: true`` what it does is committed with its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.daemon import Daemon
from servers.postgresql import database
from servers.project_store import postgresql
from servers.site import until
from servers.task_project import CONFIG, TaskProject

ROUTES = """
    - {queue: mails, app: django, attempts: 2, backoff: 20ms}
    - {queue: default, app: django, attempts: 2, backoff: 20ms, atomic: true}
"""
SETTINGS = """
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
"""
IN_PROJECT = CONFIG.replace("sqlite:var/gateway.db", "django")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskProject]:
    folder = tmp_path_factory.mktemp("project")
    if request.param == "sqlite":
        yield TaskProject(folder, ROUTES, IN_PROJECT, SETTINGS)
        return
    with database() as place:
        yield TaskProject(folder, ROUTES, IN_PROJECT, f"\nDATABASES = {postgresql(place)!r}\n")


@pytest.fixture(scope="module")
def daemon(project: TaskProject) -> Iterator[Daemon]:
    with project.running() as daemon:
        yield daemon


def test_a_task_is_a_part_of_the_transaction_that_enqueues_it(project: TaskProject, daemon: Daemon) -> None:
    """Also for the backend that would enqueue at once: the database has one writer."""
    said = project.says(
        """
from django.db import transaction, connection
said = []
def stored(result):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM gateway_messages WHERE id = %s", [result.id])
        return cursor.fetchone()[0]
for alias in ("default", "at_once"):
    try:
        with transaction.atomic():
            result = note.using(backend=alias).enqueue(f"{alias} rolled back")
            said.append(stored(result))
            raise LookupError
    except LookupError:
        said.append(stored(result))
    with transaction.atomic():
        note.using(backend=alias).enqueue(f"{alias} committed")
        try:
            with transaction.atomic():
                note.using(backend=alias).enqueue(f"{alias} savepoint")
                raise LookupError
        except LookupError:
            pass
"""
    )
    assert said == [1, 0, 1, 0]
    until(lambda: len(project.lines("notes")) >= 2, lambda: daemon.text)
    assert sorted(project.lines("notes")) == ["at_once committed", "default committed"]


def test_a_view_of_the_gateway_does_so_too(project: TaskProject, daemon: Daemon) -> None:
    gone, kept = project.get("rolled_back").text, project.get("committed").text
    until(lambda: "view committed" in project.lines("notes"), lambda: daemon.text)
    assert project.says(f"said = note.get_result({kept!r}).attempts") == 1
    assert "TaskResultDoesNotExist" in project.run(
        "-c", f"import django; django.setup(); import task_code; task_code.note.get_result({gone!r})", check=False
    )


@pytest.mark.parametrize("task", ["row", "row_later"])
def test_what_an_atomic_task_does_is_committed_with_its_end(project: TaskProject, daemon: Daemon, task: str) -> None:
    """Its rows and the tasks that it enqueues: those of an attempt that fails are gone."""
    said = project.says(
        f"""
failed = {task}.enqueue("{task} failed", fails=True, then="{task} never")
done = {task}.enqueue("{task} done", then="{task} then")
said = [[each.status.value, each.attempts, len(each.errors)] for each in (ended(failed), ended(done))]
said.append(done.return_value)
"""
    )
    assert said == [["FAILED", 2, 2], ["SUCCESSFUL", 1, 0], f"{task} done"]
    until(lambda: f"{task} then" in project.says("said = rows()"), lambda: daemon.text)
    rows = project.says("said = rows()")
    assert [row for row in rows if row.startswith(f"{task} ")] == [f"{task} done", f"{task} then"]


def test_a_task_of_which_the_commit_fails_has_failed_with_that(project: TaskProject, daemon: Daemon) -> None:
    said = project.says(
        """
result = ended(refers_to_nothing.enqueue())
said = [result.status.value, result.attempts, [each.exception_class_path for each in result.errors]]
"""
    )
    assert said == ["FAILED", 2, ["django.db.utils.IntegrityError"] * 2]
    until(lambda: "task_finished FAILED" in "".join(project.lines("signals")), lambda: daemon.text)


def test_a_thousand_tasks_of_one_transaction_run_once_each(project: TaskProject, daemon: Daemon) -> None:
    project.says(
        """
from django.db import transaction
with transaction.atomic():
    for number in range(1000):
        note.using(queue_name="mails").enqueue(f"many {number}")
said = None
"""
    )
    names = {f"many {number}" for number in range(1000)}
    until(lambda: names <= {*project.lines("notes")}, lambda: daemon.text[-2000:], 60)
    assert sum(line.startswith("many ") for line in project.lines("notes")) == 1000


def test_atomic_needs_the_projects_database(tmp_path: Path) -> None:
    """Or else a handler would take its rows for committed with its end."""
    project = TaskProject(tmp_path, "{app: django, atomic: true}")
    said = project.gateway("check")
    assert "routes.task.atomic: rows that the handler writes by Django's ORM are not in the transaction" in said
    assert "write store: django" in said
