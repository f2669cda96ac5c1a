"""The MQTT server: MQTT 3.1.1 and 5.0, over TCP, TLS or WebSocket."""

import asyncio
import gc
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from protocols.asgi import Application, Receive, Send
from protocols.checkpoint import checkpoint
from protocols.errors import BindError, NotSent
from protocols.events import checked
from protocols.mqtt.access.access import Access, Stays
from protocols.mqtt.broker import record, resources
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.counters import Counters
from protocols.mqtt.broker.journal import Persistence
from protocols.mqtt.broker.journal_writer import JournalWriter
from protocols.mqtt.broker.sys_topics import sys_topics
from protocols.mqtt.connection import websocket_transport
from protocols.mqtt.connection.client_connection import ClientConnection
from protocols.mqtt.connection.client_socket import ClientSocket
from protocols.mqtt.connection.delivered import delivered
from protocols.mqtt.connection.endings import LINGER, Endings
from protocols.mqtt.connection.preconnect import Opening, Preconnect
from protocols.mqtt.connection.resources import clients
from protocols.mqtt.events import CHECKS
from protocols.mqtt.settings import MQTTSettings
from protocols.net.listener import Listener
from protocols.resources import Resource
from protocols.server import Outdated, Record, Server, ServerStatus
from protocols.tasks import LAST_WORDS, Tasks

TICK = 1.0
"""Seconds between two looks at what is due: sessions, wills, retained messages that expire."""
RESTORED = 1000
"""Records that are read without a pause at the start: some milliseconds."""
HAND_OVER = 0.5
"""Seconds for clients to read our last words and to close, while another process waits for their sessions."""


