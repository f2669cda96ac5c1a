"""Filters that several operations have: of connections, of sessions, of what arrives."""

from collections.abc import Callable

from gateway.control.server import BadRequest
from protocols.mqtt.wire.topics import valid_filter
from protocols.net.addresses import Networks
from protocols.units import UNIX_PEERS


def address_test(wanted: str) -> Callable[[str], bool]:
    """Return a test of an address, without a port, or of ``unix``. Raises BadRequest."""
    try:
        networks = Networks([wanted])
    except ValueError as error:
        raise BadRequest(f"address: write an address, a network such as 10.0.0.0/8, or unix: {error}") from error

    def fits(address: str) -> bool:
        try:
            return networks.hold(None if address == UNIX_PEERS else (address,))
        except ValueError:  # it came by no connection, or a proxy calls its client something else
            return False

    return fits


def checked_topic(wanted: str) -> str:
    """Return ``wanted``, a topic filter. Raises BadRequest if it is none."""
    if not valid_filter(wanted):
        raise BadRequest(f"topic: {wanted!r} is not a topic filter; write one such as sensors/#")
    return wanted
