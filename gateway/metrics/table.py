"""The readers, and with them every family that the gateway has."""

from gateway.metrics.family import Family
from gateway.metrics.reader import SUCCESS, Reader
from gateway.metrics.readers import servers

READERS: tuple[Reader, ...] = (servers.READER,)
FAMILIES: dict[str, Family] = {
    family.name: family for family in [*(family for reader in READERS for family in reader.families), SUCCESS]
}
