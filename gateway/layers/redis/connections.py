"""Connections to Redis, made as channels_redis makes them from the entries of its ``hosts``."""

import asyncio
import contextlib
import random
import re
from collections.abc import Sequence
from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from gateway.layers.address import Redis

CONNECT = 2.0
"""Seconds for a connection, with its TLS and its login."""
CLOSE = 0.5
"""Seconds for the end of a connection."""
_ENDED = "the connection has ended"
TROUBLES = (RedisError, OSError, EOFError, TimeoutError, asyncio.IncompleteReadError)
"""What calls raise while a server is away."""


class RedisLink:
    """One connection. We pair its commands with its answers. ``idle`` is the seconds in which something must
    arrive while it is read."""

    def __init__(self, address: Redis, idle: float) -> None:
        self._hosts = hosts_of(address, idle)
        self._pool: Any = None
        self._connection: Any = None

    async def open(self) -> None:
        """Connect to the first server that answers. Raises one of TROUBLES."""
        error: BaseException = ConnectionError("there is no node")
        for host in random.sample(self._hosts, len(self._hosts)):
            try:
                async with asyncio.timeout(CONNECT):
                    self._pool = create_pool(host)
                    self._connection = await self._pool.get_connection()
                return
            except TROUBLES as failure:
                error = failure
                await self.close()
        raise error

    async def write(self, *commands: Sequence[Any]) -> None:
        """Raises one of TROUBLES."""
        connection = self._connection
        if connection is None or not connection.is_connected:
            raise ConnectionError(_ENDED)
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        except AttributeError as error:  # redis-py has given up its writer while the command waited for its turn
            raise ConnectionError(_ENDED) from error

    async def read(self) -> Any:
        """Return the next answer or message; an answer may be a ResponseError."""
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    async def close(self) -> None:
        connection, pool, self._pool, self._connection = self._connection, self._pool, None, None
        with contextlib.suppress(*TROUBLES):
            async with asyncio.timeout(CLOSE):
                if connection is not None:
                    await connection.disconnect(nowait=True)  # a server that is paused takes nothing more
                if pool is not None:
                    await end(pool)


async def end(pool: Any) -> None:
    """Close the connections of ``pool``, and those to the Sentinels that it has asked. Raises one of TROUBLES."""
    await pool.disconnect()
    manager = getattr(pool, "sentinel_manager", None)
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.connection_pool.disconnect()


def hosts_of(address: Redis, idle: float) -> list[dict[str, Any]]:
    """Return entries for ``hosts`` of channels_redis; of several, any can be taken."""
    common: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_timeout": idle,
        "socket_connect_timeout": CONNECT,
        "retry": Retry(NoBackoff(), 0),  # we try again, and say so
        "protocol": 2,  # a push of RESP 3 is another type in each version of redis-py
    }
    if address.path:
        from redis.asyncio.connection import UnixDomainSocketConnection

        return [common | {"path": address.path, "connection_class": UnixDomainSocketConnection}]
    if address.master:
        return [common | _tls_of_sentinel(address) | _sentinels(address, idle)]
    return [common | _tls(address) | {"host": host, "port": port} for host, port in address.nodes]


def _sentinels(address: Redis, idle: float) -> dict[str, Any]:
    to_sentinels: dict[str, Any] = {"socket_timeout": CONNECT, "socket_connect_timeout": CONNECT, **address.sentinel}
    if address.scheme.startswith("rediss"):
        to_sentinels |= {"ssl": True, **_files(address)}
    return {"sentinels": list(address.nodes), "master_name": address.master, "sentinel_kwargs": to_sentinels}


def _tls_of_sentinel(address: Redis) -> dict[str, Any]:
    return {"ssl": True, **_files(address)} if address.scheme.startswith("rediss") else {}


def _tls(address: Redis) -> dict[str, Any]:
    if not address.scheme.startswith("rediss"):
        return {}
    from redis.asyncio.connection import SSLConnection

    return {"connection_class": SSLConnection} | _files(address)


def _files(address: Redis) -> dict[str, str]:
    names = {"ca": "ssl_ca_certs", "certificate": "ssl_certfile", "key": "ssl_keyfile"}
    return {names[name]: path for name, path in address.tls.items()}


def reason(address: Redis, error: BaseException) -> str:
    """Say in one sentence, without passwords, why Redis cannot be used."""
    if isinstance(error, AuthenticationError) or re.search("NOAUTH|WRONGPASS|password", str(error)):
        return f"{address} refuses the login: {error}"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return f"{address} does not answer"
    return f"{address} cannot be used: {str(error) or type(error).__name__}"
