"""The sessions of one server, who has subscribed to what, and what is retained. Pure; ``clock`` gives Unix time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any

from protocols.asgi import MQTTSendEvent
from protocols.mqtt.broker import record
from protocols.mqtt.broker.backlog import Backlog
from protocols.mqtt.broker.fan_out import AT_ONCE, FanOut, FanOuts
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.inbound import Inbound
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.broker.left_wills import LeftWill, LeftWills
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.outbound import Outbound
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.broker.retained_messages import RetainedMessages
from protocols.mqtt.broker.rules import Rules
from protocols.mqtt.broker.session import Session
from protocols.mqtt.broker.share import Share
from protocols.mqtt.broker.subscriptions import Subscriptions
from protocols.mqtt.broker.timers import Timers
from protocols.mqtt.broker.will import Will
from protocols.mqtt.qos import UNHANDLED, WAIT_PUBCOMP, WAIT_PUBREL
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire import reasons
from protocols.mqtt.wire.packets import Options
from protocols.mqtt.wire.topics import split_share
from protocols.net.byte_budget import ByteBudget


class Broker:
    """Takes messages from connections and the application, and hands them to the sessions that subscribed."""

    def __init__(
        self,
        settings: MQTTSettings,
        *,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.time,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``wake`` is called when there is something to do in :attr:`backlog`."""
        self.clock = clock
        self.journal = journal
        self.sessions: dict[str, Session] = {}
        """Sessions by client identifier, whether the client is connected or away."""
        self._settings = settings
        self._away: OrderedDict[str, Session] = OrderedDict()  # in the order in which they left
        self._subscriptions: Subscriptions[Session | Share] = Subscriptions()
        self._shares: dict[str, Share] = {}
        self._timers = Timers()
        self.retained = RetainedMessages(settings.max_retained, journal, self._timers, clock)
        self.left_wills = LeftWills(self._timers, journal, clock, self._publish_will)
        self.queued = ByteBudget(settings.max_queued_all)
        """What waits for clients, of all sessions together."""
        self.backlog = Backlog(wake)
        """Work that takes longer than one turn of the event loop may take."""
        self.matches = self._subscriptions.matches
        self._fan_outs = FanOuts(self.backlog, self.matches)

    @property
    def away(self) -> int:
        """Sessions whose clients are away."""
        return len(self._away)

    @property
    def subscriptions(self) -> int:
        return self._subscriptions.count

    def follow(self, settings: MQTTSettings) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        self.retained.follow(settings.max_retained)
        self.queued.limit = settings.max_queued_all
        for session in self.sessions.values():
            session.settings = settings

    def kept(self, client_id: str) -> bool:
        """Whether a client that came now, and did not ask for a clean start, would find its session."""
        session = self.sessions.get(client_id)
        return session is not None and bool(session.expiry)

    # Sessions.

    def belongs_to(self, client_id: str, user: str | None) -> bool:
        """Whether the session of this client identifier, if there is one, is not another user's."""
        session = self.sessions.get(client_id)
        return session is None or session.user is None or session.user == user

    def open(
        self,
        client_id: str,
        *,
        clean: bool,
        expiry: float,
        will: Will | None,
        outgoing: Outgoing,
        user: str | None = None,
    ) -> tuple[Session, bool]:
        """The client is accepted: the session to go on with, and whether it was there before.

        MQTT-3.1.2-5: "If a CONNECT packet is received with Clean Start set to 0 and there is a Session associated with
        the Client Identifier, the Server MUST resume communications with the Client based on state from the existing
        Session". MQTT-3.1.2-4: with Clean Start set to 1, "the Client and Server MUST discard any existing Session and
        start a new Session".

        A connection that has the same client identifier is closed. The caller says CONNACK, then ``session.resume``.
        """
        session = self.sessions.get(client_id)
        if session is not None and session.outgoing is not None:
            displaced = session.outgoing
            self.close(session, with_will=True)
            displaced.end(reasons.TAKEN_OVER)
            session = self.sessions.get(client_id)
        if session is not None and clean:
            self._end(session)
            session = None
        self.left_wills.returned(client_id, user)
        present = session is not None
        if session is None:
            journal = self.journal if expiry else None
            session = self.sessions[client_id] = self._new(client_id, journal)
        self._return(client_id)
        session.expiry, session.will, session.outgoing, session.user = expiry, will, outgoing, user
        self._move_within_shares(session)
        session.save()
        return session, present

    def _new(self, client_id: str, journal: Journal | None) -> Session:
        room, backlog = self.queued, self.backlog
        return Session(
            client_id, settings=self._settings, room=room, backlog=backlog, clock=self.clock, journal=journal
        )

    def close(self, session: Session, *, with_will: bool, absence: float = 0.0) -> None:
        """The client's connection is over. ``absence``: seconds that it may take to come back before its will counts,
        since it was the server that ended the connection."""
        session.outgoing = None
        now = self.clock()
        session.ends = now + session.expiry
        if session.will is not None and not with_will:
            session.will = None
        if session.will is not None and absence:
            self._leave_will(session, session.will, absence)
        elif session.will is not None:
            self._schedule_will(session, session.will, now)
        if not session.expiry:
            self._end(session)
            return
        session.save()
        session.save_sent()
        self._move_within_shares(session)
        self._leave(session)

    def _move_within_shares(self, session: Session) -> None:
        """Its client is there, or away: the groups that it is a member of have to know."""
        for topic_filter, grant in session.grants.items():
            if (share := self._shares.get(topic_filter)) is not None:
                share.add(session, grant)

    def _leave(self, session: Session) -> None:
        self._away[session.client_id] = session
        self._timers.at(session.ends, _ending(session.client_id), lambda: self._end(session))
        if len(self._away) > self._settings.max_sessions:
            self._end(next(iter(self._away.values())))

    def _return(self, client_id: str) -> None:
        self._away.pop(client_id, None)
        self._timers.cancel(_ending(client_id))
        self._timers.cancel(_will(client_id))

    def _end(self, session: Session) -> None:
        """The session is over.

        3.1.3.2.2: "The Server delays publishing the Client's Will Message until the Will Delay Interval has passed or
        the Session ends, whichever happens first".
        """
        self.sessions.pop(session.client_id, None)
        self._return(session.client_id)
        for topic_filter in session.grants:
            self._remove(topic_filter, session)
        self._publish_will_of(session)
        for share, message in session.shared():
            share.deliver(message, _MEMBERS)
        session.forget()

    def _schedule_will(self, session: Session, will: Will, now: float) -> None:
        will.due = now + will.delay
        if will.delay:
            self._timers.at(will.due, _will(session.client_id), lambda: self._will_due(session))
        else:
            self._publish_will_of(session)

    def _leave_will(self, session: Session, will: Will, absence: float) -> None:
        """Its delay counts, too, for as long as the session lasts."""
        longest = max(absence, min(will.delay, session.expiry))
        session.will = None
        self.left_wills.leave(session.client_id, LeftWill(will.message, longest, session.user))

    def _will_due(self, session: Session) -> None:
        self._publish_will_of(session)
        session.save()

    def _publish_will_of(self, session: Session) -> None:
        will, session.will = session.will, None
        if will is not None:
            self._publish_will(session.client_id, will.message, session)

    def _publish_will(self, client_id: str, kept: ApplicationMessage, origin: Session | None = None) -> None:
        """Publish a will. Its message expiry interval "is sent as the Publication Expiry Interval when the Server
        publishes the Will Message" (3.1.3.2.4): it begins now. A will with a $ topic goes nowhere, like what a client
        publishes there: "The Server SHOULD prevent Clients from using such Topic Names to exchange messages with other
        Clients" (4.7.2)."""
        if kept.topic.startswith("$"):
            return
        message = self.message(kept.topic, kept.payload, kept.qos, retain=kept.retain, properties=kept.properties)
        self.publish(message, origin or self.sessions.get(client_id))

    # What an operator does.

    def disconnect(self, session: Session, *, with_will: bool = True) -> None:
        """End the client's connection, if there is one. MQTT-3.1.2-8: its will is published, because it has not said
        DISCONNECT itself."""
        if session.outgoing is not None:
            self._keep_will(session, with_will=with_will)
            session.outgoing.end(reasons.ADMINISTRATIVE)

    def delete(self, session: Session, *, with_will: bool = True) -> None:
        """End a session with all that waits for its client, and its connection, if there is one. Its will is published
        now if that has not been done yet: the session ends (3.1.3.2.2)."""
        self._keep_will(session, with_will=with_will)
        session.expiry = 0.0
        if session.outgoing is not None:
            session.outgoing.end(reasons.ADMINISTRATIVE)
        elif self.sessions.get(session.client_id) is session:
            self.left_wills.publish(session.client_id)
            self._end(session)

    def _keep_will(self, session: Session, *, with_will: bool) -> None:
        if not with_will:
            session.will = None
            self.left_wills.forget(session.client_id)

    # Time.

    def tick(self) -> None:
        """Do what is due: sessions, wills and retained messages whose time has come."""
        if self._timers.run(self.clock()):
            self.backlog.add("timers", lambda: self._timers.run(self.clock()))

    # Messages.

    def publish(self, message: ApplicationMessage, origin: Session | None = None) -> FanOut | None:
        """Retain where asked to; deliver to every subscriber. Where those are many, it goes on after this returns.

        It is retained at once: who subscribes meanwhile gets it as a retained one.
        """
        topic = message.topic
        if message.retain:
            self.retained.retain(message)
        subscribers = self.matches[topic]
        if len(subscribers) > AT_ONCE or topic in self._fan_outs:
            return self._fan_outs.begin(message, origin)
        for target, grant in subscribers.items():
            target.deliver(message, grant, origin)
        return None

    def message(
        self, topic: str, payload: bytes, qos: int, *, retain: bool, properties: Mapping[str, Any] | None
    ) -> ApplicationMessage:
        life = properties.get("message_expiry_interval") if properties else None
        expires = None if life is None else self.clock() + life
        return ApplicationMessage(topic, payload, qos, retain=retain, properties=properties, expires=expires)

    def send(self, event: MQTTSendEvent) -> FanOut | None:
        """Publish what an application sent (``mqtt.send``), as :meth:`publish` does."""
        topic, payload, qos, retain = event["topic"], event["payload"], event.get("qos", 0), event.get("retain", False)
        return self.publish(self.message(topic, payload, qos, retain=retain, properties=event.get("properties")))

    # Subscriptions.

    def subscribe(self, session: Session, topic_filter: str, options: Options, identifiers: tuple[int, ...]) -> int:
        """The SUBACK's reason code: the QoS granted, or why it is not."""
        new = topic_filter not in session.grants
        if new and len(session.grants) >= self._settings.max_subscriptions:
            return reasons.QUOTA_EXCEEDED
        grant = Grant(options.qos, options.no_local, options.retain_as_published, identifiers)
        session.grants[topic_filter] = grant
        self._add(topic_filter, session, grant)
        return options.qos

    def restrict(self, session: Session, rules: Rules) -> list[str]:
        """Drop the subscriptions of ``session``, and its will, that the rules do not allow. Return the filters."""
        forbidden = [each for each in session.grants if not rules.may_subscribe(each)]
        for topic_filter in forbidden:
            self.unsubscribe(session, topic_filter)
        has_will = session.will is not None and not rules.may_publish(session.will.message.topic)
        if has_will:
            session.will = None
        if forbidden or has_will:
            session.save()
        return forbidden

    def _add(self, topic_filter: str, session: Session, grant: Grant) -> None:
        group, shared = split_share(topic_filter)
        if group is None:
            self._subscriptions.add(topic_filter, session, grant)
            return
        share = self._shares.get(topic_filter)
        if share is None:
            share = self._shares[topic_filter] = Share(topic_filter)
            self._subscriptions.add(shared, share, _MEMBERS)
        share.add(session, grant)

    def replay(self, session: Session, topic_filter: str, grant: Grant) -> None:
        """Deliver what is retained under a subscription as ``grant`` says, which one that followed at once may have
        replaced: MQTT-3.8.4-5, "it MUST process that packet as if it had received a sequence of multiple SUBSCRIBE
        packets". 4.8.2: "No Retained Messages are sent to the Session when it first subscribes" to a shared one."""
        if split_share(topic_filter)[0] is None:
            session.replay(topic_filter, self._replayed(topic_filter, grant))

    def _replayed(self, topic_filter: str, grant: Grant) -> Iterator[tuple[ApplicationMessage, Grant] | None]:
        """What there is when its turn comes."""
        for message in self.retained.match(topic_filter):
            yield None if message is None or message.expired(self.clock()) else (message, grant)

    def unsubscribe(self, session: Session, topic_filter: str) -> int:
        """The UNSUBACK's reason code."""
        if session.grants.pop(topic_filter, None) is None:
            return reasons.NO_SUBSCRIPTION_EXISTED
        session.unreplay(topic_filter)
        self._remove(topic_filter, session)
        return reasons.SUCCESS

    def _remove(self, topic_filter: str, session: Session) -> None:
        group, shared = split_share(topic_filter)
        if group is None:
            self._subscriptions.remove(topic_filter, session)
        elif (share := self._shares.get(topic_filter)) is not None:
            share.remove(session)
            if not share:
                del self._shares[topic_filter]
                self._subscriptions.remove(shared, share)

    # After a restart.

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield what a journal would have, for a broker without one that ends and has a successor."""
        kept = [session for session in self.sessions.values() if session.expiry]
        for session in kept:
            for out in session.waiting():
                out.message.number = 0  # it may have one of a predecessor's
        numbers = count(1)
        for session in kept:
            yield from session.records(lambda: next(numbers))
        yield from self.retained.records()
        yield from self.left_wills.records()

    def restore(self, kept: Mapping[str, bytes]) -> None:
        """Restore everything that a journal had. Raises ValueError for what cannot be read."""
        for _ in self.restoring(kept):
            pass

    def restoring(self, kept: Mapping[str, bytes]) -> Iterator[None]:
        """Restore it record by record, with a pause after each: there may be a million."""
        kinds = ("session", "message", "out", "in", "retained", "will")
        by_kind: dict[str, dict[str, bytes]] = {kind: {} for kind in kinds}
        for key, value in kept.items():
            kind, _, rest = key.partition(" ")
            if kind not in by_kind:
                raise ValueError(f"a record of the unknown kind {kind!r}")
            by_kind[kind][rest] = value
            yield
        if self.journal is not None:
            self.journal.start_after(max([0, *map(int, by_kind["out"]), *map(int, by_kind["message"])]))
        for client_id, value in by_kind["session"].items():
            self._restore_session(client_id, value)
            yield
        for topic, value in by_kind["retained"].items():
            self.retained.restore(topic, record.read_retained(value))
            yield
        yield from self._restore_outbound(by_kind["message"], by_kind["out"])
        for key, value in by_kind["in"].items():
            packet_id, _, client_id = key.partition(" ")
            if (session := self.sessions.get(client_id)) is not None:
                event, handled = record.read_inbound(value)
                session.inbound[int(packet_id)] = Inbound(event, WAIT_PUBREL if handled else UNHANDLED)
            yield
        for client_id, value in by_kind["will"].items():
            self.left_wills.restore(client_id, LeftWill(*record.read_left_will(value)))
            yield
        yield from self._leave_all()

    def _restore_session(self, client_id: str, value: bytes) -> None:
        expiry, ends, grants, will, user, replays = record.read_session(value)
        session = self.sessions[client_id] = self._new(client_id, self.journal)
        now = self.clock()
        session.expiry, session.user = expiry, user
        session.ends = now + expiry if ends is None else ends
        session.grants = grants
        for topic_filter, grant in grants.items():
            self._add(topic_filter, session, grant)
        for topic_filter in replays:
            self.replay(session, topic_filter, grants[topic_filter])
        if will is not None:
            message, delay, due = will
            session.will = Will(message, delay)
            session.will.due = due or now + delay

    def _restore_outbound(self, messages: Mapping[str, bytes], outbound: Mapping[str, bytes]) -> Iterator[None]:
        read: dict[int, ApplicationMessage] = {}
        for number in sorted(map(int, outbound)):
            yield
            found = record.read_outbound(outbound[str(number)])
            session, stored = self.sessions.get(found.client_id), messages.get(str(found.message))
            if session is None or stored is None:
                continue
            message = read.get(found.message)
            if message is None:
                message = read[found.message] = record.read_message(stored)
                message.number = found.message
            message.holders += 1
            share = self._shares.get(found.share)
            out = Outbound(message, found.qos, retain=found.retain, identifiers=tuple(found.identifiers), share=share)
            out.number, out.packet_id = number, found.packet_id
            if found.released:
                out.state = WAIT_PUBCOMP
            session.restore(out)

    def _leave_all(self) -> Iterator[None]:
        """All clients are away now, and what is due in the meantime happens: when everything is there again."""
        for session in sorted(self.sessions.values(), key=lambda session: session.ends - session.expiry):
            if (will := session.will) is not None:
                self._timers.at(will.due, _will(session.client_id), partial(self._will_due, session))
            self._leave(session)
            yield
        self.tick()


def _ending(client_id: str) -> Hashable:
    return "session", client_id


def _will(client_id: str) -> Hashable:
    return "will", client_id


_MEMBERS = Grant(2)
"""A share's place among the subscribers."""
