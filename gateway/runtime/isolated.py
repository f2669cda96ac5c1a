"""A gateway that is cut off from the outside: what it sends goes to outlets of the caller's, and it starts none of its
servers but those that the caller names."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.delivery.direct import DirectSender
from gateway.delivery.outbox import Outlet
from gateway.delivery.service import deliveries
from gateway.event_sender import sender
from gateway.runtime.build import Gateway
from gateway.runtime.servers import Line, Servers
from gateway.scopes.outgoing import outgoing_servers
from gateway.threads import Pool, thread_pool
from protocols.server import Server


class SomeServers(Servers):
    """Some of the servers of a file, which are made already."""

    def __init__(self, made: Iterable[Server] = ()) -> None:
        self._made = {server.name: server for server in made}
        self.line = Line(self)


NO_SERVERS = SomeServers()


def isolated(
    made: Gateway, outlets: Mapping[str, Outlet], *, servers: Servers = NO_SERVERS, threads: Pool | None = None
) -> Gateway:
    """Return ``made`` with ``outlets`` in place of its own, and without a console. Sync handlers run on ``threads``, or
    else on the threads that the file asks for."""
    direct = DirectSender(outlets, outgoing_servers(made.settings), made.services.get(deliveries))
    services = {**made.services, sender: direct, thread_pool: threads or made.services[thread_pool]}
    return replace(made, servers=servers, services=services, outlets=outlets, console=None)