class MQTTServer(Server):
    """Each connection of a client is one run of the application over an ``mqtt`` scope (see docs/asgi/mqtt.md).

    ``persistence``: where its state is kept, if it is.
    """

    protocol = "mqtt"
    refusal_reasons = ("0x81", "0x82", "0x84", "0x85", "0x86", "0x87", "0x88", "0x89")
    scope_types = ("mqtt",)
    listener: Listener
    exclusive = True

    def __init__(
        self,
        app: Application,
        settings: MQTTSettings,
        *,
        name: str = "mqtt",
        state: dict[str, Any] | None = None,
        persistence: Persistence | None = None,
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self.persistence = persistence
        self._writer = JournalWriter(persistence, name) if persistence is not None else None
        self._journal = self._writer.journal if self._writer is not None else None
        self.broker = Broker(settings, journal=self._journal, wake=self._work_soon)
        self.access = Access(settings, name, self._save_login)
        self.traffic = self.counters = Counters(time.time())
        self.endings = Endings()
        self.login_outcomes = self.access.logins.outcomes
        self.listener = Listener(
            settings.bind,
            tls=settings.tls,
            proxies=settings.proxy_protocol,
            max_per_address=settings.max_per_address,
            alpn=("mqtt",),
        )
        self._clock = Tasks(name)
        self._telling: asyncio.Task[None] | None = None
        self._preconnects: set[Preconnect] = set()
        self._clients: set[ClientConnection] = set()
        self._leaving: dict[str, tuple[ClientSocket, asyncio.Event]] = {}
        self._empty = asyncio.Event()
        self._is_replaced = False
        self._inherited: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return self.listener.address

    def active(self) -> dict[str, int]:
        return {"mqtt": len(self._clients)} if self._clients else {}

    def figures(self) -> dict[str, float]:
        broker = self.broker
        return {
            "mqtt_sessions": len(broker.sessions),
            "mqtt_sessions_away": broker.away,
            "mqtt_subscriptions": broker.subscriptions,
            "mqtt_retained_messages": len(broker.retained),
            "mqtt_queued_bytes": broker.queued.used,
            "mqtt_queued_limit_bytes": broker.queued.limit,
            "mqtt_queue_refusals_total": broker.queued.refused,
            "mqtt_packets_received_total": self.counters.packets_received,
            "mqtt_messages_dropped_total": self.counters.messages_dropped,
        }

    async def start(self) -> None:
        await self._restore()
        limit = self.settings.max_connections
        await self.listener.start(lambda: Opening(self), count=self._connections, limit=limit)
        self._clock.spawn(self._tick(), name="mqtt clock")
        self._tell_statistics()
        self.status = ServerStatus("ready", _detail(self.settings))

    def _tell_statistics(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        if self.settings.sys_interval:
            self._telling = self._clock.spawn(self._tell(), name="mqtt $SYS")

    def can_become(self, made: Server) -> bool:
        """Its state stays where it is: in its broker, and in the store."""
        return isinstance(made, MQTTServer) and self.is_where(made) and self.persistence == made.persistence

    async def become(self, made: "MQTTServer") -> None:
        await super().become(made)
        before, self.settings, self.access = self.access, made.settings, made.access
        stays = self.access.follow(before, self._save_login)
        self.login_outcomes = self.access.logins.outcomes
        self.broker.follow(self.settings)
        await self.listener.become(made.listener, limit=self.settings.max_connections)
        self._tell_statistics()
        self.status = ServerStatus("ready", _detail(self.settings))
        await self._follow(stays)

    def outdated(self) -> Iterable[Outdated]:
        return [client for client in self._clients if client.generation != self.generation]

    async def _follow(self, stays: Stays) -> None:
        """Apply the users and rules to clients and sessions, in slices: others have their turn."""
        for client in list(self._clients):
            client.follow(stays)
            await checkpoint()
        await self._restrict()

    async def _restrict(self) -> None:
        """Apply the rules to sessions whose clients are away, and to wills of clients that may come back, in slices."""
        for session in list(self.broker.sessions.values()):
            rules = self.access.rules_for(session.client_id, session.user)
            if rules is not None and session.outgoing is None:
                self.broker.restrict(session, rules)
            await checkpoint()
        for client_id, will in self.broker.left_wills.items():
            rules = self.access.rules_for(client_id, will.user)
            if rules is not None and not rules.may_publish(will.message.topic):
                self.broker.left_wills.forget(client_id)
            await checkpoint()

    def hand_over(self) -> Iterator[Record]:
        """Yield the sessions and the retained messages, unless they are in the store."""
        return self.broker.records() if self.persistence is None else iter(())

    def inherit(self, records: Iterable[Record]) -> None:
        self._inherited.update(records)

    async def _restore(self) -> None:
        try:
            kept = dict(await self.persistence.load()) if self.persistence is not None else {}
        except OSError as error:
            raise BindError(f"its sessions: {error}") from error
        self._replace_by_inherited(kept)
        try:
            kept, logins = await asyncio.to_thread(_sort_out, kept)
            await self._restore_broker(kept)
            self.access.restore({key.removeprefix(record.LOGIN): value.decode() for key, value in logins.items()})
        except (ValueError, TypeError, KeyError) as error:
            raise BindError(f"what was kept of its sessions cannot be read: {error}") from error
        await self._restrict()  # the file may have changed meanwhile
        if self._writer is not None:
            self._clock.spawn(self._writer.run(), name="mqtt journal")

    def _replace_by_inherited(self, kept: dict[str, bytes]) -> None:
        """Put what a predecessor without persistence had in the place of what is kept from before its time."""
        inherited, self._inherited = self._inherited, {}
        if not inherited:
            return
        stale = [key for key in kept if not key.startswith(record.LOGIN)]
        for key in stale:
            del kept[key]
        kept.update(inherited)
        if self._journal is not None:
            for key, value in [*((key, None) for key in stale), *inherited.items()]:
                self._journal.put(key, value)

    async def _restore_broker(self, kept: Mapping[str, bytes]) -> None:
        """Restore the broker in slices, because other servers of this process may be serving, and be asked for their
        health."""
        for done, _ in enumerate(self.broker.restoring(kept), start=1):
            if done % RESTORED == 0:
                gc.freeze()  # it all lives long: the collector would look at it again and again
                await asyncio.sleep(0)
        await self._finish_work()

    def _save_login(self, username: str, login: str | None) -> None:
        if self._writer is not None:
            self._writer.journal.put(record.login_key(username), None if login is None else login.encode())

    async def retire(self) -> None:
        """Leave new connections to a successor, and the clients of those that :meth:`stop` ends."""
        self._is_replaced = True
        await super().retire()

    async def stop(self, grace: float) -> None:
        self.status = ServerStatus("draining")
        self.listener.stop()
        for preconnect in list(self._preconnects):
            preconnect.close()
        for client in list(self._clients):
            client.stop(moves=self._is_replaced)
        await self.tasks.drain(grace)
        for client in list(self._clients):
            client.dismiss()
        await self.tasks.drain(LAST_WORDS)  # who listens hears of it before it is cancelled
        await self.tasks.cancel()
        await self._disconnect_all()
        await self.endings.end(min(grace, HAND_OVER if self._is_replaced else LINGER))
        await self._finish_work()  # wills to many subscribers
        await self._clock.cancel()
        self.status = ServerStatus("stopped")
        if self._writer is not None:
            await self._writer.close()

    async def websocket(self, scope: Any, receive: Receive, send: Send) -> None:
        """An ASGI application for the path where browsers connect, which an http server mounts there. Plain HTTP
        requests are told to upgrade."""
        if scope["type"] != "websocket":
            await send({"type": "http.response.start", "status": 426, "headers": [(b"upgrade", b"websocket")]})
            await send({"type": "http.response.body", "body": b"MQTT over WebSocket\n"})
        elif self._connections() < self.settings.max_connections and self.status.state == "ready":
            place = self.settings.websocket
            await websocket_transport.serve(lambda: Opening(self), place.origins if place else (), scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def publish(self, event: Mapping[str, Any]) -> None:
        """``mqtt.send`` outside any connection: to the matching subscribers; returns when what waits for those who are
        away is kept. Raises LocalProtocolError; NotSent once it is stopped, or if it stops meanwhile: its sessions may
        be those of another process by then."""
        if self.status.state == "stopped":
            raise NotSent(f"mqtt {self.name} is stopped", retry_after=0.0)
        await delivered(self.broker.send(checked(CHECKS, {**event, "type": "mqtt.send"})), self._journal)
        await checkpoint()

    # What an operator sees.

    def clients(self) -> Iterable[Resource]:
        return clients(self._clients, self._preconnects)

    def sessions(self) -> Iterable[Resource]:
        return resources.sessions(self.broker)

    def retained(self, topic_filter: str) -> Iterable[Resource | None]:
        return resources.retained(self.broker, topic_filter)

    async def kept(self) -> None:
        await delivered(None, self._journal)

    async def _disconnect_all(self) -> None:
        """Every socket is closed or closing; give up on those whose peers do not read."""
        for client in self._clients:
            client.abort()
        if self._clients:
            self._empty.clear()
            await self._empty.wait()

    def _connections(self) -> int:
        return len(self._preconnects) + len(self._clients) + len(self.endings)

    # What takes long, and the clock.

    def _work_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """One slice; then everybody else has a turn."""
        if self.broker.backlog.run():
            self._work_soon()

    async def _finish_work(self) -> None:
        """All of it: without clients it has an end."""
        while self.broker.backlog.run():  # noqa: ASYNC110 -- no polling: that does the work
            await asyncio.sleep(0)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.broker.tick()

    async def _tell(self) -> None:
        while True:
            for topic, text in sys_topics(self.counters, self.broker, time.time()):
                self.broker.publish(self.broker.message(topic, text.encode(), 0, retain=True, properties=None))
            await asyncio.sleep(self.settings.sys_interval)

    # What preconnects and clients call.

    def arrived(self, preconnect: Preconnect) -> None:
        self._preconnects.add(preconnect)

    def left(self, preconnect: Preconnect) -> None:
        self._preconnects.discard(preconnect)

    def connected(self, client: ClientConnection) -> None:
        self._clients.add(client)
        self.tasks.spawn(client.serve(), name=f"mqtt {client.client_id}")

    async def until_gone(self, client_id: str) -> None:
        if client_id in self._leaving:
            await self._leaving[client_id][1].wait()

    def leaving(self, client: ClientSocket) -> None:
        self._leaving.setdefault(client.client_id, (client, asyncio.Event()))

    def disconnected(self, client: ClientSocket) -> None:
        self._clients.discard(cast("ClientConnection", client))
        who, over = self._leaving.get(client.client_id, (None, None))
        if who is client and over is not None:
            del self._leaving[client.client_id]
            over.set()
        if not self._clients:
            self._empty.set()


def _sort_out(kept: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What is the broker's, and the logins."""
    logins = {key: value for key, value in kept.items() if key.startswith(record.LOGIN)}
    return {key: value for key, value in kept.items() if key not in logins}, logins


def _detail(settings: MQTTSettings) -> str:
    """``TLS; 3.1.1, 5.0; anonymous: yes; persistent; ws web/mqtt``."""
    facts = ["TLS"] if settings.tls is not None else []
    facts += ["3.1.1, 5.0", f"anonymous: {'yes' if settings.anonymous or not settings.knows_users else 'no'}"]
    if settings.tls is not None and settings.tls.client_ca:
        facts.append("client certificates")
    if settings.persistence:
        facts.append("persistent")
    if settings.websocket is not None:
        facts.append(f"ws {settings.websocket.on}/{settings.websocket.path.lstrip('/')}")
    return "; ".join(facts)
