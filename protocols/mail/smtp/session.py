"""One SMTP or LMTP session (RFC 5321, RFC 2033): the commands of a transaction, and of a login.

They are implemented here, because aiosmtpd's answer 5xx to temporary failures, cancel the handler when the sender hangs
up, buffer lines without a bound, and check passwords on the event loop.
"""

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections import Counter

from protocols.access.logins import Logins, Outcome
from protocols.errors import RemoteProtocolError
from protocols.log_facts import about_peer
from protocols.mail.smtp import auth
from protocols.mail.smtp.connection import Connection
from protocols.mail.smtp.data import Content, Counted, MessageBuffer
from protocols.mail.smtp.incoming import Incoming
from protocols.mail.smtp.replies import verdict_reply
from protocols.mail.smtp.senders import Senders
from protocols.mail.smtp.settings import SMTPSettings
from protocols.mail.smtp.transaction import Transaction, begin, chunk_of, recipient_of
from protocols.mail.verdict import Verdicts, deferred
from protocols.net.addresses import AddressRate
from protocols.net.byte_budget import ByteBudget, Reservation
from protocols.net.listener import Listener
from protocols.net.traffic import Traffic

logger = logging.getLogger(__name__)

STUBBORN = 5.0
"""Seconds that a cancelled handler has to end; then its sender is answered anyway."""
MOST_FAILED_LOGINS = 5
"""Wrong logins of one connection. It is closed then; the answers to more, from the same address, take longer."""


RECONNECT = "to connect again after a reload"


class SessionOwner(ABC):
    """What a session needs from its server."""

    name: str
    generation: int
    """How many applications it had before."""
    settings: SMTPSettings
    hostname: str
    buffered: ByteBudget
    traffic: Traffic
    listener: Listener
    draining: bool
    logins: Logins
    senders: Senders
    message_rate: AddressRate
    refusals: Counter[str]

    @abstractmethod
    def starttls(self) -> ssl.SSLContext | None:
        """The TLS context for STARTTLS on a new connection; None if STARTTLS is not offered."""

    @abstractmethod
    def join(self, session: "SMTPSession") -> None:
        """Count ``session``, whose connection begins."""

    @abstractmethod
    def part(self, session: "SMTPSession") -> None:
        """Count ``session`` no longer: its connection is over."""

    @abstractmethod
    def routable(self, session: "SMTPSession", transaction: Transaction, recipient: str) -> bool:
        """Whether a route of the application matches ``recipient``."""

    @abstractmethod
    def trace(self, session: "SMTPSession", transaction: Transaction) -> bytes:
        """Return the trace header of a message that begins."""

    @abstractmethod
    def handle(self, session: "SMTPSession", transaction: Transaction, message: bytes) -> "asyncio.Task[Verdicts]":
        """Start the application over one message, which begins with its trace header. Raises RemoteProtocolError."""


