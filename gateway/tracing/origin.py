"""Decides whether a message is traced, and what its span belongs to."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext

from gateway.tracing.contexts import NOWHERE, below, extracted, holding, links_to
from gateway.tracing.sampling import Sampler
from gateway.tracing.traced import Traced
from protocols.app_run import AppRun


class Origin(NamedTuple):
    """Where a span begins."""

    where: Context
    links: Sequence[Link] = ()


class Origins:
    """``trust``: servers whose peers' traces are continued. Of other servers' peers a trace is a link: strangers could
    write into the traces of others, and decide how much is traced."""

    def __init__(self, ratio: float, trust: Collection[str]) -> None:
        self._sampler = Sampler(ratio)
        self._trust = frozenset(trust)

    def of(self, kind: Traced, run: AppRun, event: Any) -> Origin | None:
        """Return where the span of ``event``, or without it of the run's scope, begins. None: it is not traced."""
        if kind.is_rare and trace.get_current_span().get_span_context().is_valid:
            return Origin(holding(trace.get_current_span()))  # of the request that brings it
        trusted = bool(self._trust) and (run.server_name in self._trust or _carried_server(run) in self._trust)
        if trusted and (sent := extracted(kind.carrier(run.scope, event))) is not None:
            return Origin(below(sent))
        if not kind.is_rare and not self._sampler.takes():
            return None
        return Origin(NOWHERE, () if trusted else links_to(extracted(kind.carrier(run.scope, event))))


def of_answer(answered: SpanContext, *, from_recipient: bool) -> Origin:
    """Return where the span of an answer to a message of ours begins: in that trace, if a recipient answers."""
    return Origin(below(answered)) if from_recipient else Origin(NOWHERE, links_to(answered))


def carried(run: AppRun) -> str:
    """Return the label of the server whose packets a run over another one's connection brings; empty for most."""
    label = getattr(run.app, "carried", None)  # isinstance of a protocol takes 15 us
    return str(label(run.scope)) if label is not None else ""


def _carried_server(run: AppRun) -> str:
    return carried(run).rpartition(" -> servers.")[2]
