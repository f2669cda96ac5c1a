"""Django's tasks in the gateway, in a project of its own; the framework's own backend is the control."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import ROOT, until
from servers.task_project import CONFIG, TaskProject

OK = ["SUCCESSFUL", 3, 1, True, 0]
BOTH = {
    "it_returns_a_value": OK,
    "an_async_task_returns_a_value": OK,
    "an_async_task_uses_the_orm": ["SUCCESSFUL", 0, 1, True, 0],
    "arguments_come_as_json": [
        ["SUCCESSFUL", [[1, "ü", [2, "b"], None, True, 1.5], {"a": {"b": [[]]}}], 1, True, 0],
        [1, "ü", [2, "b"], None, True, 1.5],
        {"a": {"b": [[]]}},
    ],
    "arguments_that_are_not_json_are_refused": ["TypeError", "TypeError", "ValueError", "TypeError", "TypeError"],
    "return_values_come_as_json": ["bü", [1, [2]]],
    "a_return_value_that_is_not_json_fails_the_task": [["FAILED", True], ["FAILED", True]],
    "a_task_that_raises_has_failed": ["FAILED", 1, 1, "builtins.ValueError", True, True, "ValueError: Task failed"],
    "an_exception_of_any_class_is_named": ["task_code.Odd", "builtins.LookupError", "builtins.SystemExit"],
    "the_cause_of_an_exception_is_in_its_traceback": [True, True],
    "an_async_task_that_raises_has_failed": ["FAILED", "builtins.ZeroDivisionError"],
    "a_task_may_take_its_context": [1, "RUNNING", True, 1, 1, ["x"]],
    "its_times_follow_each_other": [True, True, True],
    "its_worker_has_a_name": [1, True],
    "its_id_is_text": [True, True, True],
    "what_it_is_enqueued_with_is_in_its_result": [True, "mails", 7, True, None],
    "it_can_be_awaited": OK,
    "a_queue_that_is_not_in_the_settings_is_refused": "InvalidTask: Queue 'other' is not valid for backend.",
    "a_priority_has_bounds": ["InvalidTask: priority must be a whole number between -100 and 100."] * 3,
    "a_function_in_a_function_is_no_task": ["InvalidTask: Task function must be defined at a module level."] * 2,
    "a_context_needs_its_name": ("InvalidTask: Task takes context but does not have a first argument of 'context'."),
    "its_signals_are_sent_in_order": [
        [["task_enqueued", "READY"], ["task_started", "RUNNING"], ["task_finished", "SUCCESSFUL"]],
        [["task_enqueued", "READY"], ["task_started", "RUNNING"], ["task_finished", "FAILED"]],
    ],
    "it_says_what_it_can_do": [True, True],
    "it_can_be_called_at_once": [3, 3, 3],
}
OURS = {
    "it_says_what_more_it_can_do": [True, True],
    "a_result_can_be_found": [[True, True, 3], [True, True, 3]],
    "a_result_can_be_awaited": 3,
    "a_result_that_is_not_there_is_not_found": [
        f"TaskResultDoesNotExist: {given}" for given in ("123", "", "ü\0" * 50, 7)
    ],
    "a_result_of_another_task_is_no_result_of_this": "TaskResultMismatch: Task does not match ",
    "a_result_is_refreshed": [
        ["READY", 0, None, None],
        ["READY", "ValueError: Task has not finished yet"],
        "SUCCESSFUL",
    ],
    "it_waits_for_its_time": [True, True, "SUCCESSFUL"],
    "a_time_that_is_past_is_now": ["SUCCESSFUL", 1, 1, True, 0],
    "a_time_needs_its_zone": "InvalidTask: run_after must be an aware datetime.",
    "what_has_failed_twice_may_succeed": [
        ["SUCCESSFUL", 3, 3],
        3,
        ["RuntimeError: attempt 1, after 0", "RuntimeError: attempt 2, after 1"],
    ],
    "a_task_that_takes_too_long_has_failed": ["FAILED", "builtins.TimeoutError"],
    "a_time_at_the_end_of_all_times_can_be_looked_up": ["READY", "SUCCESSFUL"],
    "however_it_ends_it_has_failed": [
        ["FAILED", 3, "task_code.Unusual"],
        ["FAILED", 3, "builtins.RuntimeError"],
        ["FAILED", 3, "builtins.RuntimeError"],
        ["FAILED", 3, "builtins.SystemExit"],
        ["FAILED", 3, "task_code.Unusual"],
        ["FAILED", 3, "builtins.GeneratorExit"],
        ["FAILED", 3, "builtins.KeyboardInterrupt"],
        ["FAILED", 3, "builtins.SystemExit"],
        ["FAILED", 3, "asyncio.exceptions.CancelledError"],
    ],
    "a_task_enqueues_another": 42,
    "arguments_have_a_most": (
        "ValueError: the arguments of task_code.same have 2097162 characters as JSON, and 1048576 is the most; "
        "keep the data in the database, and pass its key"
    ),
    "a_return_value_has_a_most": [
        1_000_000,
        "FAILED",
        "protocols.errors.LocalProtocolError: task.accept: return_value has 2097154 characters as JSON, and 1048576 is "
        "the most; keep it elsewhere, and return where it is",
    ],
    "a_number_that_is_too_large_is_refused": "ValueError",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> TaskProject:
    return TaskProject(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def daemon(project: TaskProject) -> Iterator[Daemon]:
    with project.running() as daemon:
        yield daemon


def behaviours(project: TaskProject, alias: str) -> dict[str, Any]:
    return json.loads(project.run(str(ROOT / "tests/servers/task_behaviours.py"), alias).splitlines()[-1])


@pytest.fixture(scope="module")
def ours(project: TaskProject, daemon: Daemon) -> dict[str, Any]:
    return behaviours(project, "default")


@pytest.fixture(scope="module")
def control(project: TaskProject, daemon: Daemon) -> dict[str, Any]:
    return behaviours(project, "immediate")


@pytest.mark.parametrize("name", [*BOTH, *OURS])
def test_a_task_behaves_as_the_framework_says(ours: dict[str, Any], name: str) -> None:
    assert ours[name] == (BOTH | OURS)[name]


@pytest.mark.parametrize("name", BOTH)
def test_the_frameworks_own_backend_behaves_so(control: dict[str, Any], name: str) -> None:
    assert control[name] == BOTH[name]


def test_every_behaviour_is_looked_at(ours: dict[str, Any], control: dict[str, Any]) -> None:
    assert {*ours} == {*BOTH, *OURS, "a_queue_without_a_route_is_refused"}
    assert {*control} == {*BOTH}


def test_a_queue_without_a_route_is_refused(project: TaskProject, ours: dict[str, Any]) -> None:
    assert ours["a_queue_without_a_route_is_refused"] == (
        f"InvalidTask: no route of {project.file} takes tasks of the queue 'nobody'; write routes: "
        "{task: [{queue: nobody, app: django}]} there"
    )


@pytest.mark.parametrize("view", ["enqueue", "aenqueue"])
def test_a_view_of_the_gateway_enqueues(project: TaskProject, daemon: Daemon, view: str) -> None:
    ident = project.get(view).text
    until(lambda: project.get(f"result/{ident}").text.startswith("SUCCESSFUL"), lambda: daemon.text)


def test_on_the_event_loop_it_has_to_be_awaited(project: TaskProject, daemon: Daemon) -> None:
    said = project.get("on_the_loop").text
    assert said == "RuntimeError: enqueue() would stop this event loop while it waits; write await …aenqueue(…)"


def test_what_is_enqueued_in_a_transaction_shares_its_fate(project: TaskProject, daemon: Daemon) -> None:
    gone = project.get("rolled_back").text
    project.get("committed")
    until(lambda: "view committed" in project.lines("notes"), lambda: daemon.text)
    assert gone not in project.gateway("waiting", "--json")
    said = project.says(
        """
