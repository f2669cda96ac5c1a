"""The task framework: that of Django 6.0, or in earlier releases that of the package ``django-tasks``."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

NAME = "django.tasks" if find_spec("django.tasks") is not None else "django_tasks"

if TYPE_CHECKING:  # both have the same names
    from django_tasks import task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
    from django_tasks.exceptions import InvalidTaskError, TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from django_tasks.utils import normalize_json
else:
    _here, _base, _exceptions, _signals = (
        import_module(f"{NAME}{module}") for module in ("", ".base", ".exceptions", ".signals")
    )
    task_backends = _here.task_backends
    BaseTaskBackend = import_module(f"{NAME}.backends.base").BaseTaskBackend
    Task, TaskContext, TaskError = _base.Task, _base.TaskContext, _base.TaskError
    TaskResult, TaskResultStatus = _base.TaskResult, _base.TaskResultStatus
    InvalidTaskError = _exceptions.InvalidTask if NAME == "django.tasks" else _exceptions.InvalidTaskError
    TaskResultDoesNotExist = _exceptions.TaskResultDoesNotExist
    task_enqueued, task_finished, task_started = _signals.task_enqueued, _signals.task_finished, _signals.task_started
    normalize_json = import_module(
        "django.utils.json" if NAME == "django.tasks" else "django_tasks.utils"
    ).normalize_json

__all__ = [
    "NAME",
    "BaseTaskBackend",
    "InvalidTaskError",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "normalize_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
