"""What senders that wait get from an attempt that ends in an error."""

import pytest

from gateway.delivery.running_attempts import Answer, RunningAttempt, RunningAttempts


@pytest.mark.parametrize("error", [LookupError("first"), GeneratorExit()])
async def test_an_error_of_our_own_reaches_its_senders(error: BaseException) -> None:
    async def attempt(running: RunningAttempt, ended_by: BaseException | None = None) -> Answer:
        if ended_by is None:
            raise error
        assert ended_by is error
        raise LookupError("when the outcome was stored")

    attempts = RunningAttempts()
    running = attempts.begin("key", attempt)
    with pytest.raises(LookupError):
        await running.answer()
    assert attempts.get("key") is None