from django.db import transaction
said = []
for alias in ("default", "at_once"):
    try:
        with transaction.atomic():
            result = note.using(backend=alias).enqueue(f"outside {alias} rolled back")
            raise LookupError
    except LookupError:
        pass
    with transaction.atomic():
        committed = note.using(backend=alias).enqueue(f"outside {alias} committed")
    said.append(ended(committed).status.value)
"""
    )
    assert said == ["SUCCESSFUL", "SUCCESSFUL"]
    until(lambda: "outside at_once rolled back" in project.lines("notes"), lambda: daemon.text)
    assert sorted(line for line in project.lines("notes") if "outside" in line or "view" in line) == [
        "outside at_once committed",
        "outside at_once rolled back",
        "outside default committed",
        "view committed",
    ]


def test_a_result_is_kept_for_its_time(project: TaskProject, daemon: Daemon) -> None:
    said = project.says(
        """
import time
result = add.using(backend="short").enqueue(1)
said, ends = [], time.monotonic() + 20
while time.monotonic() < ends:
    try:
        result.refresh()
        said.append(result.status.value)
    except Exception as error:
        said.append(type(error).__name__)
        break
    time.sleep(0.01)
"""
    )
    assert said[-1] == "TaskResultDoesNotExist"
    assert {*said[:-1]} <= {"READY", "RUNNING", "SUCCESSFUL"}


DEAD = {
    "a.b.c": "there is no task a.b.c: there is no module a",
    "task_code.nothing": "there is no task task_code.nothing: the module task_code has no nothing",
    "task_code.not_a_task": "task_code.not_a_task is not a task; write @task before it",
}


@pytest.mark.parametrize("path", DEAD)
def test_a_task_that_the_code_has_no_more_is_a_dead_letter(project: TaskProject, daemon: Daemon, path: str) -> None:
    said = project.says(
        f"""
