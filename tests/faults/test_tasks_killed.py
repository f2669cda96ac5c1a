"""kill -9 of the daemon in the middle of tasks: each task that was enqueued runs, and with ``atomic: true`` it has
done what it does once. Two kills in the suite; with FAULT_SEEDS, as in ``make faults``, four, for each seed."""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from crashing import SEEDS
from servers.daemon import Daemon
from servers.postgresql import Database, database, postgresql
from servers.project_store import postgresql as postgresql_settings
from servers.site import until
from servers.task_project import CONFIG, TaskProject

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

IS_LONG = "FAULT_SEEDS" in os.environ
KILLS, TASKS = (4, 60) if IS_LONG else (2, 30)
SOME_SEEDS = SEEDS if IS_LONG else SEEDS[:1]
ROUTES = """
    - {queue: mails, app: django, attempts: 50, backoff: 20ms}
    - {queue: default, app: django, attempts: 50, backoff: 20ms, atomic: true}
"""
SETTINGS = """
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
"""
ENQUEUE = """
import random
for number in range({tasks}):
    function = row if number % 2 else row_later
    function.enqueue(f"atomic {{number}}", **({{"seconds": random.uniform(0, 0.02)}} if function is row else {{}}))
    row.using(queue_name="mails").enqueue(f"plain {{number}}", random.uniform(0, 0.02))
said = None
"""


IN_PROJECT = CONFIG.replace("sqlite:var/gateway.db", "django")


def settings(place: Database | None) -> str:
    return SETTINGS if place is None else f"\nDATABASES = {postgresql_settings(place)!r}\n"


def check_that_each_has_run(project: TaskProject, daemon: Daemon) -> None:
    until(lambda: project.gateway("waiting", "--json").strip() == "[]", lambda: daemon.text[-5000:], 120)
    assert project.gateway("dead", "list", "--json").strip() == "[]"
    rows = Counter(project.says("said = rows()"))
    assert {name: times for name, times in rows.items() if name.startswith("atomic")} == {
        f"atomic {number}": 1 for number in range(TASKS)
    }
    assert {name for name in rows if name.startswith("plain")} == {f"plain {number}" for number in range(TASKS)}


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_each_task_runs_and_an_atomic_one_has_its_effects_once(tmp_path: Path, seed: int, store: str) -> None:
    chance = random.Random(seed)
    with database() as place:
        project = TaskProject(tmp_path, ROUTES, IN_PROJECT, settings(place if store == "postgresql" else None))
        project.says(ENQUEUE.format(tasks=TASKS))
        for _ in range(KILLS):
            daemon = project.start()
            time.sleep(chance.uniform(0.05, 0.6))  # the moment of the kill is the subject
            daemon.close()
        with project.running() as daemon:
            check_that_each_has_run(project, daemon)


@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_a_crash_of_postgresql_loses_no_task_and_repeats_no_effect(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with postgresql() as server, database(server) as place:
        project = TaskProject(tmp_path, ROUTES, IN_PROJECT, settings(place))
        project.says(ENQUEUE.format(tasks=TASKS))
        with project.running() as daemon:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.05, 0.6))  # the moment of the crash is the subject
                server.crash()
                server.start()
            check_that_each_has_run(project, daemon)


def test_a_task_that_kills_the_process_has_failed(tmp_path: Path) -> None:
    project = TaskProject(tmp_path, "{app: django, attempts: 2, backoff: 20ms}")
    daemon = project.start()
    ident = project.says("said = exits.enqueue().id")
    for _ in range(2):
        daemon.process.wait(60)
        daemon.close()
        daemon = project.start()
    try:
        code = f"r = exits.get_result({ident!r}); said = [r.status.value, r.attempts, [e.traceback for e in r.errors]]"
        until(lambda: project.says(code)[0] == "FAILED", lambda: daemon.text)
        status, attempts, errors = project.says(code)
        assert (status, attempts) == ("FAILED", 2)
        assert errors == ["2 attempts were cut off: the process was killed, or they were cancelled"]
    finally:
        daemon.close()
