"""Peers by their addresses."""

import pytest

from protocols.net.addresses import SWEEP, AddressLimit, Networks


class Socket:
    descriptor = 1

    def fileno(self) -> int:
        return self.descriptor

    def close(self) -> None:
        self.descriptor = -1


def test_networks() -> None:
    networks = Networks(["192.0.2.0/24", "2001:db8::1"])
    assert networks.hold(("192.0.2.9", 1))
    assert networks.hold(("::ffff:192.0.2.9", 1, 0, 0))
    assert networks.hold(("2001:db8::1", 1, 0, 0))
    assert not networks.hold(("192.0.3.9", 1))
    assert not networks.hold(("fe80::1%eth0", 1, 0, 2))
    assert not networks.hold("")
    assert Networks(["unix"]).hold("")
    assert not Networks(["unix"]).hold(("192.0.2.9", 1))
    assert networks
    assert not Networks([])
    with pytest.raises(ValueError, match=r"10\.0\.0\.5/8"):
        Networks(["10.0.0.5/8"])


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"),
        ("fe80::1%eth0", "fe80::2", "fe80:0:0:1::1"),
    ],
)
def test_an_address_has_so_many_and_an_ipv6_network_too(first: str, second: str, other: str) -> None:
    limit, one = AddressLimit(1), Socket()
    assert limit.admit(first, one)
    assert not limit.admit(second, Socket())
    assert limit.admit(other, Socket())
    one.close()
    assert limit.admit(second, Socket())
    assert not limit.admit(first, Socket())


def test_no_bound() -> None:
    limit = AddressLimit(0)
    assert all(limit.admit("192.0.2.1", Socket()) for _ in range(1000))


def test_what_is_closed_is_forgotten() -> None:
    limit, open_ones = AddressLimit(2), [Socket() for _ in range(100)]
    for number, each in enumerate(open_ones):
        assert limit.admit(f"192.0.2.{number}", each)
        assert limit.admit(f"192.0.2.{number}", Socket())
    for number in range(20 * SWEEP):
        brief = Socket()
        assert limit.admit(f"2001:db8:{number // 65536:x}:{number % 65536:x}::1", brief)
        brief.close()
    assert len(limit._open) <= 2 * SWEEP
    assert not limit.admit("192.0.2.7", Socket())