from gateway.django import TaskBackend
scope = TaskBackend._scope
TaskBackend._scope = lambda self, result: scope(self, result) | {{"task": {path!r}}}
result = add.enqueue(1)
try:
    add.get_result(result.id)
except Exception as error:
    said = [result.id, type(error).__name__, str(error)]
"""
    )
    assert said[1:] == ["TaskResultDoesNotExist", DEAD[path]]
    dead = until(lambda: letters(project).get(said[0]), lambda: daemon.text)
    assert dead["error"] == DEAD[path]
    assert dead["attempts"] == 1
    assert f"{path} -> default -> django: Undeliverable {DEAD[path]} (attempt 1 of 3, now among" in daemon.text


def letters(project: TaskProject) -> dict[str, Any]:
    return {each["id"]: each for each in json.loads(project.gateway("dead", "list", "--json"))}


def test_a_task_with_other_parameters_than_it_was_enqueued_with_is_a_dead_letter(
    project: TaskProject, daemon: Daemon
) -> None:
    """And an operator who has put the code right lets it be tried again."""
    ident, status, errors = project.says(
        """
result = ended(one_argument.enqueue(1, 2))
said = [result.id, result.status.value, [[each.exception_class_path, each.traceback] for each in result.errors]]
"""
    )
    sentence = (
        "task_code.one_argument does not take the arguments that it was enqueued with: too many positional arguments"
    )
    assert (status, errors) == (
        "FAILED",
        [["gateway.delivery.cut_off.Undeliverable", sentence]],
    )
    assert letters(project)[ident]["error"] == sentence
    code = project.folder / "task_code.py"
    code.write_text(code.read_text().replace("def one_argument(a):", "def one_argument(a, b=0):"))
    project.gateway("dead", "retry", ident)
    until(lambda: letters(project).get(ident, {}).get("attempts") == 1, lambda: daemon.text)  # the old code, again
    assert project.says(f"r = one_argument.get_result({ident!r}); said = [r.status.value, len(r.errors)]") == [
        "FAILED",
        1,
    ]
    assert "dropped" in project.gateway("dead", "drop", "--yes", ident)
    assert project.says(f"said = one_argument.get_result({ident!r}).status.value") == "FAILED"


def test_an_operator_sees_tasks(project: TaskProject, daemon: Daemon) -> None:
    ident = project.says(
        """
