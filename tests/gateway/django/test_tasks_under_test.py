"""`manage.py test` of a project with tasks."""

from pathlib import Path

import pytest
from servers.task_project import CONFIG, TaskProject

TESTS = """
from django.conf import settings
from django.db import connection, transaction
from django.test import TestCase, override_settings
from django.utils.module_loading import import_string

import task_code

FRAMEWORK = f"{settings.FRAMEWORK}.backends"
IMMEDIATE = {"default": {"BACKEND": f"{FRAMEWORK}.immediate.ImmediateBackend", "QUEUES": []}}
DUMMY = {"default": {"BACKEND": f"{FRAMEWORK}.dummy.DummyBackend", "QUEUES": []}}
IN_PROJECT = "store: django" in open(settings.GATEWAY_CONFIG).read()


@override_settings(TASKS=IMMEDIATE)
class AtOnce(TestCase):
    def test_a_task_runs_when_it_is_enqueued(self):
        result = task_code.row.enqueue("at once")
        self.assertEqual((result.status.value, result.return_value), ("SUCCESSFUL", "at once"))
        self.assertEqual(task_code.rows(), ["at once"])

    def test_and_what_it_wrote_is_gone_in_the_next_test(self):
        self.assertEqual(task_code.rows(), [])


@override_settings(TASKS=DUMMY)
class Noted(TestCase):
    def test_a_task_is_noted(self):
        task_code.row.enqueue("noted")
        backend = import_string(f"{settings.FRAMEWORK}.default_task_backend")
        self.assertEqual([result.args for result in backend.results], [["noted"]])
        self.assertEqual(task_code.rows(), [])


class Stored(TestCase):
    def count(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM gateway_messages")
            return cursor.fetchone()[0]

    def test_in_the_tests_transaction_it_is_kept_with_that(self):
        with self.captureOnCommitCallbacks() as callbacks:
            result = task_code.row.enqueue("stored")
        self.assertEqual(result.status.value, "READY")
        self.assertEqual(len(callbacks), 1)
        if IN_PROJECT:
            self.assertEqual(self.count(), 1)

    def test_and_is_gone_in_the_next_test(self):
        if IN_PROJECT:
            self.assertEqual(self.count(), 0)
"""


@pytest.mark.parametrize("store", ["sqlite:var/gateway.db", "django"])
def test_tests_of_a_project_run_tasks_at_once_note_them_or_store_them(tmp_path: Path, store: str) -> None:
    project = TaskProject(tmp_path, "{app: django}", CONFIG.replace("sqlite:var/gateway.db", store))
    with project.running():
        pass  # the store is there now
    (tmp_path / "test_project_tasks.py").write_text(TESTS)
    said = project.run("-m", "django", "test", "test_project_tasks", "--noinput", check=False)
    assert "Ran 5 tests" in said, said
    assert "OK" in said.splitlines(), said
    assert project.gateway("waiting", "--json").strip() == "[]"
