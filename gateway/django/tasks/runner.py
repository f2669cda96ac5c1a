"""The application that runs Django's tasks: what ``app: django`` is on a route for tasks."""

import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.django.unanswered import NotAnswered
from gateway.django.views import OwnThread
from gateway.task_queue import QueuedTask, TaskRecord, current_attempt
from gateway.threads import run_in_thread
from protocols.asgi import Application, Receive, Send, TaskScope

if TYPE_CHECKING:
    from gateway.django.tasks.framework import Task, TaskResult

BACKEND = "gateway.django.TaskBackend"


def application() -> Application:
    """Return the application. Raises NotAnswered if the project enqueues nothing for the gateway."""
    try:
        from gateway.django.tasks.framework import task_backends
    except ModuleNotFoundError as error:
        if error.name != "django_tasks":
            raise
        raise NotAnswered("this Django has no tasks, which came with 6.0; pip install 'asgi-gateway[tasks]'") from error
    from gateway.django.tasks.backend import TaskBackend

    if not any(isinstance(task_backends[alias], TaskBackend) for alias in task_backends.settings):
        raise NotAnswered(
            f"TASKS of the settings does not name {BACKEND}, so that no task comes here; write "
            f'TASKS = {{"default": {{"BACKEND": "{BACKEND}"}}}}'
        )
    return OwnThread(TaskRunner())


class TaskRunner:
    """Calls the function of a task: a sync one on a thread of the gateway's pool, an async one on the event loop."""

    target_name = "django"

    async def __call__(self, scope: TaskScope, receive: Receive, send: Send) -> None:
        from gateway.django.tasks.results import NoSuchTask, task_of

        if scope["type"] != "task":  # a lifespan
            raise ValueError(f"Django's tasks do not answer {scope['type']}")
        call = await receive()
        try:
            task = await run_in_thread(task_of, scope)
            run = _Run(task, scope, call)
        except NoSuchTask as error:
            await send({"type": "task.reject", "reason": str(error)})
            return
        await send({"type": "task.accept", "return_value": await run()})


class _Run:
    """One attempt at a task."""

    def __init__(self, task: "Task[..., Any]", scope: TaskScope, call: Any) -> None:
        """Raises NoSuchTask if the function does not take these arguments."""
        from gateway.django.tasks.framework import TaskContext
        from gateway.django.tasks.results import NoSuchTask

        self._task, self._scope, self._call = task, scope, call
        attempt = current_attempt.get()
        began = TaskRecord("RUNNING", started_at=time.time(), last_attempted_at=time.time(), worker_ids=("unknown",))
        self._result = self._result_with(began if attempt is None else attempt.record)
        if attempt is not None:
            attempt.on_end(self._ended)
        context = (TaskContext(task_result=self._result),) if task.takes_context else ()
        args, kwargs = (*context, *self._result.args), self._result.kwargs
        self._function: Callable[[], Any] = partial(task.func, *args, **kwargs)
        try:
            inspect.signature(task.func).bind(*args, **kwargs)
        except TypeError as error:
            raise NoSuchTask(
                f"{scope['task']} does not take the arguments that it was enqueued with: {error}"
            ) from error

    async def __call__(self) -> Any:
        """Return the return value as JSON has it. Raises what the function raises."""
        from gateway.django.tasks.framework import normalize_json

        if not inspect.iscoroutinefunction(self._task.func):
            return await run_in_thread(self._run_sync)
        await run_in_thread(self._tell_started)
        return normalize_json(await self._function())

    def _run_sync(self) -> Any:
        from gateway.django.tasks.framework import normalize_json

        self._tell_started()
        return normalize_json(self._function())

    def _tell_started(self) -> None:
        from gateway.django.tasks.framework import task_started

        task_started.send_robust(type(self._task.get_backend()), task_result=self._result)

    async def _ended(self, record: TaskRecord, error: BaseException | None) -> None:
        await run_in_thread(self._tell_finished, self._result_with(record), error)

    def _tell_finished(self, result: "TaskResult[Any]", error: BaseException | None) -> None:
        """Receivers find the exception where they would find it under the framework's own workers."""
        from gateway.django.tasks.framework import task_finished

        try:
            if error is not None:
                raise error
        except BaseException:
            task_finished.send_robust(type(self._task.get_backend()), task_result=result)
        else:
            task_finished.send_robust(type(self._task.get_backend()), task_result=result)

    def _result_with(self, record: TaskRecord) -> "TaskResult[Any]":
        from gateway.django.tasks.results import result_of

        id_: str = self._scope["extensions"]["event"]["id"]
        return result_of(QueuedTask(id_, self._scope, self._call, record), self._task)