from datetime import timedelta
from django.utils import timezone
said = same.using(run_after=timezone.now() + timedelta(hours=1), priority=-3).enqueue("ü", a=[1]).id
"""
    )
    (waiting,) = [each for each in json.loads(project.gateway("waiting", "--json")) if each["id"] == ident]
    assert (waiting["type"], waiting["route"]) == ("task", "queue default -> django")
    assert waiting["subject"] == "task task_code.same -> default"
    assert "received" in project.gateway("show", ident)
    assert "queue default" in project.gateway("explain", "task:default")
    assert "task_code.fail" in project.gateway("explain", "task:task_code.fail")
    assert "no route" in project.gateway("explain", "task:other")


def test_an_operator_sees_tasks_as_messages_of_other_kinds(tmp_path: Path) -> None:
    """`gateway tail`, `gateway status`, `gateway show`, the console's pages and the metrics."""
    port = free_port()
    more = f'log: {{arrivals: true}}\nconsole: {{bind: "127.0.0.1:{port}"}}\n'
    project = TaskProject(tmp_path, "[{default: true, app: django, attempts: 1}]", CONFIG + more)

    def page(path: str) -> str:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=20)
        assert answer.status_code == 200
        return answer.text

    with project.running() as daemon:
        done, dead, later = project.says(
            """
from datetime import timedelta
from django.utils import timezone
results = [ended(add.enqueue(1)), ended(fail.enqueue())]
said = [each.id for each in (*results, note.using(run_after=timezone.now() + timedelta(hours=1)).enqueue("x"))]
"""
        )
        told = {
            each["id"]: [each["who"], each["what"], each["target"], each["verdict"], each["error"], each["attempt"]]
            for each in map(json.loads, project.gateway("tail", "--json").splitlines())
            if each["type"] == "task"
        }
        assert told == {
            done: ["task_code.add", "default", "django", "done", "", 1],
            dead: ["task_code.fail", "default", "django", "dead", "ValueError it failed", 1],
        }
        assert "1 waiting, 0 running, 1 dead" in project.gateway("status")
        assert "waiting, 0 attempts so far, next try not before" in project.gateway("show", later)
        assert "among the dead letters after 1 attempt: ValueError: it failed" in project.gateway("show", dead)
        assert "task_code.add" in page("/live")
        assert "task_code.fail" in page("/live")
        assert f'"/waiting/show?id={later}"' in page("/waiting")
        assert "task_code.note" in page(f"/waiting/show?id={later}")
        assert f'"/dead/show?id={dead}"' in page("/dead")
        assert "ValueError: it failed" in page(f"/dead/show?id={dead}")
        for verdict in ("done", "dead"):
            counted = f'gateway_deliveries_total{{route="default -> django",type="task",verdict="{verdict}"}} 1.0'
            assert counted in page("/metrics"), daemon.text


def test_priorities_say_which_goes_first(tmp_path: Path) -> None:
    project = TaskProject(tmp_path, "{app: django}", settings="")
    project.file.write_text(project.file.read_text() + "threads: 1\n")
    with project.running():
        pass  # the store is there now
    project.says(
        """
import time
from datetime import timedelta
from django.utils import timezone
at = timezone.now() + timedelta(seconds=1)
for number, priority in enumerate((0, 5, -5, 100, -100, 0, 5)):
    note.using(priority=priority).enqueue(f"{priority} {number}")
for priority in (-50, 0, 50):
    note.using(priority=priority, run_after=at).enqueue(f"{priority} later")
while timezone.now() < at:
    time.sleep(0.05)
said = None
"""
    )
    with project.running() as daemon:
        until(lambda: len(project.lines("notes")) == 10, lambda: daemon.text)
    first = ["100 3", "50 later", "5 1", "5 6", "0 0", "0 5", "0 later", "-5 2", "-50 later", "-100 4"]
    assert project.lines("notes") == first


def test_a_project_without_our_backend_is_told_so(tmp_path: Path) -> None:
    dummy = """
TASKS.clear()
TASKS["default"] = {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend", "QUEUES": []}
"""
    project = TaskProject(tmp_path, "django", settings=dummy)
    said = project.gateway("check")
    assert "gateway.yaml:8:9: error: 'django': TASKS of the settings does not name gateway.django.TaskBackend" in said


def test_a_file_without_routes_for_tasks_is_named(tmp_path: Path) -> None:
    project = TaskProject(tmp_path)
    project.file.write_text(project.file.read_text().partition("  task:")[0])
    said = project.run("-c", "import django; django.setup(); import task_code; task_code.add.enqueue(1)", check=False)
    assert "InvalidTask" in said
    assert "this gateway has no routes for tasks; write routes: {task: django} into its file" in said


def test_options_of_the_backend_are_checked(tmp_path: Path) -> None:
    wrong = "\nTASKS['short']['OPTIONS'] = {'RESULT_TTL': 'a day', 'ENQUEUE_ON_COMIT': True}\n"
    project = TaskProject(tmp_path)
    (tmp_path / "task_settings.py").write_text((tmp_path / "task_settings.py").read_text() + wrong)
    said = project.run("-m", "django", "check", check=False)
    assert "(gateway.E001) TASKS['short'] has the option 'ENQUEUE_ON_COMIT'." in said
    assert "(gateway.E002) RESULT_TTL of TASKS['short'] is 'a day'." in said