class SMTPSession(Connection):
    """One connection that speaks SMTP."""

    def __init__(self, owner: SessionOwner) -> None:
        counters = owner.listener.counters
        super().__init__(
            owner.name, owner.hostname, owner.settings, owner.starttls(), traffic=owner.traffic, counters=counters
        )
        self.user: str | None = None
        """The user who has logged in."""
        self._owner = owner
        self.generation = owner.generation
        """How many applications its server had when the connection began."""
        self._transaction: Transaction | None = None
        self._messages = 0
        self._failed_logins = 0
        self._ends = ""
        """Why it is closed after the answer to its message; empty if it is not."""

    def with_protocol(self) -> str:
        """Return the protocol's name for a trace header (RFC 3848)."""
        if not self.said().extended_smtp:
            return "SMTP"
        return "ESMTP" + ("S" if self.encrypted() else "") + ("A" if self.user is not None else "")

    # The connection.

    def joined(self) -> None:
        self._owner.join(self)

    def parted(self) -> None:
        self._reset()
        self._owner.part(self)

    def receiving(self) -> bool:
        """Whether a transaction is under way whose message is not complete."""
        return self._transaction is not None and not self._transaction.whole

    def drain(self) -> None:
        """Send 421 now, or after the transaction that is under way."""
        if self._transaction is None:
            self.dismiss()

    def dismiss(self) -> None:
        """Send 421 now, whatever is under way."""
        self.goodbye("421 4.3.2 Shutting down, please try again later")

    # What an operator sees, and does.

    @property
    def messages(self) -> int:
        """The messages of this connection so far."""
        return self._messages

    def greeted_as(self) -> str | None:
        """Return the name that it gave in HELO or EHLO; None before that."""
        return (self.helo() or None) if self.session is not None else None

    def doing(self) -> str:
        """Say in a few words what it does."""
        if self._transaction is None:
            return "idle"
        return "its message is handled" if self._transaction.whole else "sends a message"

    def end_soon(self, why: str = "by an operator") -> None:
        """Send 421: now, or after the answer to a message that is complete, whose sender would send it again without
        one. ``why`` is for the log."""
        if self._transaction is not None and self._transaction.whole:
            self._ends = why
        else:
            logger.info("%s: closed %s", self, why)
            self.goodbye("421 4.3.2 Closing the connection, please try again later")

    def reconnect(self, grace: float) -> None:
        """Send 421 between two transactions: a message that its sender has begun is taken and answered. ``grace`` is
        not needed, because the time of a message is limited anyway."""
        if self._transaction is None:
            self.end_soon(RECONNECT)
        else:
            self._ends = RECONNECT

    def _end_if_due(self) -> None:
        if self._owner.draining:
            self.drain()
        elif self._ends:
            self.end_soon(self._ends)

    def goodbye(self, answer: str) -> None:
        super().goodbye(answer)
        self._reset()

    def forget(self) -> None:
        self._reset()
        self.user = None

    def _reset(self) -> None:
        if self._transaction is not None:
            self._transaction.end()
        self._transaction = None

    # HELO, AUTH.

    async def smtp_HELO(self, hostname: str | None) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: HELO hostname")
            return
        self._greeted(hostname, extended=False)
        await self.pass_over(f"250 {self.hostname}")

    async def smtp_EHLO(self, hostname: str | None) -> None:
        if not hostname:
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        self._greeted(hostname, extended=True)
        extensions = ["PIPELINING", f"SIZE {self.settings.max_message}", "8BITMIME", "SMTPUTF8", "CHUNKING"]
        if self.tls_context and not self.encrypted():
            extensions.append("STARTTLS")
        if self._offers_login():
            extensions.append("AUTH " + " ".join(auth.MECHANISMS))
        lines = [self.hostname, *extensions]
        await self.pass_over("".join(f"250-{line}\r\n" for line in lines) + "250 ENHANCEDSTATUSCODES")

    def _greeted(self, hostname: str, *, extended: bool) -> None:
        self._reset()
        self.said().host_name = hostname
        self.said().extended_smtp = extended

    async def smtp_RSET(self, argument: str | None) -> None:
        self._reset()
        await self.pass_over("250 2.0.0 OK")
        self._end_if_due()

    def _offers_login(self) -> bool:
        """Whether a login can be taken here: a password does not leave its machine in clear."""
        return self.settings.authenticates and (self.encrypted() or self.settings.auth_without_tls or self.near)

    async def smtp_AUTH(self, argument: str | None) -> None:
        if await self.check_helo_needed("EHLO"):
            return
        try:
            self._check_may_log_in()
            self.user = await self._log_in(argument or "")
        except RemoteProtocolError as refusal:
            await self.refuse("AUTH", refusal)
        else:
            logger.info("%s: logged in as %s", self, self.user)
            await self.pass_over("235 2.7.0 Authentication successful")

    def _check_may_log_in(self) -> None:
        if not self.settings.authenticates:
            raise RemoteProtocolError("5.5.1 Authentication is not offered", answer=502)
        if not self._offers_login():
            raise RemoteProtocolError("5.7.11 Encryption required, say STARTTLS first", answer=538)
        if self.user is not None or self._transaction is not None:
            raise RemoteProtocolError("5.5.1 Too late for AUTH", answer=503)

    async def _log_in(self, argument: str) -> str:
        """Return the user's name. Raises RemoteProtocolError."""
        mechanism, _, initial = argument.partition(" ")
        steps = auth.MECHANISMS.get(mechanism.upper())
        if steps is None:
            raise RemoteProtocolError("5.5.4 Mechanism not offered", answer=504)
        username, password = await self._ask(steps(), initial.strip())
        host = self.client[0] if self.client else ""
        while True:
            logins = self._owner.logins
            outcome = await logins.check(username, password, host)
            if logins is self._owner.logins:  # else users have changed meanwhile
                break
        if outcome is Outcome.RIGHT:
            return username
        if outcome is not Outcome.WRONG:
            raise RemoteProtocolError("4.7.0 Temporary authentication failure, please try again later", answer=454)
        # The name is not logged unless it is a user's: people type passwords into that field.
        known = username if self._owner.logins.knows(username) else "nobody we know"
        self._count_failed_login(known)
        raise RemoteProtocolError("5.7.8 User name or password is wrong", answer=535)

    def _count_failed_login(self, username: str) -> None:
        told = about_peer("email", self._label, self.client, "rejected, 535")
        logger.warning("%s: wrong login as %s", self, username, extra=told)
        self._failed_logins += 1
        if self._failed_logins >= MOST_FAILED_LOGINS:
            self.goodbye("421 4.7.0 Too many wrong logins, closing the connection")
            raise asyncio.CancelledError

    async def _ask(self, steps: auth.Steps, initial: str) -> auth.Credentials:
        """Ask for what the mechanism needs. ``initial`` is the first answer, if the client has sent it at once."""
        question, response = next(steps), initial.encode("utf-8", "surrogateescape")
        while True:
            if not response:
                await self.write(auth.challenge(question))
                response = await self.line()
            try:
                question = steps.send(auth.decode(response))
            except StopIteration as end:
                credentials: auth.Credentials = end.value
                return credentials
            response = b""

    # MAIL, RCPT.

    async def smtp_MAIL(self, argument: str | None) -> None:
        if await self.check_helo_needed():
            return
        if self._has_had_its_messages():
            self.goodbye("421 4.7.0 Too many messages on one connection, please open another")
            raise asyncio.CancelledError
        try:
            self._transaction = self._begin(argument or "")
        except RemoteProtocolError as refusal:
            await self.refuse("MAIL", refusal)
        else:
            self._messages += 1
            await self.hold("250 2.1.0 Sender OK")

    def _has_had_its_messages(self) -> bool:
        most = self.settings.max_messages
        if not most or self._messages < most or self._transaction is not None or self.near:
            return False
        logger.info("%s: closed after %d messages", self, self._messages)
        return True

    def _begin(self, argument: str) -> Transaction:
        if self._transaction is not None:
            raise RemoteProtocolError("5.5.1 Nested MAIL command", answer=503)
        if self.user is None and self.settings.auth == "required":
            raise RemoteProtocolError("5.7.0 Authentication required", answer=530)
        transaction = begin(argument, max_message=self.settings.max_message)
        if self.user is not None:
            self._owner.senders.check_envelope(self.user, transaction.sender)
        if self._sends_too_fast():
            raise RemoteProtocolError("4.7.1 Too many messages from your address, please try later", answer=451)
        return transaction

    def _sends_too_fast(self) -> bool:
        return self.client is not None and not self.near and not self._owner.message_rate.admit(self.client[0])

    async def smtp_RCPT(self, argument: str | None) -> None:
        if await self.check_helo_needed():
            return
        if self._is_full():
            answer = "452 4.5.3 Too many recipients"
            self._count_refusal(answer)
            await self.write(answer)  # not an error: a mail to many people is not an attack
            return
        try:
            self._add(argument or "")
        except RemoteProtocolError as refusal:
            await self.refuse("RCPT", refusal)
        else:
            await self.hold("250 2.1.5 Recipient OK")

    def _is_full(self) -> bool:
        """Whether the transaction has as many recipients as it may have. The first time is logged."""
        transaction, most = self._transaction, self.settings.max_recipients
        if transaction is None or len(transaction.recipients) < most:
            return False
        if not transaction.full:
            transaction.full = True
            logger.info("%s: more than %d recipients, told to send the rest in another transaction", self, most)
        return True

    def _add(self, argument: str) -> None:
        if self._transaction is None:
            raise RemoteProtocolError("5.5.1 Need MAIL command", answer=503)
        if self._transaction.incoming is not None:
            raise RemoteProtocolError("5.5.1 The message has begun", answer=503)
        recipient = recipient_of(argument)
        if not self._owner.routable(self, self._transaction, recipient):
            raise RemoteProtocolError(f"5.1.1 No such recipient here: {recipient}", answer=550)
        self._transaction.recipients.append(recipient)

    # DATA, BDAT.

    async def smtp_DATA(self, argument: str | None) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.recipients:
            await self.push(self._no_recipients(transaction))
        elif transaction.incoming is not None:
            await self.push("503 5.5.1 DATA after BDAT")
        elif argument:
            await self.push("501 5.5.4 Syntax: DATA")
        else:
            incoming = transaction.incoming = self._incoming(transaction)
            await self.write("354 End data with <CR><LF>.<CR><LF>")
            await self._finish(transaction, Content(incoming.buffer))

    async def smtp_BDAT(self, argument: str | None) -> None:
        """A chunk of a message (RFC 3030). Its bytes are taken also where it is refused: they are no commands."""
        try:
            size, is_last = chunk_of(argument or "")
        except RemoteProtocolError as refusal:  # nobody knows where the next command begins
            self.goodbye(self._counted_refusal("BDAT", refusal))
            raise asyncio.CancelledError from None
        await self.flush()  # the peer may wait for them before it sends the chunk
        transaction = self._transaction
        if transaction is None or not transaction.recipients:
            nowhere = Incoming(MessageBuffer(0, 0), Reservation(self._owner.buffered), self._deadline())
            await self._read(Counted(nowhere.buffer, size), nowhere)
            await self.push(self._no_recipients(transaction))
            return
        incoming = transaction.incoming = transaction.incoming or self._incoming(transaction)
        if is_last:
            await self._finish(transaction, Counted(incoming.buffer, size))
        else:
            await self._take_chunk(incoming, size)

    async def _take_chunk(self, incoming: Incoming, size: int) -> None:
        """Take a chunk that is not the last. Those behind a refused one are refused as it was: a sender that has sent
        all of them together may heed the last answer alone, and lose a mail that it was to send again later."""
        is_logged = incoming.refused
        await self._read(Counted(incoming.buffer, size), incoming)
        try:
            incoming.check()
            answer = f"250 2.0.0 {size} bytes taken"
        except RemoteProtocolError as refusal:
            answer = f"{refusal.answer!s} {refusal}" if is_logged else self._counted_refusal("BDAT", refusal)
            incoming.end()
        await (self.write if size else self.pass_over)(answer)

    def _no_recipients(self, transaction: Transaction | None) -> str:
        return "503 5.5.1 Need MAIL command" if transaction is None else "554 5.5.1 No valid recipients"

    def _incoming(self, transaction: Transaction) -> Incoming:
        trace = self._owner.trace(self, transaction)
        buffer = MessageBuffer(self.settings.max_message, self.settings.max_line, trace)
        return Incoming(buffer, Reservation(self._owner.buffered), self._deadline())

    def _deadline(self) -> float:
        return self.loop.time() + self.settings.data_timeout

    async def _finish(self, transaction: Transaction, content: Content | Counted) -> None:
        """Read the rest of the message, hand it over, and answer."""
        try:
            answer = await self._answer_to_message(transaction, content)
        finally:
            self._reset()
        await self.write(answer)  # not push: a rejection is no error of the sender, which may have many messages
        self._end_if_due()

    async def push(self, status: str) -> None:  # type: ignore[override]  # its callers all pass text
        if status[:1] in ("4", "5"):
            self._count_refusal(status)
        await super().push(status)

    def _counted_refusal(self, command: str, error: RemoteProtocolError) -> str:
        """Return the answer to a command whose answer :meth:`push` does not send."""
        answer = self.refusal(command, error)
        self._count_refusal(answer)
        return answer

    def _count_refusal(self, answer: str) -> None:
        self._owner.refusals[answer[:3]] += 1

    def _refused(self, refusal: RemoteProtocolError, transaction: Transaction) -> str:
        """Return the answer to a message that no handler gets."""
        return self._counted_refusal("DATA", refusal)

    def _decided(self, verdicts: Verdicts, transaction: Transaction) -> str:
        """Return the answer to a message that was handled."""
        return verdict_reply(verdicts.combined, transaction.id)

    async def _answer_to_message(self, transaction: Transaction, content: Content | Counted) -> str:
        incoming = transaction.incoming
        assert incoming is not None
        task = None
        try:
            await self._read(content, incoming)
            task = self._owner.handle(self, transaction, incoming.complete())
        except RemoteProtocolError as refusal:
            return self._refused(refusal, transaction)
        finally:
            if task is None:
                incoming.end()
        task.add_done_callback(lambda _: incoming.end())  # it holds the message now, and may outlive this connection
        transaction.whole, self._idle = True, 0
        transaction.incoming = None
        return self._decided(await self._verdicts(task), transaction)

    async def _read(self, content: Content | Counted, incoming: Incoming) -> None:
        """Read content of the message up to its end, in the time that the whole message has."""

        def take(data: bytes) -> bytes | None:
            self._reset_timeout()
            behind = content.feed(data)
            incoming.came()
            return behind

        if self.loop.time() >= incoming.deadline:  # a timer has no turn while each chunk comes with its command
            self._too_slow()
            raise asyncio.CancelledError
        timer = self.loop.call_at(incoming.deadline, self._too_slow)
        try:
            if not content.ended:
                await self.receive(take)
        finally:
            timer.cancel()

    def _too_slow(self) -> None:
        logger.info("%s: dropped, its message took over %g s", self, self.settings.data_timeout)
        self.goodbye("421 4.4.2 Timeout, closing the connection")

    async def _verdicts(self, task: "asyncio.Task[Verdicts]") -> Verdicts:
        """Wait for the handler. It goes on if this connection ends: a handler cut half way would run twice."""
        self.may_be_silent()
        await asyncio.sleep(0)  # most handlers have nothing to wait for, and a timer costs as much as they do
        if not task.done():
            await asyncio.wait({task}, timeout=self.settings.handler_timeout + STUBBORN)
        self._reset_timeout()
        failed = not task.done() or task.cancelled() or task.exception() is not None
        return deferred() if failed else task.result()


class LMTPSession(SMTPSession):
    """One connection that speaks LMTP: LHLO instead of EHLO, and an answer for each recipient (RFC 2033 4.1, 4.2)."""

    ident = "LMTP"

    def with_protocol(self) -> str:
        return "LMTPS" if self.encrypted() else "LMTP"

    async def smtp_LHLO(self, hostname: str | None) -> None:
        await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname: str | None) -> None:
        await self.push("500 5.5.1 This is LMTP: say LHLO")

    async def smtp_EHLO(self, hostname: str | None) -> None:
        await self.push("500 5.5.1 This is LMTP: say LHLO")

    def _no_recipients(self, transaction: Transaction | None) -> str:
        return "503 5.5.1 No valid recipients"

    def _refused(self, refusal: RemoteProtocolError, transaction: Transaction) -> str:
        return "\r\n".join([super()._refused(refusal, transaction)] * len(transaction.recipients))

    def _decided(self, verdicts: Verdicts, transaction: Transaction) -> str:
        return "\r\n".join(verdict_reply(verdicts.of(each), transaction.id) for each in transaction.recipients)
