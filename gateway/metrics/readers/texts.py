"""Texts that consumers do not answer."""

from collections.abc import AsyncIterator

from gateway.consumers.answering import answering
from gateway.metrics.family import Sample, counter
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

PREVENTED = counter(
    "gateway_sms_answers_prevented_total",
    "Answers to texts that were not sent, by the reason: own_number, alphanumeric, opt (the provider has answered), "
    "same_answer, rate.",
    "reason",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    for reason, number in gateway.services[answering].texts.prevented.items():
        yield PREVENTED.sample(number, reason)


READER = Reader("texts", (PREVENTED,), read)
