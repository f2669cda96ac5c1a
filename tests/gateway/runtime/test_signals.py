"""Signals that do not end the daemon: they are a line in the log, whenever they come, and work goes on. At SIGHUP it
reads its file again."""

import signal

import pytest
from servers.operated import Start
from servers.site import until

IGNORED = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


def test_they_are_one_line_each_and_nothing_stops(start: Start) -> None:
    run = start()
    run.serves()
    for number in IGNORED:
        run.process.send_signal(number)
        until(lambda number=number: f"{number.name}: " in run.err, f"{number.name} is logged")
    assert run.answers()
    assert run.ended_by(signal.SIGTERM) == 0
    assert "INFO    SIGHUP: gateway.yaml has not changed" in run.err
    assert len(run.err.splitlines()) == len(IGNORED) + 1, "and that it has stopped"


@pytest.mark.parametrize("number", IGNORED)
def test_one_while_it_starts_does_not_end_it(start: Start, number: signal.Signals) -> None:
    run = start(env={"WISH": "hang in startup"})
    until((run.folder / "starting").exists, "the startup is under way")
    run.process.send_signal(number)
    assert run.ended_by(signal.SIGTERM) == 0


def test_one_while_a_module_is_imported_does_not_end_it(start: Start) -> None:
    run = start(env={"WISH": "wait in import"})
    until((run.folder / "importing").exists, "the module is being imported")
    for number in IGNORED:
        run.process.send_signal(number)
    (run.folder / "importing").unlink()
    run.serves()
    assert run.ended_by(signal.SIGTERM) == 0


def test_one_that_comes_while_it_drains_does_not_end_it(start: Start) -> None:
    run = start(env={"WISH": "slow shutdown"})
    run.serves()
    run.process.send_signal(signal.SIGTERM)
    until(lambda: "draining" in run.out + run.err, "it drains")
    run.process.send_signal(signal.SIGUSR1)
    assert run.process.wait(20) == 0
    assert "stopped: 0 lost" in run.out + run.err


@pytest.mark.parametrize("how", ["signal", "faulthandler"])
def test_an_application_that_handles_one_has_it(start: Start, how: str) -> None:
    run = start(env={"WISH": f"handle by {how}"})
    run.serves()
    run.process.send_signal(signal.SIGUSR1)
    until(lambda: "handled by us" in run.err or "Current thread" in run.err, lambda: f"it is handled: {run.err}")
    run.process.send_signal(signal.SIGUSR2)
    until(lambda: "SIGUSR2: " in run.err, "the other one is logged")
    assert "SIGUSR1: " not in run.err
    assert run.answers()
