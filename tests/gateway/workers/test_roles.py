"""The name of the lease by which all processes with one store agree on who has a server."""

import socket

import pytest

from gateway.scopes.installed import SERVERS
from gateway.workers.roles import roles_of
from protocols.mqtt.client.settings import MQTTClientSettings
from protocols.mqtt.settings import MQTTSettings

SHARED, PLAIN = "$share/gateways/plant/#", "plant/#"


@pytest.mark.parametrize(
    ("subscribe", "client_id", "lease"),
    [
        ((SHARED,), "one", "server plant one"),
        ((SHARED,), "", f"server plant plant-{socket.gethostname()}"),
        ((), "one", "server plant one"),
        ((PLAIN,), "one", "server plant"),
        ((SHARED, PLAIN), "one", "server plant"),
    ],
)
def test_each_member_of_a_shared_subscription_has_a_lease_of_its_own(
    subscribe: tuple[str, ...], client_id: str, lease: str
) -> None:
    """Two hosts with the same plain subscription would both handle each message."""
    plant = MQTTClientSettings(url="mqtt://broker", subscribe=subscribe, client_id=client_id)
    [role] = roles_of({"plant": plant}, {"plant"})
    assert role.lease == lease
    assert SERVERS["mqtt-client"].identity(plant, "plant") == lease.removeprefix("server ")


def test_any_other_server_goes_by_its_name() -> None:
    [role] = roles_of({"devices": MQTTSettings(bind="127.0.0.1:0")}, {"devices"})
    assert role.lease == "server devices"
