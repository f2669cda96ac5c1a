"""What is importable from the top."""

import subprocess
import sys

import pytest

import gateway
import protocols


@pytest.mark.parametrize("package", [gateway, protocols], ids=["gateway", "protocols"])
def test_every_public_name_is_there(package: object) -> None:
    assert [name for name in package.__all__ if not hasattr(package, name)] == []  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = package.no_such_name  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "from protocols import MQTTServer",
            ["aiohttp", "aiosmtpd", "aioimaplib", "django", "pydantic", "gateway"],
        ),
        # aiohttp has its WebSocket client; no other MQTT library is on the way.
        ("from protocols import MQTTClient", ["aiosmtpd", "gmqtt", "paho", "amqtt", "django", "pydantic", "gateway"]),
        ("from protocols import SMTPServer", ["aiohttp", "aioimaplib", "django", "pydantic", "gateway"]),
        ("import gateway", ["aioimaplib", "django", "aiosmtpd", "aiohttp"]),
        ("from gateway import TopicRouter", ["gateway.scopes.installed", "gateway.scopes.mqtt.kind"]),
        ("from gateway import EmailToRouter", ["gateway.scopes.installed", "gateway.scopes.email.kind"]),
    ],
)
def test_an_import_brings_only_what_it_needs(statement: str, absent: list[str]) -> None:
    check = f"{statement}; import sys; print(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
