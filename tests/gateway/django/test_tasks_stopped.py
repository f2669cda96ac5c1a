"""The gateway is stopped while a task runs."""

from pathlib import Path

from servers.site import until
from servers.task_project import CONFIG, TaskProject


def test_an_async_task_that_a_stop_cancels_runs_again(tmp_path: Path) -> None:
    project = TaskProject(tmp_path, "{app: django, attempts: 2, backoff: 20ms}", "shutdown_timeout: 200ms\n" + CONFIG)
    daemon = project.start()
    try:
        ident = project.says("said = long_at_first.enqueue().id")
        until(lambda: project.lines("notes") == ["attempt 1 begins"], lambda: daemon.text)
        daemon.process.terminate()
        assert daemon.wait() == 0, daemon.text
    finally:
        daemon.close()
    assert project.lines("notes") == ["attempt 1 begins", "attempt 1 is cancelled"]
    state = f"r = long_at_first.get_result({ident!r}); said = [r.status.value, r.is_finished and r.return_value]"
    with project.running() as daemon:
        until(lambda: project.says(state)[0] == "SUCCESSFUL", lambda: daemon.text)
    assert project.says(state) == ["SUCCESSFUL", [2, 0]]
