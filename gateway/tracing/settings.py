"""What gateway.yaml says about tracing."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from protocols.server import SETTINGS_CONFIG
from protocols.setting_forms import Text
from protocols.units import Unit


def parse_ratio(written: Any) -> float:
    """Return ``1%`` or ``0.01`` as a number from 0 to 1. Raises ValueError."""
    text = written.strip() if isinstance(written, str) else ""
    try:
        ratio = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(written)
    except (TypeError, ValueError):
        ratio = -1.0
    if isinstance(written, bool) or not 0 <= ratio <= 1:
        raise ValueError("write a share, such as 1% or 0.01, and 100% at most")
    return ratio


Ratio = Annotated[float, Unit(parse_ratio, {"type": ["number", "string"], "examples": ["1%", 0.01, "100%"]})]


@dataclass(frozen=True)
class TracingSettings:
    """OpenTelemetry: which messages are traced, and where their spans go."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    endpoint: Annotated[str, Text(pattern=r"^https?://", most=1000)] | None = None
    """The URL to which spans are sent, by OTLP over HTTP: `http://collector:4318/v1/traces`. By default it is what
    OpenTelemetry's own environment variables say (`OTEL_EXPORTER_OTLP_ENDPOINT` and the others), else
    `http://localhost:4318/v1/traces`."""
    sample: Ratio = 0.01
    """The share of requests, MQTT messages and WebSocket messages that is traced, unless a server in `trust` gets one
    whose sender has decided. Mails and texts are all traced."""
    trust: tuple[str, ...] = ()
    """Servers whose peers may decide what is traced: a trace that they send is continued, and their sampling decision
    is kept. What other servers get begins a trace of its own, which has a link to the sender's."""
    service: Annotated[str, Text(least=1, most=200)] = "gateway"
    """`service.name`, by which backends group spans. `OTEL_SERVICE_NAME` goes before it."""
