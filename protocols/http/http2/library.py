"""What is used of h2, which is an optional extra: no other module imports it."""

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

__all__ = [
    "Core",
    "DataReceived",
    "ErrorCodes",
    "Event",
    "NeverIndexedHeaderTuple",
    "PingAckReceived",
    "ProtocolError",
    "RemoteSettingsChanged",
    "RequestReceived",
    "StreamEnded",
    "StreamReset",
    "TrailersReceived",
    "goaway",
    "server_core",
]

_TABLE = 4096
"""Bytes of the table that compresses our header fields, whatever the peer allows."""


class Core(H2Connection):
    """h2's connection, which remembers fewer of the streams that are closed: each takes a hundred bytes."""

    MAX_CLOSED_STREAMS = 1000

    @property
    def is_closed(self) -> bool:
        """Whether it has sent GOAWAY, after which it sends nothing."""
        return self.state_machine.state is ConnectionState.CLOSED

    def close(self) -> None:
        """Let go of the methods that it holds of itself: with them it would wait for the garbage collector."""
        self._frame_dispatch_table = {}

    def bound_table(self) -> None:
        """Keep the table for our header fields small, after the peer has allowed a larger one."""
        self.encoder.header_table_size = min(self.encoder.header_table_size, _TABLE)


def server_core(streams: int, list_size: int) -> Core:
    """Return a server's end with so many streams at a time, and header lists of so many bytes.

    What an application sends is checked before it comes here, and a request's fields after it: then a malformed one
    ends its stream, and not the connection.
    """
    config = H2Configuration(
        client_side=False,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
    )
    core = Core(config)
    settings = {
        SettingCodes.MAX_CONCURRENT_STREAMS: streams,
        SettingCodes.MAX_HEADER_LIST_SIZE: list_size,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
    }
    core.local_settings = Settings(client=False, initial_values=settings)
    core.decoder.max_header_list_size = list_size
    core.initiate_connection()
    return core


def goaway(last_stream: int) -> bytes:
    """Return a GOAWAY frame without an error. h2 itself could send nothing after one."""
    return GoAwayFrame(0, last_stream_id=last_stream, error_code=ErrorCodes.NO_ERROR).serialize()
