"""The submission server, by which mail leaves."""

from collections.abc import AsyncIterator

from gateway.metrics.family import Sample, counter, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

MAILS = counter(
    "gateway_submission_mails_total",
    "Tries to send a mail by their result: sent, refused (for good), account_refused, failed (tried again, if stored).",
    "result",
)
UP = gauge(
    "gateway_submission_up", "1 if the server took the last mail or refused it alone, 0 otherwise.", joined="min"
)
SINCE = gauge("gateway_submission_state_timestamp_seconds", "Since when that is so.", joined="max")


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    if (submission := gateway.submission) is not None:
        for result, number in submission.results.items():
            yield MAILS.sample(number, result)
        yield UP.sample(float(submission.is_up))
        yield SINCE.sample(submission.since)


READER = Reader("submission", (MAILS, UP, SINCE), read)
