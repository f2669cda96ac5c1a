"""Django's tasks with a store in PostgreSQL, and with several workers."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.daemon import Daemon
from servers.postgresql import database
from servers.site import ROOT, until
from servers.task_project import CONFIG, TaskProject
from test_tasks import BOTH, OURS


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskProject]:
    with database() as place:
        config = CONFIG.replace("sqlite:var/gateway.db", place.url) + "workers: 2\n"
        yield TaskProject(tmp_path_factory.mktemp("project"), config=config)


@pytest.fixture(scope="module")
def daemon(project: TaskProject) -> Iterator[Daemon]:
    with project.running() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def behaviours(project: TaskProject, daemon: Daemon) -> dict[str, Any]:
    said = project.run(str(ROOT / "tests/servers/task_behaviours.py"), "default").splitlines()[-1]
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.mark.parametrize("name", [*BOTH, *OURS])
def test_two_workers_with_postgresql_do_what_one_with_sqlite_does(behaviours: dict[str, Any], name: str) -> None:
    assert behaviours[name] == (BOTH | OURS)[name]


def test_what_a_view_enqueues_in_a_transaction_shares_its_fate(project: TaskProject, daemon: Daemon) -> None:
    gone = project.get("rolled_back").text
    project.get("committed")
    until(lambda: "view committed" in project.lines("notes"), lambda: daemon.text)
    assert gone not in project.gateway("waiting", "--json")
    assert project.lines("notes") == ["view committed"]


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_each_task_runs_once_and_both_workers_run_some(tmp_path: Path, store: str) -> None:
    with database() as place:
        config = CONFIG if store == "sqlite" else CONFIG.replace("sqlite:var/gateway.db", place.url)
        project = TaskProject(tmp_path, "[{default: true, app: django, concurrency: 2}]", config + "workers: 2\n")
        with project.running() as daemon:
            workers = project.says(
                """
import time
results = [slow.enqueue(0.05, f"slow {number}") for number in range(40)]
ends = time.monotonic() + 40
while not all(result.is_finished for result in results) and time.monotonic() < ends:
    time.sleep(0.05)
    for result in results:
        if not result.is_finished:
            result.refresh()
said = [result.worker_ids for result in results]
"""
            )
            lines = Counter(project.lines("notes"))
            assert lines == {f"slow {number}": 1 for number in range(40)}, daemon.text
            assert len(Counter(worker for (worker,) in workers)) == 2
