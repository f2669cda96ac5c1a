"""What becomes of outgoing mail is counted, and whether the server takes any."""

import contextlib

import pytest
from servers.submission import peer, sending

from protocols.errors import AccountRefused, NotSent, PermanentFailure
from protocols.mail.submission.measured import RESULTS, MeasuredSubmission

MAIL = b"Subject: x\n\nhello\n"


@pytest.mark.parametrize(
    ("answers", "error", "result"),
    [
        ({}, None, "sent"),
        ({"RCPT": "550 5.1.1 no such user"}, PermanentFailure, "refused"),
        ({"MAIL": "530 5.7.0 log in first"}, AccountRefused, "account_refused"),
        ({"content": "451 4.3.0 later"}, NotSent, "failed"),
        ({"greeting": ""}, NotSent, "failed"),
    ],
)
async def test_a_mail_counts_by_what_becomes_of_it(
    answers: dict[str, str], error: type[NotSent] | None, result: str
) -> None:
    async with peer(answers) as server, sending(f"smtp://{server.address}") as way:
        submission = MeasuredSubmission(way)
        with pytest.raises(error) if error is not None else contextlib.nullcontext():
            await submission.submit("a@x.org", ["b@x.org"], MAIL)
    assert submission.results == {each: int(each == result) for each in RESULTS}
    assert submission.is_up == (result in ("sent", "refused"))


async def test_its_state_begins_when_it_changes() -> None:
    async with peer() as server, sending(f"smtp://{server.address}", keep_open=0) as way:
        submission = MeasuredSubmission(way)
        times = [submission.since]
        for content in ("451 4.3.0 later", "451 4.3.0 later", "250 2.0.0 queued", "250 2.0.0 queued"):
            server.answers["content"] = content
            with contextlib.suppress(NotSent):
                await submission.submit("a@x.org", ["b@x.org"], MAIL)
            times.append(submission.since)
    assert times[0] < times[1] == times[2] < times[3] == times[4]
