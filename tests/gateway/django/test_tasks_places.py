"""Long tasks leave places to everything else: `concurrency` of a route."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.daemon import Daemon
from servers.postgresql import database
from servers.site import until
from servers.task_project import CONFIG, TaskProject

ROUTES = """
    - {queue: mails, app: django, concurrency: 3}
    - {queue: default, app: django}
"""
LONG = """
for number in range(80):
    held.using(queue_name="mails", priority=5).enqueue(0.0)
said = note.enqueue("short").id
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TaskProject]:
    with database() as place:
        store = "sqlite:var/gateway.db" if request.param == "sqlite" else place.url
        yield TaskProject(tmp_path, ROUTES, CONFIG.replace("sqlite:var/gateway.db", store))


def most_at_once(lines: list[str]) -> int:
    running = [0]
    for line in lines:
        running.append(running[-1] + {"begins": 1, "ends": -1}[line])
    return max(running)


def test_a_route_that_is_full_does_not_hold_up_another(project: TaskProject) -> None:
    """Neither what comes while its tasks run, nor what was behind them in the store."""
    with project.running() as daemon:
        project.says(LONG)
        until(lambda: project.lines("notes") == ["short"], lambda: daemon.text)
        assert project.get("enqueue").status_code == 200
        ident = project.get("aenqueue").text
        until(lambda: project.get(f"result/{ident}").text == "SUCCESSFUL 7", lambda: daemon.text)
        assert project.lines("held") == ["begins"] * 3
        (project.folder / "release").touch()
        until(lambda: len(project.lines("held")) == 160, lambda: daemon.text, 60)
    assert most_at_once(project.lines("held")) == 3


def test_concurrency_needs_the_inbox(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("async def app(scope, receive, send): ...")
    (tmp_path / "gateway.yaml").write_text(
        """
servers: {sms: {protocol: mqtt, bind: "127.0.0.1:18832", anonymous: true}}
routes: {mqtt: [{topic: "#", app: app.app, concurrency: 2}]}
"""
    )
    with contextlib.closing(Daemon(tmp_path, command=["check"])) as daemon:
        daemon.wait()
    assert "concurrency needs inbox: true: only messages in the store can wait for their turn" in daemon.text
